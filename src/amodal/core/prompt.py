"""`Prompt`: what the user says about the object: points, a box, a mask or words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .arguments import size_of
from .errors import MALFORMED, PromptError
from .image import framed_mask, to_numpy
from .mask import Mask, Size, check_frame, check_reach
from .rle import whole

__all__ = ["MAX_LISTED", "MAX_SAMPLES", "Prompt", "each_of", "one_each", "prompts_of", "seed_of", "whole_number"]

T = TypeVar("T")
Point = tuple[float, float]
MAX_COORDINATE = 1_000_000
MAX_WORDS = 1000
MAX_LISTED = 100_000
"""Objects of one call."""
MAX_SAMPLES = 4096
"""Predictions of one object: each has a mask and a picture."""


@dataclass(frozen=True)
class Prompt:
    """What marks the object in the picture.

    Attributes:
        points: clicks (x, y) in pixels; pixel (column j, row i) covers [j, j+1) x [i, i+1).
        labels: one per point: 1 on the object, 0 not on it.
        box: half-open (x0, y0, x1, y1) around the visible object, in pixels.
        mask: the visible mask itself; no segmenter is needed then.
        text: words for the object, for segmenters that understand them.
        frame: (H, W) of the picture that the mask was drawn on, if that is known: `check` compares it.
    """

    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Mask | None = None
    text: str | None = None
    frame: Size | None = None

    @classmethod
    def make(
        cls,
        *,
        point: ArrayLike | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: Any = None,
        text: str | None = None,
        prompt: Prompt | None = None,
    ) -> Prompt:
        """A prompt from plain values, NumPy arrays or torch tensors of any number type.

        Args:
            point: one click (x, y) on the object.
            points: clicks (N, 2), in pixels.
            labels: one per point: 1 on the object, 0 not on it; default: all 1.
            box: (x0, y0, x1, y1) in pixels.
            mask: a `Mask`, an array (H, W), a PIL image, the path of a mask picture or an RLE, see `image.framed_mask`; `check`
                compares its size with the picture's.
            text: words.
            prompt: a prompt that is made already, in place of all these.

        Raises:
            PromptError: nothing or too much given (a mask takes no points and no box), unequal numbers of points and labels, or a
                malformed point, label, box or text.
            MaskError: a malformed mask.
        """
        if prompt is not None:
            if any(part is not None for part in (point, points, labels, box, mask, text)):
                raise PromptError(
                    "give either a prompt or its parts (point, points, labels, box, mask, text), not both"
                )
            if not isinstance(prompt, Prompt):
                raise PromptError(
                    f"a prompt is an amodal.Prompt, got {type(prompt).__name__}; make one with Prompt.make(...)"
                )
            return prompt
        if point is not None and points is not None:
            raise PromptError("give either point=(x, y) or points=[(x, y), ...], not both")
        clicks = _points([point] if point is not None else points)
        marks = _labels(labels, len(clicks))
        shape, frame = (None, None) if mask is None else framed_mask(mask)
        prompt = cls(clicks, marks, _box(box), shape, _words(text), frame)
        if not clicks and box is None and mask is None and text is None:
            raise PromptError("no prompt: mark the object with a point, a box, a mask or text")
        if mask is not None and (clicks or box is not None):
            raise PromptError(
                "a mask says itself what is visible; points or a box beside it would change nothing: leave them out, or the mask"
            )
        if clicks and 1 not in marks and box is None and text is None:
            raise PromptError("all points are negative; give at least one point on the object")
        return prompt

    @property
    def single_click(self) -> bool:
        """Whether it is one click on something, which may mean a part, an object or a group."""
        return self.labels == (1,) and self.box is None and self.text is None

    def check(self, size: Size) -> None:
        """Check the prompt against a frame of `size` (H, W).

        Raises:
            PromptError: a point or box outside of the frame, a box less than a pixel wide or high in it, or a mask without a
                pixel inside it.
            MaskError: a mask that was drawn on a picture of another size, or lies too far beyond the frame.
        """
        height, width = size = size_of(size)
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
            if min(x1, width) - max(x0, 0) < 1 or min(y1, height) - max(y0, 0) < 1:
                raise PromptError(
                    f"box {_text(self.box)} holds less than one pixel in width or height; boxes are in pixels, not in shares"
                )
        if self.mask is not None:
            if self.frame is not None:
                check_frame(self.frame, size)
            check_reach(self.mask, size)
            if not self.mask.clip(size):
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
        if self.frame is not None:
            record["frame"] = list(self.frame)
        if self.text is not None:
            record["text"] = self.text
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Prompt:
        """The inverse of `to_dict`. Raises PromptError or MaskError if malformed."""
        if not isinstance(record, Mapping):
            raise PromptError(f"a prompt is an object with points, box, mask or text, got {type(record).__name__}")
        prompt = cls.make(**{name: record.get(name) for name in ("points", "labels", "box", "mask", "text")})
        frame = record.get("frame")
        if frame is None or prompt.mask is None:
            return prompt
        height, width = _numbers(frame, "frame", (2,), "(H, W) in pixels")
        return replace(prompt, frame=(int(height), int(width)))


def _numbers(value: Any, what: str, shape: tuple[int, ...], form: str) -> list[Any]:
    """`value` as nested lists of finite floats of `shape` (-1: any length). Raises PromptError that tells the `form`."""
    array = to_numpy(value, PromptError, what)
    fits = array.ndim == len(shape) and all(n in (-1, found) for n, found in zip(shape, array.shape, strict=True))
    if not fits or array.dtype == bool or not np.isfinite(array).all():
        raise PromptError(f"{what} must be {form}, got {str(value)[:60]}")
    numbers: list[Any] = array.astype(float).tolist()
    return numbers


def _points(values: Any) -> tuple[Point, ...]:
    if values is None or (isinstance(values, Sequence) and len(values) == 0):
        return ()
    rows = _numbers(values, "a point", (-1, 2), "(x, y) in pixels, and points a list of them")
    return tuple((x, y) for x, y in rows)


def _labels(values: Any, count: int) -> tuple[int, ...]:
    if values is None:
        return (1,) * count
    marks = to_numpy(values, PromptError, "labels")
    if marks.ndim != 1:
        raise PromptError(f"labels is a list of one label (1 on the object, 0 off) a point, got {str(values)[:40]}")
    if len(marks) != count:
        raise PromptError(f"{count} points have {marks.size} labels; give one label (1 on the object, 0 off) a point")
    if not np.isin(marks, (0, 1)).all():
        raise PromptError(f"labels are 1 (on the object) or 0 (not on it), got {str(marks.tolist())[:60]}")
    return tuple(int(mark) for mark in marks)


def _words(text: Any) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise PromptError(f"text must be words for the object, got {type(text).__name__}")
    if not text.strip():
        raise PromptError("the text prompt is empty; name the object, for instance 'the red cup'")
    if len(text) > MAX_WORDS or not text.isprintable():
        raise PromptError(f"the text prompt must be one line of at most {MAX_WORDS} characters that can be printed")
    return text


def _text(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"


def _box(values: Any) -> tuple[float, float, float, float] | None:
    if values is None:
        return None
    x0, y0, x1, y1 = _numbers(values, "a box", (4,), "(x0, y0, x1, y1) in pixels")
    if x0 >= x1 or y0 >= y1:
        hint = f"; if it is (x, y, w, h), pass {_text((x0, y0, x0 + x1, y0 + y1))}" if x1 > 0 and y1 > 0 else ""
        raise PromptError(f"box {_text((x0, y0, x1, y1))} is not (x0, y0, x1, y1) with x0 < x1 and y0 < y1{hint}")
    if max(map(abs, (x0, y0, x1, y1))) > MAX_COORDINATE:
        raise PromptError(f"box {_text((x0, y0, x1, y1))} is too large; boxes are in pixels of the image")
    return (x0, y0, x1, y1)


def whole_number(value: Any, what: str, low: int, high: int) -> int:
    """An argument that is a whole number from `low` to `high`. Raises PromptError."""
    try:
        number = whole(value)
    except MALFORMED:
        number = None
    if number is None or not low <= number <= high:
        raise PromptError(f"{what} is a whole number from {low} to {high}, got {str(value)[:40]}")
    return number


def seed_of(value: Any) -> int:
    """An argument that is a seed. Raises PromptError."""
    return whole_number(value, "a seed", -(2**63), 2**63 - 1)


def one_each(values: Any, count: int, what: str) -> list[Any]:
    """An argument with one value an object. Raises PromptError: no list, or of another length."""
    listed = _listed(values)
    if listed is None or len(listed) != count:
        raise PromptError(f"{what} is a list with one value an object, {count} in all, got {str(values)[:40]}")
    return listed


def prompts_of(values: Any) -> list[Prompt]:
    """An argument that is a list of prompts. Raises PromptError."""
    prompts = _listed(values)
    return [Prompt.make(prompt=prompt) for prompt in ([values] if prompts is None else prompts)]


def each_of(values: Any, kind: type[T], what: str) -> list[T]:
    """An argument that is a list of one kind. Raises PromptError."""
    listed = _listed(values)
    if listed is None or not all(isinstance(value, kind) for value in listed):
        raise PromptError(f"{what} are a list of {kind.__name__}, got {str(values)[:40]}")
    return listed


def _listed(values: Any) -> list[Any] | None:
    """The items of a list, or of anything that lists; None: it lists nothing. Raises PromptError: endless, or far too many."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return None
    try:
        listed = list(islice(values, MAX_LISTED + 1))
    except MALFORMED:  # an array without a dimension
        return None
    if len(listed) > MAX_LISTED:
        raise PromptError(f"more than {MAX_LISTED:,} at once are too many; give them in several calls")
    return listed
