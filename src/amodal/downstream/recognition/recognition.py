"""Recognising occluded objects: complete, then classify; with the baselines of pix2gestalt's table 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import AmodalError, UsageError, nearest
from ...core.image import Image
from ...core.mask import Mask
from ...core.prompt import Prompt
from ...plugins.protocols import Progress, no_progress
from ..cutout import on_white
from .ranking import Classifier, Ranking

if TYPE_CHECKING:
    from ...core.completion import Completion
    from ...data import Sample
    from ...pipeline import Model

__all__ = ["VIEWS", "RecognitionReport", "check_views", "completed_view", "evaluate_recognition", "recognize", "view"]

VIEWS = {
    "photo": "the photo as it is",
    "circle": "the photo with a red circle around the object (Shtedritski et al. 2023)",
    "visible": "the whole frame with all but the visible part masked out (white)",
    "completed": "the whole frame with the completed object alone, on white, at 256 pixels (the paper's method)",
    "visible-crop": "the visible part on white, cropped with a margin",
    "completed-crop": "the completed object on white, cropped with a margin",
}
"""What the classifier is shown; the first four are the rows of table 2, in its order."""
SIDE = 256
"""Of pix2gestalt's completions, which the paper's classifier is shown as they are."""


def completed_view(completion: Completion) -> Image:
    """The completed object on white in its place in the frame, squeezed to 256 x 256."""
    import cv2

    height, width = completion.size
    frame = np.full((height, width, 3), 255, np.uint8)
    inside = completion.amodal.clip((height, width))
    if inside.area:
        (x0, y0, x1, y1), (left, top) = inside.box, completion.amodal.box[:2]
        part = completion.rgba[y0 - top : y1 - top, x0 - left : x1 - left, :3]
        frame[y0:y1, x0:x1][inside.bits] = part[inside.bits]
    return np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def completed_crop(completion: Completion) -> Image:
    """The completed object on white, cropped."""
    return on_white(completion.rgba[..., :3], completion.amodal.bits)


def visible_view(image: Image, visible: Mask) -> Image:
    """The whole frame, white outside of the visible part."""
    inside = visible.to_array((image.shape[0], image.shape[1]))
    return np.where(inside[..., None], image, np.uint8(255))


def visible_crop(image: Image, visible: Mask) -> Image:
    """The visible part on white, cropped."""
    inside = visible.clip((image.shape[0], image.shape[1]))
    x0, y0, x1, y1 = inside.box
    return on_white(image[y0:y1, x0:x1], inside.bits)


def circle_view(image: Image, visible: Mask) -> Image:
    """The photo with a red ellipse around the visible box."""
    import cv2

    x0, y0, x1, y1 = visible.box
    out = np.ascontiguousarray(image).copy()
    centre = (round((x0 + x1) / 2), round((y0 + y1) / 2))
    axes = (max(1, round((x1 - x0) / np.sqrt(2))), max(1, round((y1 - y0) / np.sqrt(2))))
    cv2.ellipse(out, centre, axes, 0, 0, 360, (255, 0, 0), max(2, round(min(image.shape[:2]) / 100)), cv2.LINE_AA)
    return np.asarray(out)


def view(name: str, image: Image, visible: Mask, completion: Completion | None) -> Image:
    """What the classifier is shown for a name of `VIEWS`.

    Raises:
        UsageError: another name, or a completed view without a completion.
    """
    if name not in VIEWS:
        raise UsageError(f"there is no view {name!r}; {nearest(name, VIEWS)}")
    if name == "photo":
        return image
    if not name.startswith("completed"):
        return {"circle": circle_view, "visible": visible_view, "visible-crop": visible_crop}[name](image, visible)
    if completion is None:
        raise UsageError(f"the view {name!r} needs a completion")
    return completed_view(completion) if name == "completed" else completed_crop(completion)


def check_views(text: str) -> list[str]:
    """Names of `VIEWS` from a list with commas, of which "all" is all. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    chosen = [name for part in parts for name in (VIEWS if part == "all" else [part])]
    for name in chosen:
        if name not in VIEWS:
            raise UsageError(f"there is no view {name!r}; {nearest(name, VIEWS)}")
    return list(dict.fromkeys(chosen))


