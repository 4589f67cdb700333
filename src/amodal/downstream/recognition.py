"""Recognising occluded objects: complete, then classify; with the baselines of pix2gestalt's table 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AmodalError, UsageError, nearest
from ..image import Image
from ..mask import Mask
from ..prompt import Prompt
from ..protocols import Tick, no_tick
from .clip import Ranking, Recognizer

if TYPE_CHECKING:
    from ..completion import Completion
    from ..data import Sample
    from ..pipeline import Model

__all__ = ["VIEWS", "RecognitionReport", "check_views", "completed_view", "evaluate_recognition", "recognize", "view"]

VIEWS = {
    "completed": "the completed object on white (the paper's method)",
    "visible": "the visible part on white",
    "circle": "the photo with a red circle around the object (Shtedritski et al. 2023)",
    "photo": "the photo as it is",
}
"""What CLIP is shown; the names of the columns of table 2."""


def on_white(rgb: Image, alpha: NDArray[np.bool_], margin: float = 0.1) -> Image:
    """An object (h, w, 3) with its mask (h, w) in the middle of a white square, `margin` of its longer side around it."""
    height, width = alpha.shape
    side = max(1, round(max(height, width) * (1 + 2 * margin)))
    out = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    out[top : top + height, left : left + width][alpha] = rgb[alpha]
    return out


def completed_view(completion: Completion) -> Image:
    """The completed object on white."""
    return on_white(completion.rgba[..., :3], completion.amodal.bits)


def visible_view(image: Image, visible: Mask) -> Image:
    """The visible part on white: everything else is masked out."""
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
    """What CLIP is shown for a name of `VIEWS`. Raises UsageError for another name, or "completed" without a completion."""
    if name == "completed":
        if completion is None:
            raise UsageError("the view 'completed' needs a completion")
        return completed_view(completion)
    if name == "visible":
        return visible_view(image, visible)
    if name == "circle":
        return circle_view(image, visible)
    if name == "photo":
        return image
    raise UsageError(f"there is no view {name!r}; {nearest(name, VIEWS)}")


def check_views(text: str) -> list[str]:
    """Names of `VIEWS` from "all" or a list with commas. Raises UsageError."""
    chosen = list(VIEWS) if text == "all" else [part.strip() for part in text.split(",")]
    for name in chosen:
        if name not in VIEWS:
            raise UsageError(f"there is no view {name!r}; {nearest(name, VIEWS)}")
    return list(dict.fromkeys(chosen))


def recognize(
    model: Model,
    recognizer: Recognizer,
    image: Image,
    prompt: Prompt,
    *,
    views: Sequence[str] = ("completed",),
    samples: int = 1,
    seed: int = 0,
    tick: Tick = no_tick,
) -> tuple[dict[str, Ranking], Completion]:
    """Complete the object at a prompt and classify it.

    Args:
        model: completes.
        recognizer: CLIP with its labels.
        image: (H, W, 3) uint8 RGB.
        prompt: the object.
        views: what to classify, names of `VIEWS`.
        samples: guesses of the completion.
        seed: of the completion.
        tick: progress of the completion.

    Returns:
        a ranking per view, and the completion.
    """
    completion = model.open(image).complete(prompt=prompt, samples=samples, seed=seed, tick=tick)
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
    recognizer: Recognizer,
    *,
    views: Sequence[str] = tuple(VIEWS),
    guesses: int = 1,
    seed: int = 0,
    tick: Tick = no_tick,
) -> RecognitionReport:
    """Classify the objects of a data set (Occluded and Separated COCO in the paper) from their true visible masks.

    Args:
        samples: with `category` set to a label of the recognizer.
        model: completes; None if "completed" is not among the views.
        recognizer: CLIP with its labels.
        views: the columns of the table.
        guesses: samples of each completion.
        seed: of the completions.
        tick: called once per object.

    Raises:
        UsageError: no object has a category of the label list.
    """
    report = RecognitionReport()
    known = {label.lower(): label for label in recognizer.labels}
    for done, sample in enumerate(samples, 1):
        label = known.get((sample.category or "").lower())
        if label is None:
            report.failures.append(f"{sample.id}: its category {sample.category!r} is not in the label list")
            continue
        try:
            image = sample.image
            completion = None
            if "completed" in views:
                if model is None:
                    raise UsageError("the view 'completed' needs a model")
                completion = model.open(image).complete(mask=sample.visible, samples=guesses, seed=seed)
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
        tick("object", done, done)
    if not report.rows:
        first = f": {report.failures[0]}" if report.failures else ""
        raise UsageError(f"no object could be classified{first}")
    return report
