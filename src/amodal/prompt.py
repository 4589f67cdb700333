"""`Prompt`: what the user says about the object: points, a box, a mask or words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import PromptError
from .mask import Mask, Size

__all__ = ["Prompt"]

Point = tuple[float, float]


@dataclass(frozen=True)
class Prompt:
    """What marks the object in the picture.

    Attributes:
        points: clicks (x, y) in pixels; pixel (column j, row i) covers [j, j+1) x [i, i+1).
        labels: one per point: 1 on the object, 0 not on it.
        box: half-open (x0, y0, x1, y1) around the visible object, in pixels.
        mask: the visible mask itself; no segmenter is needed then.
        text: words for the object, for segmenters that understand them.
    """

    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Mask | None = None
    text: str | None = None

    @classmethod
    def make(
        cls,
        *,
        point: Sequence[float] | None = None,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        mask: Any = None,
        text: str | None = None,
    ) -> Prompt:
        """A prompt from plain values: `point` is short for one positive point; `mask` is a `Mask` or an array (H, W).

        Raises:
            PromptError: nothing given, unequal numbers of points and labels, or a malformed point, box or text.
        """
        if point is not None and points is not None:
            raise PromptError("give either point=(x, y) or points=[(x, y), ...], not both")
        clicks = [point] if point is not None else list(points or ())
        marks = [1] * len(clicks) if labels is None else [int(label) for label in labels]
        if len(marks) != len(clicks):
            raise PromptError(
                f"{len(clicks)} points have {len(marks)} labels; give one label (1 on the object, 0 off) a point"
            )
        if any(mark not in (0, 1) for mark in marks):
            raise PromptError(f"labels are 1 (on the object) or 0 (not on it), got {marks}")
        if mask is not None and not isinstance(mask, Mask):
            mask = Mask.from_array(mask)
        if text is not None and not text.strip():
            raise PromptError("the text prompt is empty; name the object, for instance 'the red cup'")
        prompt = cls(tuple(_point(p) for p in clicks), tuple(marks), _box(box), mask, text)
        if not clicks and box is None and mask is None and text is None:
            raise PromptError("no prompt: mark the object with a point, a box, a mask or text")
        if clicks and 1 not in marks and box is None and mask is None and text is None:
            raise PromptError("all points are negative; give at least one point on the object")
        return prompt

    def check(self, size: Size) -> None:
        """Check the prompt against a frame of `size` (H, W).

        Raises:
            PromptError: a point or box outside of the frame, or a mask without a pixel inside it.
        """
        height, width = size
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise PromptError(
                    f"point ({x:g}, {y:g}) is outside of the image, which is {width} wide and {height} high"
                )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                raise PromptError(
                    f"box {_text(self.box)} is outside of the image, which is {width} wide and {height} high"
                )
        if self.mask is not None and not self.mask.clip(size):
            raise PromptError("the mask has no pixel inside the image; it must mark the visible object")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the fields that are not set."""
        record: dict[str, Any] = {}
        if self.points:
            record["points"] = [list(point) for point in self.points]
            record["labels"] = list(self.labels)
        if self.box is not None:
            record["box"] = list(self.box)
        if self.mask is not None:
            record["mask"] = self.mask.to_dict()
        if self.text is not None:
            record["text"] = self.text
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Prompt:
        """The inverse of `to_dict`. Raises PromptError or MaskError if malformed."""
        mask = record.get("mask")
        return cls.make(
            points=record.get("points"),
            labels=record.get("labels"),
            box=record.get("box"),
            mask=None if mask is None else Mask.from_dict(mask),
            text=record.get("text"),
        )


def _point(values: Sequence[float]) -> Point:
    if len(values) != 2 or not all(math.isfinite(v) for v in values):
        raise PromptError(f"a point is (x, y) in pixels, got {tuple(values)}")
    return (float(values[0]), float(values[1]))


def _text(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"


def _box(values: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    if values is None:
        return None
    if len(values) != 4 or not all(math.isfinite(v) for v in values):
        raise PromptError(f"a box is (x0, y0, x1, y1) in pixels, got {tuple(values)}")
    x0, y0, x1, y1 = (float(v) for v in values)
    if x0 >= x1 or y0 >= y1:
        hint = f"; if it is (x, y, w, h), pass {_text((x0, y0, x0 + x1, y0 + y1))}" if x1 > 0 and y1 > 0 else ""
        raise PromptError(f"box {_text((x0, y0, x1, y1))} is not (x0, y0, x1, y1) with x0 < x1 and y0 < y1{hint}")
    return (x0, y0, x1, y1)
