"""The pocket segmenter: prompt maps, simulated clicks, views, the shipped network."""

import numpy as np
import pytest

import amodal
from amodal.core.errors import PromptError
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt
from amodal.segmenters.pocket.choices import MOST, Guess, best, choose, distinct
from amodal.segmenters.pocket.prompts import next_click, prompt_maps
from amodal.segmenters.pocket.scene import CLOSER, KEEP, REPLAYED, WIDER, Scene, answer, answers, seek
from amodal.segmenters.pocket.segmenter import PocketSegmenter
from amodal.segmenters.pocket.views import Found, View


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
    prediction = truth.copy()
    prediction[10:50, 40:70] = True
    (x, y), label = next_click(prediction, truth)
    assert label == 0 and prediction[int(y), int(x)] and not truth[int(y), int(x)]
    assert next_click(truth, truth) is None
    rng = np.random.default_rng(0)
    for _ in range(20):
        (x, y), _ = next_click(np.zeros_like(truth), truth, rng)
        assert truth[int(y), int(x)]


def one(logits):
    """A head's answer: one mask, and how good it may be."""
    return logits, np.full((len(logits), 1), 0.5, np.float32)


def test_views_keep_their_place():
    """An encoder that passes the picture on and a head that answers where it is red: the answer lies on the red square."""
    image = np.zeros((300, 420, 3), np.uint8)
    image[200:230, 350:390] = (255, 0, 0)
    truth = Mask.from_box((350, 200, 390, 230))
    scene = Scene(lambda x: x, image)

    def decode(features, maps):
        return one((features[:, :1] - features[:, 1:2]) * 5 - 5)

    prediction = answer(decode, scene, Prompt(((370.0, 215.0),), (1,)))[0] > 0.5
    assert Mask.from_array(prediction).iou(truth) > 0.93, "seen from near, edges lie where they are"
    boxed = answer(decode, scene, Prompt(box=(345.0, 195.0, 395.0, 235.0)))[0] > 0.5
    assert Mask.from_array(boxed).iou(truth) > 0.93


def test_objects_larger_than_the_first_guess_are_not_cut_off():
    """A head that finds no more than the disc of the click at first, and all that is red once it has an answer beside it."""
    image = np.zeros((600, 800, 3), np.uint8)
    image[200:250, 300:350] = (255, 0, 0)
    truth = Mask.from_box((300, 200, 350, 250))

    def decode(features, maps):
        red = (features[:, :1] - features[:, 1:2]) * 5 - 5
        return one(red if maps[:, 3].any() else np.where(maps[:, :1] > 0, red, -5))

    prediction = answer(decode, Scene(lambda x: x, image), Prompt(((310.0, 210.0),), (1,)))[0] > 0.5
    assert Mask.from_array(prediction).iou(truth) > 0.97


def test_clicks_one_by_one_and_all_at_once_give_the_same():
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    asked = []

    def decode(features, maps):
        asked.append(maps)
        return one((features[:, :1] + maps[:, :1] - maps[:, 1:2] + 0.3 * maps[:, 3:]) * 3)

    points = tuple((5.0 + 3 * i, 4.0 + 2 * i) for i in range(30))
    labels = tuple(i % 3 and 1 for i in range(30))
    together, _ = answer(decode, Scene(lambda x: x, image), Prompt(points, labels))
    assert len(asked) <= 2 * (REPLAYED + 1 + CLOSER + WIDER), "many clicks do not cost an answer each"
    scene = Scene(lambda x: x, image)
    for n in range(1, 31):
        last, _ = answer(decode, scene, Prompt(points[:n], labels[:n]))
    assert (last == together).all(), "what a scene remembers does not change an answer"
    asked.clear()
    assert (answer(decode, scene, Prompt(points, labels))[0] == together).all()
    assert len(asked) <= 2 * (CLOSER + WIDER)
    onlynot, _ = answer(decode, scene, Prompt(((50.0, 40.0),), (0,)))
    assert onlynot.shape == (90, 120)


def test_small_things_in_large_pictures_are_found_in_closer_looks():
    """An encoder that is blind to what is smaller than two pixels of its view, and a head that judges by what it sees."""
    image = np.zeros((1500, 2000, 3), np.uint8)
    image[700:706, 900:906] = (255, 0, 0)
    truth = Mask.from_box((900, 700, 906, 706))

    def decode(features, maps):
        red = (features[:, :1] - features[:, 1:2]) * 5 - 5
        return red, np.full((1, 1), 0.9 if (red > 0).sum() >= 4 else 0.1, np.float32)

    scene = Scene(lambda x: x, image)
    found = scene.far(decode, Prompt(((903.0, 703.0),), (1,)))
    assert found.score == pytest.approx(0.9) and found.view.side < 700
    prediction, score = answer(decode, scene, Prompt(((903.0, 703.0),), (1,)))
    assert Mask.from_array(prediction > 0.5).iou(truth) > 0.5 and score == pytest.approx(0.9)


