"""The papers' baselines `sam` and `inpaint`, with segmenters and inpainters that need no weights."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from amodal import Prompt, load
from amodal.core.crop import Crop
from amodal.core.errors import PromptError
from amodal.core.mask import Mask
from amodal.methods.comparisons import Inpaint, SegmentAgain, touching
from amodal.pipeline import Model
from amodal.plugins.protocols import Context, Inpainter, Proposal, Request, Sampling, Segmenter
from amodal.plugins.registry import create_inpainter, create_method, create_segmenter


class Ellipse(Segmenter):
    """Answers with the smallest ellipse about the prompt; keeps the prompts and counts the embeddings."""

    name = "ellipse"
    summary = "tests"

    def __init__(self, found: bool = True) -> None:
        super().__init__()
        self.prompts: list[Prompt] = []
        self.embedded = 0
        self.found = found

    def embed(self, image: Any) -> Any:
        self.embedded += 1
        return image.shape[:2]

    def segment(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        self.prompts.append(prompt)
        if not self.found:
            return [Proposal(Mask.from_array(np.zeros((1, 1), bool)), 0.0)]
        places = np.array(prompt.points or np.reshape(prompt.box, (2, 2)))
        centre, reach = places.mean(axis=0), np.ptp(places, axis=0) + 1
        rows, columns = np.indices(embedded)
        inside = ((columns + 0.5 - centre[0]) / reach[0]) ** 2 + ((rows + 0.5 - centre[1]) / reach[1]) ** 2 < 1
        return [Proposal(Mask.from_array(inside), 0.9), Proposal(Mask.from_box((0, 0, 5, 5)), 0.5)]


class Disc(Inpainter):
    """Paints an orange disc on the condition's background, wider with the seed; keeps what it was given."""

    name = "disc"
    summary = "tests"
    size = 64

    def paint(self, conditions: Any, areas: Any, seeds: Any, sampling: Sampling, progress: Any = None) -> Any:
        self.given = conditions, areas, list(seeds), sampling
        rows, columns = np.indices((64, 64))
        out = conditions.copy()
        for picture, area, seed in zip(out, areas, seeds, strict=True):
            disc = np.hypot(rows - 31.5, columns - 31.5) < 20 + seed % 2
            picture[disc & (area > 0)] = (0.8, 0.0, -0.8)
            picture[:4, :4][area[:4, :4] > 0] = (-1, -1, -1)
        if progress:
            progress("step", 1, 1)
        return out


def test_sam_prompts_with_points_of_the_visible_mask(photo: np.ndarray, disc_visible: np.ndarray) -> None:
    segmenter = Ellipse()
    model = Model(create_method("sam"), segmenter, create_inpainter("classical"))
    prompts = [Prompt.make(mask=disc_visible), Prompt.make(mask=Mask.from_box((3, 4, 5, 6)))]
    results = model.open(photo).complete_all(prompts)
    assert segmenter.embedded == 1
    first, second = segmenter.prompts
    assert len(first.points) == 9 and first.labels == (1,) * 9 and first.box is None
    assert all(disc_visible[int(y), int(x)] for x, y in first.points)
    assert len(second.points) == 4, "a mask of four pixels has four points"
    expected = segmenter.segment(photo.shape[:2], first)[0].mask
    assert results[0].amodal == expected | Mask.from_array(disc_visible)
    assert results[0].score == 0.9


@pytest.mark.parametrize(("kind", "points", "box"), [("points", 9, False), ("box", 0, True), ("both", 9, True)])
def test_sam_prompt_kinds(disc_visible: np.ndarray, kind: str, points: int, box: bool) -> None:
    visible = Mask.from_array(disc_visible)
    prompt = SegmentAgain({"prompt": kind}).prompt(visible)
    assert len(prompt.points) == points and (prompt.box == visible.box if box else prompt.box is None)


def test_sam_without_an_answer_keeps_the_visible_mask(photo: np.ndarray, disc_visible: np.ndarray) -> None:
    model = Model(create_method("sam"), Ellipse(found=False), create_inpainter("classical"))
    result = model(photo, mask=disc_visible)
    assert result.amodal == result.visible and result.score == 0


def test_sam_with_grabcut(photo: np.ndarray, disc_visible: np.ndarray) -> None:
    """A real segmenter: with points and box, GrabCut stays inside the box and finds the disc again."""
    model = Model(create_method("sam", {"prompt": "both"}), create_segmenter("grabcut"), create_inpainter("classical"))
    result = model(photo, mask=disc_visible)
    assert result.amodal.box == result.visible.box
    rows, columns = np.indices(photo.shape[:2])
    assert result.amodal.iou(Mask.from_array((rows - 48) ** 2 + (columns - 60) ** 2 < 30**2)) > 0.65


