"""The embedded method: crops and their way back, the shipped network, parity of torch and ONNX."""

import numpy as np
import pytest

import amodal
from amodal.core.errors import WeightsError
from amodal.core.mask import Mask
from amodal.core.soft_mask import SoftMask
from amodal.methods.embedded.inference import Look, Window, network_input, predict
from amodal.methods.embedded.method import amodal_mask, best_threshold, calibrated, expected_iou, runner, supported


def echo(x: np.ndarray) -> np.ndarray:
    """A stand-in network with a known answer: amodal where it was given as visible, the occluder where the frame is."""
    return np.stack([x[:, 3] * 20 - 10, x[:, 4] * 20 - 10], axis=1).astype(np.float32)


@pytest.fixture
def scene() -> tuple[np.ndarray, Mask]:
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    bits = np.zeros((120, 160), bool)
    bits[20:70, 40:90] = True
    return image, Mask.from_array(bits)


@pytest.mark.parametrize(
    "look", [Look(64), Look(96, (1.5, 2.5)), Look(64, (2.0,), True), Look(64, (2.0,), True, (1.4, 1.9))]
)
def test_what_goes_in_comes_back_in_place(scene, look):
    image, visible = scene
    amodal_soft, frame = predict(echo, image, visible, look)
    assert amodal_soft.threshold().iou(visible) > 0.94
    inside = frame.threshold().to_array((120, 160))
    x0, y0, x1, y1 = frame.box
    assert inside[max(0, y0 + 2) : y1 - 2, max(0, x0 + 2) : x1 - 2].mean() > 0.96


def test_the_input_is_the_picture(scene):
    image, visible = scene
    window = Window(40, 20, 50)
    planes = network_input(image, visible, window, 50)
    assert np.abs((planes[:3].transpose(1, 2, 0) + 1) * 127.5 - image[20:70, 40:90]).max() < 1e-3
    assert planes[3].all() and planes[4].all()
    outside = network_input(image, visible, Window(-50, -50, 60), 30)
    assert outside[4].sum() == 25
    assert not outside[:3, :24].any()


def test_objects_may_leave_the_frame(scene):
    image, _ = scene
    visible = Mask.from_box((0, 30, 20, 60))
    everywhere = predict(lambda x: np.full((len(x), 2, *x.shape[2:]), 5, np.float32), image, visible, Look(64))[0]
    assert everywhere.threshold().box[0] < 0


def test_rims_are_dropped_and_parts_are_kept():
    visible = Mask.from_box((0, 0, 100, 100))
    values = np.zeros((120, 200), np.float32)
    values[:102, :102] = 0.9
    values[30:70, 100:160] = 0.9
    soft = SoftMask(values)
    rough, clean = amodal_mask(soft, visible), amodal_mask(soft, visible, rim=0.02)
    assert rough.area - clean.area == pytest.approx(2 * 202 - 2 * 40, abs=30)
    assert clean.contains(visible)
    assert clean.contains(Mask.from_box((102, 35, 158, 65)))


def test_unlikely_growth_is_none():
    visible = Mask.from_box((0, 0, 100, 100))
    values = np.zeros((120, 200), np.float32)
    values[:100, :100], values[30:70, 100:160] = 0.9, 0.6
    assert amodal_mask(SoftMask(values), visible, sure=0.55).area == 100 * 100 + 40 * 60
    assert amodal_mask(SoftMask(values), visible, sure=0.65) == visible


def test_the_threshold_promises_the_largest_iou():
    rng = np.random.default_rng(0)
    seen = np.zeros((30, 40), bool)
    seen[:, :8] = True
    probability = np.where(seen, 1, rng.beta(0.8, 1.2, seen.shape)).astype(np.float32)
    worlds = rng.random((400, *seen.shape)) < probability

    def mean_iou(threshold: float) -> float:
        mask = (probability > threshold) | seen
        return float(((worlds & mask).sum((1, 2)) / (worlds | mask).sum((1, 2))).mean())

    best = best_threshold(probability, seen)
    assert best < 0.48
    assert mean_iou(best) >= max(mean_iou(t) for t in np.arange(0.05, 1, 0.05)) - 1e-4
    assert best_threshold(seen.astype(np.float32), seen) == 0.5