def test_one_click_has_several_answers_that_differ():
    image = np.zeros((200, 200, 3), np.uint8)
    image[80:120, 80:120] = (255, 0, 0)
    image[90:110, 90:110] = (255, 255, 0)

    def decode(features, maps):
        red, green = features[:, :1] * 10 - 5, features[:, 1:2] * 10 - 5
        masks = [green, red, red, np.full_like(red, 5)]
        if maps[:, 3].any():  # a closer view repeats what it is shown
            masks = [maps[:, 3:] * 10 - 5] * 4
        return np.concatenate(masks, 1), np.array([[0.3, 0.9, 0.8, 0.5]], np.float32)

    scene = Scene(lambda x: x, image)
    click = Prompt(((100.0, 100.0),), (1,))
    found = answers(decode, scene, click)
    assert [round(f.score, 2) for f in found] == [0.9, 0.5, 0.3], "the third is the same as the second"
    assert len(answers(decode, scene, Prompt(((100.0, 100.0), (85.0, 85.0)), (1, 1)))) == 1
    assert (found[0].logits == seek(decode, scene, click).logits).all()


def test_what_a_click_may_mean_does_not_depend_on_what_is_remembered():
    """The answer that is likeliest by itself is not the best one here: three agree on another."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[80:120, 80:120] = (255, 0, 0)
    image[90:110, 90:110] = (255, 255, 0)

    def decode(features, maps):
        red, green = features[:, :1] * 10 - 5, features[:, 1:2] * 10 - 5
        masks = [maps[:, 3:] * 10 - 5] * 4 if maps[:, 3].any() else [green, red, red, red]
        return np.concatenate(masks, 1), np.array([[0.9, 0.8, 0.8, 0.8]], np.float32)

    scene, click = Scene(lambda x: x, image), Prompt(((100.0, 100.0),), (1,))
    found = answers(decode, scene, click)
    assert [round(f.score, 2) for f in found] == [0.8, 0.9]
    for step in range(KEEP + 1):  # clicks that push out what is remembered of the first one
        scene.far(decode, Prompt(((60.0 + step, 60.0),), (1,)))
    again = answers(decode, scene, click)
    assert all((a.logits == b.logits).all() and a.score == b.score for a, b in zip(found, again, strict=True))


def squares(*sides, window=(0.0, 0.0, 100.0)):
    """Answers about (50, 50), squares of these sides in pixels of the picture, in one window (x0, y0, side) of 100 x 100 pixels."""
    x0, y0, side = window
    view = View(x0, y0, side, 100, np.zeros((1, 1, 1, 1), np.float32))
    rows, columns = np.indices((100, 100)) * side / 100
    away = np.maximum(abs(columns + x0 - 50 + side / 200), abs(rows + y0 - 50 + side / 200))
    return [Found(np.where(away < one / 2, 5, -5).astype(np.float32), view, 0.5) for one in sides]


def test_answers_that_agree_help_each_other():
    alone, *alike = squares(10, 60, 62, 64)
    guesses = [Guess(alone, 0.36), *(Guess(one, 0.3) for one in alike)]
    assert best(guesses) is alike[1], "the middle one of those that agree, though another one is likelier by itself"
    assert [g.found for g in distinct(guesses, alike[1])] == [alike[1], alone]


def test_more_answers_are_those_that_add_most():
    small, middle, large, other = squares(10, 30, 80, 84)
    guesses = [Guess(middle, 0.4), Guess(large, 0.2), Guess(other, 0.2), Guess(small, 0.3)]
    assert choose(guesses) == [middle, large, small], (
        "two of those that are left agree on what is large: together they are likelier"
    )
    assert choose([Guess(middle, 1.0)]) == [middle]


def test_answers_are_compared_across_windows():
    near = squares(20, window=(30.0, 30.0, 40.0))[0]
    far = squares(20, 60)
    guesses = [Guess(near, 0.5), *(Guess(one, 0.4) for one in far)]
    assert [g.found for g in distinct(guesses, near)] == [near, far[1]]


def test_empty_answers_are_the_same_and_few_are_looked_at():
    empty, full = squares(0, 30)
    guesses = [Guess(full, 0.5), Guess(empty, 0.2), *(Guess(one, 0.1) for one in squares(0, *range(4, 40, 3)))]
    kept = [g.found for g in distinct(guesses, full)]
    assert len(kept) == MOST and kept[0] is full and kept[1] is empty
    assert sum(not (one.logits > 0).any() for one in kept) == 1


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


def test_all_objects_of_a_picture_by_one_batch_of_clicks():
    rows, columns = np.indices((200, 260))
    image = np.random.default_rng(0).integers(60, 90, (200, 260, 3)).astype(np.uint8)
    discs = [(rows - y) ** 2 + (columns - x) ** 2 < r**2 for x, y, r in ((70, 80, 45), (190, 120, 40))]
    for disc, colour in zip(discs, ((220, 90, 30), (40, 160, 220)), strict=True):
        image[disc] = colour
    told: list[tuple[str, int, int]] = []
    scene = amodal.load("visible", segmenter="pocket").open(image)
    for disc, place in zip(discs, ((70, 80), (190, 120)), strict=True):
        glance, click = scene.glance(place), scene.segment(point=place)[0]
        assert glance.mask.iou(Mask.from_array(disc)) > 0.7 and glance.mask.iou(click.mask) > 0.7
    found = scene.objects(progress=lambda what, done, total: told.append((what, done, total)))
    for disc in discs:
        assert max(one.mask.iou(Mask.from_array(disc)) for one in found) > 0.8
    assert [done for _, done, _ in told] == list(range(1, told[-1][2] + 1))
    assert [one.mask for one in found] == [one.mask for one in scene.objects()]


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (33, 47)])
def test_odd_pictures(size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    segmenter = PocketSegmenter()
    embedded = segmenter.embed(image)
    for prompt in (Prompt.make(point=(0, 0)), Prompt.make(box=(0, 0, size[1], size[0]))):
        assert segmenter.segment(embedded, prompt)[0].mask
    assert all(one.mask.clip(size) == one.mask for one in segmenter.segment_everything(image))


def test_words_are_refused():
    segmenter = PocketSegmenter()
    with pytest.raises(PromptError, match="pocket does not understand words"):
        segmenter.segment(segmenter.embed(np.zeros((8, 8, 3), np.uint8)), Prompt.make(text="a cup"))


def test_torch_and_onnx_agree(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from amodal.networks.image_encoder import LEVELS
    from amodal.networks.lite import CHANNELS
    from amodal.networks.onnx_session import open_session
    from amodal.segmenters.pocket.network import MASKS, PocketNetwork
    from amodal.training.recipe import parse_recipe
    from amodal.training.tasks import open_task

    torch.manual_seed(0)
    task = open_task(
        parse_recipe(
            {
                "task": "pocket-segmenter",
                "network": {"widths": [16, 24, 32, 32], "depths": [1] * 4, "head": [16, 16, 16]},
            }
        )
    )
    network = task.network()
    assert isinstance(network, PocketNetwork)
    picture, prompts = torch.rand(1, 4, 96, 96) * 2 - 1, (torch.randn(1, 4, 96, 96) > 2).float()
    seen = [torch.randn(3, c, 96 // n, 96 // n) for c, n in zip(CHANNELS, (4, 8, 16, 32), strict=True)]
    with torch.no_grad():
        network.train()(torch.randn(3, 4, 96, 96), seen, (torch.randn(3, 4, 96, 96) > 1).float())
    encoder, head = (open_session(str(p), 1) for p in task.export(network, tmp_path))
    with torch.inference_mode():
        expected = [x.numpy() for x in network.eval()(picture, [s[:1] for s in seen], prompts)]
    feed = {name: s[:1].numpy() for name, s in zip(LEVELS, seen, strict=True)}
    features = encoder.run(None, {"picture": picture.numpy(), **feed})[0]
    got = head.run(["logits", "scores"], {"features": features, "prompts": prompts.numpy()})
    assert got[0].shape == (1, MASKS, 96, 96) and got[1].shape == (1, MASKS)
    for mine, theirs in zip(got, expected, strict=True):
        assert np.abs(mine - theirs).max() < 0.05 * max(1, theirs.std())


def test_a_training_can_start_from_what_ships(monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("accelerate")
    from amodal.core.errors import WeightsError
    from amodal.networks.image_encoder import encode
    from amodal.segmenters.pocket.segmenter import runners
    from amodal.training.recipe import RecipeError, parse_recipe
    from amodal.training.start import read_shipped
    from amodal.training.tasks import open_task

    task = open_task(parse_recipe({"task": "pocket-segmenter"}))
    network = task.network()
    read_shipped(network, task)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        expected = network.eval().encoder(torch.from_numpy(x), *map(torch.from_numpy, encode(x[:, :3], 1))).numpy()
    assert np.abs(runners(1)[0](x) - expected).max() < 0.01 * expected.std()
    validated = task.runners(network, torch.device("cpu"))[0](x)  # in fp32, as it ships
    assert np.abs(validated - expected).max() < 1e-3 * expected.std()
    narrow = open_task(parse_recipe({"task": "pocket-segmenter", "network": {"head": [16, 16, 16, 16]}}))
    with pytest.raises(WeightsError, match="the package holds another network"):
        read_shipped(narrow.network(), narrow)
    monkeypatch.delattr(type(task), "shipped")
    with pytest.raises(RecipeError, match="no network of this task ships"):
        read_shipped(network, task)