def test_inpaint_erases_all_but_the_object(photo: np.ndarray, disc_visible: np.ndarray) -> None:
    painter = Disc()
    method = Inpaint({"context": 2})
    request = Request(Mask.from_array(disc_visible), seed=3, samples=2)
    predictions = method.complete(photo, photo, [request], Context(None, painter))[0]
    conditions, areas, seeds, sampling = painter.given
    assert conditions.shape == (2, 64, 64, 3) and seeds == [3 * 1_000_003, 3 * 1_000_003 + 1]
    assert sampling == Sampling(30, None, 0.99, "default")
    assert (conditions[0][areas[0] == 1] == 1).all(), "white where it is to be made"
    orange = conditions[0][areas[0] == 0]
    assert np.abs(np.median(orange, axis=0) - (np.array([230, 120, 20]) / 127.5 - 1)).max() < 0.02
    assert len(predictions) == 2 and predictions[0].amodal.area > predictions[1].amodal.area, "the first seed is odd"
    crop = method.window(request.visible, 64)
    rows, columns = np.indices(photo.shape[:2])
    scale = crop.side / 64
    disc = Mask.from_array(
        np.hypot(rows + 0.5 - (crop.origin[1] + 32 * scale), columns + 0.5 - (crop.origin[0] + 32 * scale)) < 21 * scale
    )
    assert predictions[0].amodal.clip(photo.shape[:2]).iou(disc) > 0.93
    assert predictions[0].picture.shape == (crop.side, crop.side, 3)


def test_inpaint_reads_the_mask_as_pix2gestalt() -> None:
    """Grey values up to 250 are object on white, by OpenCV's rounded values of all colours near it."""
    rng = np.random.default_rng(0)
    picture = rng.integers(246, 256, (64, 64, 3), dtype=np.uint8)
    picture[0, :10] = np.arange(246, 256)[:, None]
    method, white = Inpaint(), np.full(3, 255, np.float32)
    found = method.prediction(picture, white, Mask.from_box((0, 0, 1, 1)), Crop((0, 0), 64, 64)).amodal.to_array(
        (64, 64)
    )
    assert found[0, :10].tolist() == [True] * 5 + [False] * 5
    assert np.array_equal(found, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) <= 250)


def test_inpaint_keeps_the_promises_and_its_pieces(photo: np.ndarray, disc_visible: np.ndarray) -> None:
    def whole(connected: bool) -> Any:
        model = Model(create_method("inpaint", {"connected": connected}), create_segmenter("grabcut"), Disc())
        return model(photo, mask=disc_visible, seed=1)

    loose, tight = whole(False), whole(True)
    assert loose.amodal.contains(tight.amodal) and loose.amodal.area > tight.amodal.area
    for result in (loose, tight):
        assert result.amodal.contains(result.visible)
        seen = result.visible.crop(result.amodal.box)
        x0, y0 = result.amodal.origin
        rows, columns = np.nonzero(seen)
        assert np.array_equal(result.rgba[rows, columns, :3], photo[rows + y0, columns + x0])


def test_inpaint_of_several_objects_equals_each_alone(photo: np.ndarray, disc_visible: np.ndarray) -> None:
    model = Model(create_method("inpaint"), create_segmenter("grabcut"), Disc())
    prompts = [Prompt.make(mask=disc_visible), Prompt.make(mask=Mask.from_box((5, 5, 25, 20)))]
    scene = model.open(photo)
    together = scene.complete_all(prompts, samples=2, seeds=[1, 2])
    for prompt, seed, result in zip(prompts, (1, 2), together, strict=True):
        alone = scene.complete(prompt=prompt, samples=2, seed=seed)
        assert alone.amodal == result.amodal and alone.rgba.tobytes() == result.rgba.tobytes()


@pytest.mark.parametrize("background", ["white", "grey", "mean"])
def test_inpaint_backgrounds_and_hard_masks(photo: np.ndarray, background: str) -> None:
    model = load("inpaint", inpainter="classical", options={"background": background})
    for box in ((17, 9, 18, 10), (0, 0, 128, 96), (5, 50, 100, 51)):
        visible = Mask.from_box(box)
        assert model(photo, mask=visible).amodal.contains(visible)


def test_touching() -> None:
    bits = np.zeros((5, 9), bool)
    bits[1:4, 0:3] = bits[1:4, 5:8] = True
    assert touching(Mask.from_array(bits), Mask.from_box((1, 1, 2, 2))) == Mask.from_box((0, 1, 3, 4))


def test_they_say_what_they_miss(photo: np.ndarray) -> None:
    request = Request(Mask.from_box((0, 0, 5, 5)))
    with pytest.raises(PromptError, match="needs a segmenter"):
        SegmentAgain().complete(photo, photo, [request], Context())
    with pytest.raises(PromptError, match="needs an inpainter"):
        Inpaint().complete(photo, photo, [request], Context())