def recognize(
    model: Model,
    recognizer: Classifier,
    image: Image,
    prompt: Prompt,
    *,
    views: Sequence[str] = ("completed-crop",),
    samples: int = 1,
    seed: int = 0,
    progress: Progress = no_progress,
) -> tuple[dict[str, Ranking], Completion]:
    """Complete the object at a prompt and classify it.

    Args:
        model: completes.
        recognizer: a classifier with its labels.
        image: (H, W, 3) uint8 RGB.
        prompt: the object.
        views: what to classify, names of `VIEWS`.
        samples: predictions of the completion.
        seed: of the completion.
        progress: of the completion.

    Returns:
        a ranking per view, and the completion.
    """
    completion = model.open(image).complete(prompt=prompt, samples=samples, seed=seed, progress=progress)
    pictures = [view(name, image, completion.visible, completion) for name in views]
    return dict(zip(views, recognizer(pictures), strict=True)), completion


@dataclass
class RecognitionReport:
    """Top-1 and top-3 accuracy per view.

    Attributes:
        rows: one per object: id, category, and per view the rank of the right label and the best label.
        failures: "id: reason".
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def accuracy(self, name: str, top: int) -> float:
        """Share of objects whose right label is among the best `top` for a view, in [0, 1]; NaN without objects."""
        ranks = [row["ranks"][name] for row in self.rows]
        return sum(rank <= top for rank in ranks) / len(ranks) if ranks else float("nan")

    def table(self, views: Sequence[str]) -> dict[str, dict[str, float]]:
        """Per view `top1` and `top3` in per cent, rounded to two places."""
        return {
            name: {f"top{top}": round(100 * self.accuracy(name, top), 2) for top in (1, 3)}
            for name in views
            if self.rows
        }


def evaluate_recognition(
    samples: Iterable[Sample],
    model: Model | None,
    recognizer: Classifier,
    *,
    views: Sequence[str] = tuple(VIEWS),
    predictions: int = 1,
    seed: int = 0,
    progress: Progress = no_progress,
) -> RecognitionReport:
    """Classify the objects of a data set (Occluded and Separated COCO in the paper) from their true visible masks.

    Args:
        samples: with `category` set to a label of the recognizer.
        model: completes; None if no completed view is asked for.
        recognizer: a classifier with its labels.
        views: the columns of the table.
        predictions: samples of each completion.
        seed: of the completions.
        progress: called once per object.

    Raises:
        UsageError: no object has a category of the label list.
    """
    report = RecognitionReport()
    known = {label.lower(): label for label in recognizer.labels}
    for done, sample in enumerate(samples, 1):
        label = known.get((sample.category or "").lower())
        if label is None or not sample.visible:
            unknown = f"its category {sample.category!r} is not in the label list"
            report.failures.append(f"{sample.id}: {'no pixel of it is visible' if label else unknown}")
            continue
        try:
            image = sample.image
            completion = None
            if any(name.startswith("completed") for name in views):
                if model is None:
                    raise UsageError("views of the completed object need a model")
                completion = model.open(image).complete(mask=sample.visible, samples=predictions, seed=seed)
            rankings = recognizer([view(name, image, sample.visible, completion) for name in views])
        except UsageError:
            raise
        except AmodalError as error:
            report.failures.append(f"{sample.id}: {error}")
            continue
        named = dict(zip(views, rankings, strict=True))
        report.rows.append(
            {
                "id": sample.id,
                "category": label,
                "ranks": {name: ranking.place(label) for name, ranking in named.items()},
                "best": {name: ranking.labels[0] for name, ranking in named.items()},
            }
        )
        progress("object", done, done)
    if not report.rows:
        first = f": {report.failures[0]}" if report.failures else ""
        raise UsageError(f"no object could be classified{first}")
    return report