def test_what_is_believed_reaches_into_the_unsure():
    visible = Mask.from_box((0, 0, 40, 100))
    values = np.zeros((120, 200), np.float32)
    values[:100, :40], values[:100, 40:100], values[:100, 100:140] = 1, 0.8, 0.45
    whole = amodal_mask(SoftMask(values), visible, sure=0.6)
    assert whole == Mask.from_box((0, 0, 140, 100))
    assert amodal_mask(SoftMask(values), visible, threshold=0.5) == Mask.from_box((0, 0, 100, 100))
    assert amodal_mask(SoftMask(values), visible, sure=0.85) == visible


def test_growth_needs_something_in_front_unless_it_leaves_the_picture():
    image = np.zeros((100, 140, 3), np.uint8)
    values = np.zeros((120, 200), np.float32)
    values[:100, :100], values[30:70, 100:160] = 0.9, 0.8
    soft, seen = SoftMask(values, (-10, 0)), Mask.from_box((-10, 0, 90, 100))
    nothing = supported(soft, SoftMask(np.zeros_like(values), (-10, 0)), image)
    assert amodal_mask(soft, seen, sure=0.62, support=nothing) == seen
    front = np.zeros_like(values)
    front[30:70, 100:160] = 0.7
    support = supported(soft, SoftMask(front, (-10, 0)), image)
    assert amodal_mask(soft, seen, sure=0.62, support=support).area == 100 * 100 + 40 * 60
    told = support.to_array((120, 200))
    assert told[40, 130] == pytest.approx(0.75)  # inside: the mean
    assert told[40, 145] == pytest.approx(0.8)  # beyond the picture's right edge: the object's own


def test_temperature():
    soft = SoftMask(np.array([[0.5, 0.9, 0.1]], np.float32))
    assert calibrated(soft, 1.0) is soft
    cooler = calibrated(soft, 2.0).values
    assert cooler[0, 0] == pytest.approx(0.5)
    assert cooler[0, 1] == pytest.approx(0.75)
    assert cooler[0, 2] == pytest.approx(0.25)


def test_the_score_is_the_expected_iou():
    probability = SoftMask(np.array([[1, 1, 0.8, 0.3, 0.01]], np.float32))
    seen, grown = Mask.from_box((0, 0, 2, 1)), Mask.from_box((0, 0, 3, 1))
    assert expected_iou(probability, grown, seen) == pytest.approx(2.8 / 3.3)
    assert expected_iou(probability, seen, seen) == pytest.approx(2 / 3.1)
    assert expected_iou(SoftMask(np.ones((1, 2), np.float32)), seen, seen) == 1


def test_the_shipped_network_completes_a_disc(photo, disc_visible):
    result = amodal.load("embedded")(photo, mask=disc_visible)
    rows, columns = np.indices(photo.shape[:2])
    disc = Mask.from_array((rows - 48) ** 2 + (columns - 60) ** 2 < 30**2)
    visible = Mask.from_array(disc_visible)
    assert result.amodal.iou(disc) > visible.iou(disc) + 0.03
    assert result.probability is not None
    whole = amodal.load("embedded")(np.full_like(photo, 90), mask=disc)
    assert whole.amodal.iou(disc) > 0.95


def test_a_batch_equals_single_objects(photo, disc_visible):
    scene = amodal.load("embedded").open(photo)
    other = Mask.from_box((5, 60, 40, 90))
    one = scene.complete(mask=other)
    assert scene.complete(mask=disc_visible) is not None
    assert scene.complete(mask=other).amodal == one.amodal


