"""The tuning-free method: its parts against what the paper says of them, and end to end with real classes at tiny size."""

import json
from dataclasses import replace

import numpy as np
import pytest

from amodal import load, read
from amodal.core.errors import Cancelled, OptionError, UsageError
from amodal.core.image import Image
from amodal.core.mask import Mask
from amodal.methods.tuning_free.area import inpainting_area
from amodal.methods.tuning_free.condition import condition_picture, draw_background
from amodal.methods.tuning_free.extraction import Generated, by_grabcut, by_segmenter, by_threshold, spread_points
from amodal.methods.tuning_free.method import TuningFree
from amodal.plugins.protocols import Context, Inpainter, Proposal, Request, Segmenter
from amodal.plugins.registry import create_segmenter

RNG = np.random.default_rng


def disc(side: int = 64, radius: float = 18, centre: tuple[float, float] = (32, 32)) -> np.ndarray:
    rows, columns = np.indices((side, side))
    return (rows - centre[1]) ** 2 + (columns - centre[0]) ** 2 < radius**2


def two_colours(visible: np.ndarray) -> Image:
    """Red on the left half of the object, blue on the right, green around."""
    picture = np.full((*visible.shape, 3), (0, 255, 0), np.uint8)
    picture[visible] = (200, 0, 0)
    right = visible.copy()
    right[:, :32] = False
    picture[right] = (0, 0, 200)
    return picture


class TestCondition:
    @pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
    def test_object_pixels_are_s_noise_plus_one_minus_s_photo(self, noise):
        visible = disc()
        picture = two_colours(visible)
        ground = np.zeros((64, 64, 3), np.float32)
        made = condition_picture(picture, visible, ground, noise, RNG(0))
        eps = RNG(0).standard_normal((64, 64, 3), np.float32)
        expected = noise * eps + (1 - noise) * (picture / 127.5 - 1)
        np.testing.assert_allclose(made[visible], expected[visible], atol=1e-6)
        np.testing.assert_array_equal(made[~visible], ground[~visible])

    def test_histogram_draws_joint_colours_of_the_visible_pixels_only(self):
        visible = disc()
        ground = draw_background(two_colours(visible), visible, "histogram", RNG(0), blur=0, bins=16)
        drawn = (ground + 1) * 127.5
        red, blue = drawn[..., 0] > 100, drawn[..., 2] > 100
        assert (red ^ blue).all(), "no purple: channels are drawn together"
        assert drawn[..., 1].max() <= 16, "no green: that is not the object's"
        assert red.mean() == pytest.approx(0.5, abs=0.03)

    def test_histogram_is_blurred_to_near_the_mean(self):
        visible = disc()
        picture = two_colours(visible)
        mean = draw_background(picture, visible, "mean", RNG(0))
        assert np.ptp(mean.reshape(-1, 3), axis=0).max() == 0
        sharp, soft = (draw_background(picture, visible, "histogram", RNG(0), blur=b) for b in (0.0, 0.05))
        assert soft.std(axis=(0, 1)).max() < 0.2 * sharp.std(axis=(0, 1)).max()
        np.testing.assert_allclose(soft.mean(axis=(0, 1)), mean[0, 0], atol=0.1)

    def test_photo_and_blurred_photo(self):
        visible = disc()
        picture = two_colours(visible)
        photo = draw_background(picture, visible, "photo", RNG(0))
        np.testing.assert_allclose((photo + 1) * 127.5, picture, atol=1e-3)
        blurred = draw_background(picture, visible, "blur", RNG(0), blur=0.05)
        assert 0 < np.abs(np.diff(blurred, axis=1)).max() < np.abs(np.diff(photo, axis=1)).max()


class TestArea:
    def test_hull_bridges_all_parts(self):
        visible = disc(radius=6, centre=(14, 32)) | disc(radius=6, centre=(50, 32))
        area = inpainting_area(visible, "hull")
        assert set(np.unique(area)) == {0.0, 1.0}
        assert area[visible].all()
        assert area[32, 14:51].all(), "the gap between the parts"
        assert not area[:20].any()

    def test_kinds_contain_each_other(self):
        visible = disc(radius=6, centre=(14, 20)) | disc(radius=6, centre=(50, 40))
        mask, hull, box, wide = (
            inpainting_area(visible, kind, dilate=0.3) > 0 for kind in ("mask", "hull", "box", "dilated-hull")
        )
        assert np.array_equal(mask, visible)
        for small, large in ((mask, hull), (hull, box), (hull, wide)):
            assert (large | small).sum() == large.sum() > small.sum()

    def test_soft_edge_falls_off_outside(self):
        visible = disc(radius=10)
        area = inpainting_area(visible, "hull", soft_edge=8 / 64)
        assert (area[visible] == 1).all()
        row = area[32, 42:54]
        assert (np.diff(row) <= 0).all()
        assert area[32, 46] == pytest.approx(0.5, abs=0.15)
        assert area[32, 54] == 0


