"""The pocket segmenter: prompt maps, simulated clicks, views, the shipped network."""

import numpy as np
import pytest

import amodal
from amodal.errors import PromptError
from amodal.mask import Mask
from amodal.prompt import Prompt
from amodal.segmenters.pocket.prompts import next_click, prompt_maps
from amodal.segmenters.pocket.segmenter import PocketSegmenter
from amodal.segmenters.pocket.views import CLOSER, REPLAYED, WIDER, Scene, answer


def test_prompt_maps():
    maps = prompt_maps(
        64, [(10.5, 20.5), (50.0, 60.0)], [1, 0], (8.0, 10.0, 30.0, 40.0), np.full((64, 64), 0.7, np.float32)
    )
    assert maps.shape == (4, 64, 64)
    assert maps[0, 20, 10] == 1 and maps[0].sum() == pytest.approx(np.pi * 4.0**2, rel=0.15)
    assert maps[1, 59, 49] == 1 and not maps[1, :50].any()
    assert maps[2].sum() == 22 * 30 and maps[2, 10, 8] == 1 and maps[2, 9, 8] == 0
    assert maps[3].all()
    assert not prompt_maps(64, [(-20.0, 5.0)], [1], None, None).any()


def test_clicks_go_where_the_error_is():
    truth = np.zeros((60, 80), bool)
    truth[10:50, 10:40] = True
    (x, y), label = next_click(np.zeros_like(truth), truth)
    assert label == 1 and 19 < y < 41 and 19 < x < 31
    guess = truth.copy()
    guess[10:50, 40:70] = True
    (x, y), label = next_click(guess, truth)
    assert label == 0 and guess[int(y), int(x)] and not truth[int(y), int(x)]
    assert next_click(truth, truth) is None
    rng = np.random.default_rng(0)
    for _ in range(20):
        (x, y), _ = next_click(np.zeros_like(truth), truth, rng)
        assert truth[int(y), int(x)]


def test_views_keep_their_place():
    """An encoder that passes the picture on and a head that answers where it is red: the answer lies on the red square."""
    image = np.zeros((300, 420, 3), np.uint8)
    image[200:230, 350:390] = (255, 0, 0)
    truth = Mask.from_box((350, 200, 390, 230))
    scene = Scene(lambda x: x, image)
    guess = answer(lambda f, p: (f[:, :1] - f[:, 1:2]) * 5 - 5, scene, Prompt(((370.0, 215.0),), (1,))) > 0.5
    assert Mask.from_array(guess).iou(truth) > 0.93, "seen from near, edges lie where they are"
    boxed = answer(lambda f, p: (f[:, :1] - f[:, 1:2]) * 5 - 5, scene, Prompt(box=(345.0, 195.0, 395.0, 235.0))) > 0.5
    assert Mask.from_array(boxed).iou(truth) > 0.93


def test_objects_larger_than_the_first_guess_are_not_cut_off():
    """A head that finds no more than the disc of the click at first, and all that is red once it has an answer beside it."""
    image = np.zeros((600, 800, 3), np.uint8)
    image[200:250, 300:350] = (255, 0, 0)
    truth = Mask.from_box((300, 200, 350, 250))

    def decode(features, maps):
        red = (features[:, :1] - features[:, 1:2]) * 5 - 5
        return red if maps[:, 3].any() else np.where(maps[:, :1] > 0, red, -5)

    guess = answer(decode, Scene(lambda x: x, image), Prompt(((310.0, 210.0),), (1,))) > 0.5
    assert Mask.from_array(guess).iou(truth) > 0.97


def test_clicks_one_by_one_and_all_at_once_give_the_same():
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    asked = []

    def decode(features, maps):
        asked.append(maps)
        return (features[:, :1] + maps[:, :1] - maps[:, 1:2] + 0.3 * maps[:, 3:]) * 3

    points = tuple((5.0 + 3 * i, 4.0 + 2 * i) for i in range(30))
    labels = tuple(i % 3 and 1 for i in range(30))
    together = answer(decode, Scene(lambda x: x, image), Prompt(points, labels))
    assert len(asked) <= 2 * (REPLAYED + 1 + CLOSER + WIDER), "many clicks do not cost an answer each"
    scene = Scene(lambda x: x, image)
    for n in range(1, 31):
        last = answer(decode, scene, Prompt(points[:n], labels[:n]))
    assert (last == together).all(), "what a scene remembers does not change an answer"
    asked.clear()
    assert (answer(decode, scene, Prompt(points, labels)) == together).all()
    assert len(asked) <= 2 * (CLOSER + WIDER)
    onlynot = answer(decode, scene, Prompt(((50.0, 40.0),), (0,)))
    assert onlynot.shape == (90, 120)


def test_the_shipped_segmenter_finds_a_disc():
    rows, columns = np.indices((120, 160))
    disc = (rows - 60) ** 2 + (columns - 70) ** 2 < 30**2
    image = np.random.default_rng(0).integers(60, 90, (120, 160, 3)).astype(np.uint8)
    image[disc] = (220, 90, 30)
    scene = amodal.load("visible", segmenter="pocket").open(image)
    truth = Mask.from_array(disc)
    assert scene.segment(point=(70, 60))[0].mask.iou(truth) > 0.8
    assert scene.segment(box=(38, 28, 102, 92))[0].mask.iou(truth) > 0.8
    first = scene.segment(points=[(70, 60), (130, 20)], labels=[1, 0])[0]
    again = scene.segment(points=[(70, 60), (130, 20)], labels=[1, 0])[0]
    assert first.mask == again.mask
    assert 0 < first.score <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (33, 47)])
def test_odd_pictures(size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    segmenter = PocketSegmenter()
    embedded = segmenter.embed(image)
    for prompt in (Prompt.make(point=(0, 0)), Prompt.make(box=(0, 0, size[1], size[0]))):
        assert segmenter.segment(embedded, prompt)[0].mask


def test_words_are_refused():
    segmenter = PocketSegmenter()
    with pytest.raises(PromptError, match="pocket does not understand words"):
        segmenter.segment(segmenter.embed(np.zeros((8, 8, 3), np.uint8)), Prompt.make(text="a cup"))


def test_torch_and_onnx_agree(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from amodal.networks.onnx_session import open_session
    from amodal.segmenters.pocket.network import PocketNetwork
    from amodal.training.recipe import parse_recipe
    from amodal.training.tasks import open_task

    torch.manual_seed(0)
    task = open_task(
        parse_recipe(
            {"task": "pocket-segmenter", "network": {"widths": [16, 24, 32], "depths": [1, 1, 1], "head": [16, 16, 16]}}
        )
    )
    network = task.network()
    assert isinstance(network, PocketNetwork)
    with torch.no_grad():
        network.train()(torch.randn(3, 4, 64, 64), (torch.randn(3, 4, 64, 64) > 1).float())
    encoder, head = (open_session(str(p), 1) for p in task.export(network, tmp_path))
    picture, prompts = torch.randn(1, 4, 96, 96), (torch.randn(1, 4, 96, 96) > 2).float()
    with torch.inference_mode():
        expected = network.eval()(picture, prompts).numpy()
    features = encoder.run(None, {"picture": picture.numpy()})[0]
    got = head.run(None, {"features": features, "prompts": prompts.numpy()})[0]
    assert np.abs(got - expected).max() < 0.05 * expected.std()