def test_altered_weights_are_told(tmp_path, monkeypatch):
    from amodal.weights import catalogue

    (tmp_path / "_weights").mkdir()
    (tmp_path / "_weights" / "embedded.onnx").write_bytes(b"not a network")
    entry = catalogue.find("embedded").model_copy(update={"package": tmp_path})
    monkeypatch.setattr(catalogue, "entries", lambda: {"embedded": entry})
    runner.cache_clear()
    with pytest.raises(WeightsError, match="embedded"):
        runner(7)
    runner.cache_clear()


@pytest.mark.parametrize("widths", [(16, 24, 32, 40), (16, 24)])
def test_torch_and_onnx_agree(widths, tmp_path):
    """With fewer levels than there are features, too: the file takes them all, as whoever runs it gives them."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from amodal.methods.embedded.network import EmbeddedNetwork
    from amodal.networks.image_encoder import LEVELS
    from amodal.networks.lite import CHANNELS
    from amodal.networks.onnx_export import export
    from amodal.networks.onnx_session import open_session

    torch.manual_seed(0)
    network = EmbeddedNetwork(widths, (1,) * len(widths), 24)
    for layer in network.join.levels:  # they begin at nothing
        torch.nn.init.normal_(layer.weight, std=0.1)

    def seen(count, side):
        return [torch.randn(count, c, side // s, side // s) for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)]

    with torch.no_grad():
        network.train()(torch.randn(4, 5, 64, 64), *seen(4, 64))  # batch statistics other than 0 and 1
    network.eval()
    example = [torch.randn(2, 5, 64, 64), *seen(2, 64)]
    path = tmp_path / "n.onnx"
    assert export(network, example, ["crop", *LEVELS], ["logits"], path, {"size": "64"}) < 0.02
    session = open_session(str(path), 1)
    assert session.get_modelmeta().custom_metadata_map == {"size": "64"}
    other = [torch.randn(1, 5, 96, 96), *seen(1, 96)]
    with torch.inference_mode():
        expected = network(*other).numpy()
    given = {name: x.numpy() for name, x in zip(("crop", *LEVELS), other, strict=True)}
    assert np.abs(session.run(None, given)[0] - expected).max() < 0.02 * expected.std()
    assert path.stat().st_size < 2.4 * sum(p.numel() for p in network.parameters()) + 40_000


def test_looks_meet_without_a_seam(scene):
    """Where a smaller window ends inside a larger one, the mean of both goes over into the larger one's alone."""
    image, visible = scene
    certain = np.array([3.0, -3.0], np.float32)[:, None, None]
    soft, occluder = predict(
        lambda x: np.broadcast_to(certain, (len(x), 2, *x.shape[2:])),
        image,
        visible,
        Look(64, (1.5, 2.6), True, (1.2,)),
    )
    assert np.ptp(soft.values) < 1e-5 and np.ptp(occluder.values) < 1e-5
    assert soft.values.mean() == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-5)


def test_growth_beyond_the_frame_is_believed_for_itself():
    image = np.zeros((100, 140, 3), np.uint8)
    visible = Mask.from_box((0, 40, 60, 100))
    values, front = np.zeros((160, 140), np.float32), np.zeros((160, 140), np.float32)
    values[40:100, :60] = 1
    values[40:100, 60:90], values[100:140, :60], front[40:100, 60:90] = 0.9, 0.6, 0.7
    soft, before = SoftMask(values), SoftMask(front)
    within, beyond = Mask.from_box((60, 40, 90, 100)), Mask.from_box((0, 100, 60, 140))

    def grown(sure, named=False):
        support = supported(soft, before, image, named)
        return amodal_mask(soft, visible, 0.5, 0, sure, support, image.shape[:2]) - visible

    assert grown(0.5) == within | beyond
    assert grown(0.7) == within
    assert not grown(0.9)
    assert grown(0.9, named=True) == within, "who names an occluder says nothing about what the frame cuts off"