class Offers(Segmenter):
    """A hostile segmenter: offers a part, the whole, the scene and something else, with scores that mislead."""

    name = "offers"

    def __init__(self, masks: list[tuple[np.ndarray, float]]) -> None:
        super().__init__()
        self.masks = masks
        self.prompts = []

    def segment(self, embedded, prompt):
        self.prompts.append(prompt)
        return [Proposal(Mask.from_array(bits), score) for bits, score in self.masks]


class TestExtraction:
    def generated(self) -> Generated:
        whole = disc()
        ground = np.full((64, 64, 3), 90, np.uint8)
        picture = np.where(whole[..., None], np.uint8((220, 60, 30)), ground)
        visible = whole.copy()
        visible[:, 36:] = False
        return Generated(picture, picture, ground, visible)

    @pytest.mark.parametrize(("extract", "least"), [(by_grabcut, 0.95), (by_threshold, 0.99)])
    def test_without_weights(self, extract, least):
        bits, _ = extract(self.generated(), 12.0)
        whole = disc()
        assert (bits & whole).sum() / (bits | whole).sum() > least

    def test_only_what_hangs_together_with_the_visible_part_stays(self):
        made = self.generated()
        made.picture[2:8, 2:8] = (220, 60, 30)
        made.picture[30:33, 40:43] = 90
        bits, _ = by_threshold(made, 12.0)
        assert not bits[:9, :9].any()
        assert bits[31, 41], "the hole is filled"
        bits, _ = by_threshold(replace(made, plain=True), 12.0)
        assert bits[4, 4] and not bits[31, 41], "what was read off"

    def test_the_best_proposal_covers_the_visible_part(self):
        made = self.generated()
        part, elsewhere, scene = (
            disc(radius=5, centre=(20, 32)),
            disc(radius=5, centre=(50, 10)),
            np.ones((64, 64), bool),
        )
        offers = Offers([(elsewhere, 0.99), (part, 0.98), (scene, 0.97), (disc(), 0.9)])
        bits, score = by_segmenter(made, offers, 9)
        assert np.array_equal(bits, disc())
        assert score == pytest.approx(0.9)
        bits, score = by_segmenter(replace(made, plain=True), offers, 9)
        assert np.array_equal(bits, elsewhere) and score == pytest.approx(0.99), (
            "the paper's: the segmenter's best, as it is"
        )
        prompt = offers.prompts[0]
        assert len(prompt.points) == 9
        assert set(prompt.labels) == {1}

    def test_points_are_spread_over_the_visible_part(self):
        visible = disc(radius=6, centre=(14, 32)) | disc(radius=6, centre=(50, 32))
        points = np.array(spread_points(visible, 9))
        assert points.shape == (9, 2)
        assert all(visible[int(y), int(x)] for x, y in points)
        assert 4 <= (points[:, 0] < 32).sum() <= 5
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 99 * np.eye(9)
        assert gaps.min() > 2
        assert len(spread_points(disc(radius=1.1), 9)) == disc(radius=1.1).sum()


class Painted(Inpainter):
    """Stands for a perfect inpainter: knows the answer and paints it; records what it was given."""

    name = "painted"
    size = 64

    def __init__(self, answer: np.ndarray) -> None:
        super().__init__()
        self.answer, self.calls = answer, []

    def paint(self, conditions, areas, seeds, sampling, progress=None):
        self.calls.append((conditions, areas, list(seeds), sampling))
        return np.broadcast_to(self.answer, conditions.shape).astype(np.float32)


class TestWindow:
    def run(self, visible: Mask, size: tuple[int, int], **options) -> tuple[Mask, Painted]:
        """The window is all object, so the mask is as large as the method allows."""
        image = RNG(0).integers(0, 60, (*size, 3), dtype=np.uint8)
        method, painted = TuningFree({"extractor": "threshold", **options}), Painted(np.ones(3))
        answers = method.complete(image, image, [Request(visible)], Context(None, painted))
        return answers[0][0].amodal, painted

    def test_an_object_at_the_border_may_leave_the_frame_there(self):
        amodal, _ = self.run(Mask.from_box((0, 40, 20, 60)), (100, 100))
        assert amodal.box == (-10, 30, 30, 70)

    def test_an_object_inside_stays_inside(self):
        amodal, _ = self.run(Mask.from_box((5, 40, 45, 60)), (100, 100))
        assert amodal.box == (0, 10, 65, 90)

    @pytest.mark.parametrize(("beyond", "box"), [("never", (0, 30, 30, 70)), ("always", (-10, 30, 30, 70))])
    def test_beyond_is_an_option(self, beyond, box):
        assert self.run(Mask.from_box((0, 40, 20, 60)), (100, 100), beyond=beyond)[0].box == box

    def test_context_sets_the_window(self):
        assert self.run(Mask.from_box((40, 40, 60, 60)), (100, 100), context=3)[0].box == (20, 20, 80, 80)

    def test_the_inpainter_gets_what_the_options_say(self):
        _, painted = self.run(
            Mask.from_box((40, 40, 60, 60)), (100, 100), leak="0,0.3", steps=7, strength=0.5, scheduler="euler"
        )
        sampling = painted.calls[0][3]
        assert (sampling.leak, sampling.steps, sampling.strength, sampling.scheduler) == ((0, 0.3), 7, 0.5, "euler")


def test_all_samples_of_all_objects_are_one_batch_and_depend_on_their_seed_alone():
    image = RNG(0).integers(0, 60, (90, 90, 3), dtype=np.uint8)
    requests = [Request(Mask.from_box((10, 10, 30, 30)), 4, 2), Request(Mask.from_box((40, 40, 70, 60)), 5, 3)]
    painted = Painted(np.ones(3))
    answers = TuningFree({"extractor": "threshold"}).complete(image, image, requests, Context(None, painted))
    assert [len(row) for row in answers] == [2, 3]
    assert len(painted.calls) == 1
    conditions, areas, seeds, _ = painted.calls[0]
    alone = Painted(np.ones(3))
    TuningFree({"extractor": "threshold"}).complete(image, image, requests[1:], Context(None, alone))
    np.testing.assert_array_equal(alone.calls[0][0], conditions[2:])
    np.testing.assert_array_equal(alone.calls[0][1], areas[2:])
    assert alone.calls[0][2] == seeds[2:]
    assert len(set(seeds)) == 5
    assert np.abs(conditions[0] - conditions[1]).max() > 0.1, "each sample draws its own ground and noise"


@pytest.mark.parametrize("visible", [(17, 9, 18, 10), (0, 0, 128, 96), (5, 50, 100, 51)])
def test_end_to_end_without_weights_keeps_its_promises(photo, visible):
    result = load("tuning-free", inpainter="classical", options={"extractor": "grabcut"})(
        photo, mask=Mask.from_box(visible), samples=2
    )
    assert result.amodal.contains(result.visible)
    assert len(result.samples) == 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("family", ["sd15", "sd2", "text", "sdxl", "flux-fill"])
def test_end_to_end_with_every_backbone_class(tiny, photo, disc_visible, family):
    model = load(
        "tuning-free",
        inpainter=str(tiny(family)),
        inpainter_options={"size": 32},
        options={"steps": 2, "extractor": "grabcut"},
        device="cpu",
    )
    result = model(photo, mask=disc_visible, samples=2, seed=3)
    again = model(photo, mask=disc_visible, samples=2, seed=3)
    assert result.rgba.tobytes() == again.rgba.tobytes()
    assert result.amodal.contains(result.visible)
    assert result.provenance["method"]["options"]["leak"] == [0.3, 0.0]
    assert result.provenance["inpainter"]["name"] == "diffusers"


def test_extraction_asks_the_segmenter_in_use_or_one_of_its_own(tmp_path, photo, disc_visible):
    pytest.importorskip("transformers")
    from tiny_sam import save_sam

    sam = str(save_sam(tmp_path / "sam"))
    given = load("tuning-free", inpainter="classical", segmenter=sam, device="cpu")
    own = load("tuning-free", inpainter="classical", options={"extractor": sam}, device="cpu")
    first, second = (model(photo, mask=disc_visible, seed=2) for model in (given, own))
    assert first.score is not None
    assert first.amodal == second.amodal
    assert first.amodal.contains(first.visible)
    without = load("tuning-free", inpainter="classical", segmenter=sam, options={"extractor": "grabcut"}, device="cpu")
    assert without(photo, mask=disc_visible, seed=2).score is None


def test_what_is_hardly_drawn_beyond_the_visible_part_counts_as_whole(photo):
    half = disc(96, 30, (48, 48)) & (np.indices((96, 96)).sum(0) > 96)  # below a diagonal: its hull is itself
    ring = half & ~disc(96, 18, (48, 48))
    visible = Mask.from_array(ring)

    def grown(share, extractor="threshold", least=None, finish=True):
        """By how much the object grows where `share` of the free part of M is drawn in a colour of its own."""
        method = TuningFree({"extractor": extractor, "least": least, "finish": finish})
        task = method.prepare(photo[:96, :96], Request(visible), 0, 64)
        picture = ((task.background + 1) * 127.5).astype(np.uint8)
        drawn = (task.area > 0.5) & ~task.visible
        rows = np.cumsum(drawn.sum(1)) <= share * drawn.sum()
        picture[(drawn & rows[:, None]) | task.visible] = (0, 255, 0)
        return method.extract(photo[:96, :96], task, picture, Context()).amodal.area - visible.area

    assert grown(0.5) > 0 and grown(0.5, least=0.9) == 0
    assert grown(0.5, least=0.9, finish=False) == 0, "whole as read off, too: the visible part, not nothing"
    assert grown(0.1) > 0, "the paper's rule takes all that is drawn"
    assert grown(0.05, "auto") == 0 and grown(0.8, "auto") > 0, "the embedded inpainter always draws a little"


def test_an_embedded_segmenter_reads_the_mask_only_when_told():
    context = Context(segmenter=create_segmenter("pocket"))
    assert TuningFree().segmenter(context) is None
    assert TuningFree({"extractor": "segmenter"}).segmenter(context) is context.segmenter


def test_like_repeats_it_from_the_command_line(tiny, tmp_path, photo, disc_visible, monkeypatch):
    from PIL import Image as PillowImage

    from amodal.cli import run

    monkeypatch.chdir(tmp_path)
    PillowImage.fromarray(photo).save("photo.png")
    PillowImage.fromarray(disc_visible).save("seen.png")
    asked = "segment photo.png --mask seen.png --method tuning-free --set steps=1 --samples 2 --device cpu -o first"
    assert run([*asked.split(), "--inpainter", str(tiny("text"))]) == 0
    assert run(["segment", "--like", "first/photo.json", "--device", "cpu", "-o", "second"]) == 0
    for name in ("photo.cutout.png", "photo.amodal.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_on_real_photographs(tiny, development_data):
    folder = development_data / "composites_dev"
    row = json.loads((folder / "rows.json").read_text())[40]["id"]
    image = read(next((folder / "images").glob(f"{row}.*")))
    visible = Mask.from_array(read(folder / "visible" / f"{row}.png")[..., 0] > 0)
    model = load("tuning-free", inpainter=str(tiny("sd15")), options={"steps": 2}, device="cpu")
    result = model(image, mask=visible)
    assert result.amodal.contains(visible)
    assert result.amodal.box[0] >= 0


def test_cancel_within_a_step(tiny, photo, disc_visible):
    seen = []

    def progress(what, done, total):
        seen.append(done)
        if done == 1:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        load("tuning-free", inpainter=str(tiny("sd15")), device="cpu")(photo, mask=disc_visible, progress=progress)
    assert seen == [0, 1]


def test_what_is_asked_wrongly_is_told(photo, disc_visible):
    with pytest.raises(OptionError, match=r"option leak=.*1.5"):
        load("tuning-free", options={"leak": "1.5,0"})
    with pytest.raises(OptionError, match="option background"):
        load("tuning-free", options={"background": "white"})
    model = load("tuning-free", inpainter="classical", options={"extractor": "sum"})
    model.inpainter.paint = lambda *_: pytest.fail("drawn for nothing")
    with pytest.raises(UsageError, match="no segmenter named 'sum'"):
        model(photo, mask=disc_visible)
    with pytest.raises(UsageError, match="needs an inpainter"):
        TuningFree().complete(photo, photo, [Request(Mask.from_array(disc_visible))], Context())


def test_the_whole_frame_and_the_steps_as_pictures(tmp_path, photo, disc_visible):
    """Figure 3 of the paper: the sampler's pictures, one file a step; the window is the whole photo."""
    options = {"steps": 2, "window": "frame", "trace": str(tmp_path), "extractor": "threshold"}
    method = TuningFree(options)
    task = method.prepare(photo, Request(Mask.from_array(disc_visible)), 0, 128)
    assert task.crop.box == (0, -16, 128, 112)
    model = load("tuning-free", options=options)
    result = model(photo, mask=disc_visible)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["0-01.png", "0-02.png"]
    assert read(tmp_path / names[1]).shape == (128, 128, 3)
    assert result.amodal.contains(result.visible)


def test_soft_areas_reach_the_masks_channel():
    torch = pytest.importorskip("torch")
    from amodal.inpainters.leak import weight_map

    area = np.linspace(0, 1, 5, dtype=np.float32)
    assert weight_map(area, (0.3, 0.0)) == pytest.approx(0.3 * area)
    from types import SimpleNamespace

    from amodal.inpainters.unet import UNetBackbone

    seen = []
    bare = SimpleNamespace(
        network=SimpleNamespace(config=SimpleNamespace(in_channels=9)),
        autoencoder=SimpleNamespace(channels=4),
        sees_picture=True,
        placement=SimpleNamespace(dtype=torch.float32),
        latent_area=lambda areas: seen.append(areas) or areas,
    )
    soft = torch.full((1, 1, 8, 8), 0.25)
    out = UNetBackbone.seen(bare, torch.zeros(1, 3, 8, 8), soft, torch.zeros(1, 4, 8, 8), [])
    assert torch.equal(out[:, :1], soft), "soft values are not cut at a half"
