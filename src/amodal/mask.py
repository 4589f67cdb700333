"""`Mask` and `SoftMask`: a tight crop with its place, so that objects may leave the frame and cost little."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rle
from .errors import MaskError

__all__ = ["Bits", "Box", "Mask", "Size", "SoftMask", "union"]

Bits = NDArray[np.bool_]
Box = tuple[int, int, int, int]
Size = tuple[int, int]


def place(values: NDArray[Any], origin: tuple[int, int], box: Box) -> NDArray[Any]:
    """`values` (h, w), whose top-left pixel is at `origin` (x, y), laid on the canvas `box`: (y1-y0, x1-x0), zero elsewhere."""
    x0, y0, x1, y1 = box
    canvas = np.zeros((y1 - y0, x1 - x0), values.dtype)
    height, width = values.shape
    left, top = max(origin[0], x0), max(origin[1], y0)
    right, bottom = min(origin[0] + width, x1), min(origin[1] + height, y1)
    if left < right and top < bottom:
        source = values[top - origin[1] : bottom - origin[1], left - origin[0] : right - origin[0]]
        canvas[top - y0 : bottom - y0, left - x0 : right - x0] = source
    return canvas


@dataclass(frozen=True, eq=False)
class Mask:
    """A binary mask: the tight crop `bits` (h, w) bool whose top-left pixel is the image's pixel `origin` (x, y).

    The origin may be negative and the crop may pass the frame: whole objects leave the picture. Immutable.
    Make one with `Mask.from_array`; an empty mask has bits of shape (0, 0) and origin (0, 0).
    """

    bits: Bits
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.bits.setflags(write=False)

    @classmethod
    def from_array(cls, array: ArrayLike, origin: tuple[int, int] = (0, 0)) -> Mask:
        """The mask of the non-zero (for floats: > 0.5) pixels of `array` (H, W); `origin` is the place of its pixel (0, 0).

        Raises:
            MaskError: the array is not two-dimensional, or holds NaN.
        """
        values = np.asarray(array)
        if values.ndim != 2:
            raise MaskError(f"a mask is an array (H, W), got shape {values.shape}; for RGB masks take one channel")
        if values.dtype.kind == "f":
            if np.isnan(values).any():
                raise MaskError("a soft mask holds NaN; it must be in [0, 1]")
            values = values > 0.5
        elif values.dtype.kind not in "bui":
            raise MaskError(f"a mask is bool, integer or float, got {values.dtype}")
        bits = values.astype(bool)
        rows = np.flatnonzero(bits.any(axis=1))
        if rows.size == 0:
            return cls(np.zeros((0, 0), bool))
        columns = np.flatnonzero(bits[rows[0] : rows[-1] + 1].any(axis=0))
        tight = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        return cls(tight, (int(origin[0] + columns[0]), int(origin[1] + rows[0])))

    @classmethod
    def from_box(cls, box: Box) -> Mask:
        """All pixels of the half-open box (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = box
        return cls.from_array(np.ones((max(0, y1 - y0), max(0, x1 - x0)), bool), (x0, y0))

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.bits))

    @property
    def box(self) -> Box:
        """The tight half-open box (x0, y0, x1, y1) in pixels; (0, 0, 0, 0) for an empty mask."""
        height, width = self.bits.shape
        return (self.origin[0], self.origin[1], self.origin[0] + width, self.origin[1] + height)

    def __bool__(self) -> bool:
        return self.area > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self.origin == other.origin and np.array_equal(self.bits, other.bits)

    def __hash__(self) -> int:
        return hash((self.origin, self.bits.shape, self.bits.tobytes()))

    def __repr__(self) -> str:
        return f"Mask(area={self.area}, box={self.box})"

    def __or__(self, other: Mask) -> Mask:
        return union((self, other))

    def __and__(self, other: Mask) -> Mask:
        box = _overlap(self.box, other.box)
        return Mask.from_array(self.crop(box) & other.crop(box), box[:2])

    def __sub__(self, other: Mask) -> Mask:
        return Mask.from_array(self.bits & ~other.crop(self.box), self.origin)

    def overlap(self, other: Mask) -> int:
        """Number of common pixels."""
        box = _overlap(self.box, other.box)
        return int(np.count_nonzero(self.crop(box) & other.crop(box)))

    def iou(self, other: Mask) -> float:
        """Intersection over union in [0, 1]; two empty masks have 1."""
        both = self.overlap(other)
        total = self.area + other.area - both
        return both / total if total else 1.0

    def contains(self, other: Mask) -> bool:
        """Whether every pixel of `other` is in this mask."""
        return self.overlap(other) == other.area

    def crop(self, box: Box) -> Bits:
        """The mask on the half-open box (x0, y0, x1, y1), which may pass the frame: (y1-y0, x1-x0) bool."""
        return place(self.bits, self.origin, box)

    def clip(self, size: Size) -> Mask:
        """The part inside a frame of `size` (H, W)."""
        return Mask.from_array(self.to_array(size))

    def shift(self, dx: int, dy: int) -> Mask:
        """The same mask moved by (dx, dy) pixels."""
        return Mask(self.bits, (self.origin[0] + dx, self.origin[1] + dy)) if self else self

    def to_array(self, size: Size) -> Bits:
        """The mask on a frame of `size` (H, W): (H, W) bool; what lies outside of the frame is cut off."""
        return self.crop((0, 0, size[1], size[0]))

    def to_rle(self, size: Size) -> dict[str, Any]:
        """COCO RLE of the part inside a frame of `size` (H, W)."""
        return rle.encode(self.to_array(size))

    @classmethod
    def from_rle(cls, encoded: Any, origin: tuple[int, int] = (0, 0)) -> Mask:
        """From a COCO RLE (compressed or not); `origin` is the place of its pixel (0, 0). Raises MaskError if malformed."""
        bits, (x, y) = rle.decode_crop(encoded)
        return cls(bits, (origin[0] + x, origin[1] + y)) if bits.size else cls(bits)

    def to_dict(self) -> dict[str, Any]:
        """Lossless and JSON-ready, beyond the frame too: an RLE of the tight crop with its `origin` [x, y]."""
        return {**rle.encode(self.bits), "origin": list(self.origin)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Mask:
        """The inverse of `to_dict`. Raises MaskError if malformed."""
        x, y = record.get("origin", (0, 0))
        return cls.from_rle(record, (int(x), int(y)))


@dataclass(frozen=True, eq=False)
class SoftMask:
    """Per-pixel probabilities: `values` (h, w) float32 in [0, 1] with the place `origin` (x, y) of the first pixel; 0 elsewhere."""

    values: NDArray[np.float32]
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.values.setflags(write=False)

    @property
    def box(self) -> Box:
        """The half-open box (x0, y0, x1, y1) that the values cover."""
        height, width = self.values.shape
        return (self.origin[0], self.origin[1], self.origin[0] + width, self.origin[1] + height)

    def crop(self, box: Box) -> NDArray[np.float32]:
        """The values on the half-open box (x0, y0, x1, y1): (y1-y0, x1-x0) float32."""
        return place(self.values, self.origin, box)

    def to_array(self, size: Size) -> NDArray[np.float32]:
        """The values on a frame of `size` (H, W): (H, W) float32."""
        return self.crop((0, 0, size[1], size[0]))

    def threshold(self, level: float = 0.5) -> Mask:
        """The pixels above `level`."""
        return Mask.from_array(self.values > level, self.origin)


def bounding_box(boxes: Iterable[Box]) -> Box:
    """The smallest box around all non-empty `boxes`; (0, 0, 0, 0) if there is none."""
    real = [box for box in boxes if box[0] < box[2] and box[1] < box[3]]
    if not real:
        return (0, 0, 0, 0)
    x0, y0, x1, y1 = zip(*real, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def union(masks: Iterable[Mask]) -> Mask:
    """The union of any number of masks."""
    parts = [mask for mask in masks if mask]
    box = bounding_box(mask.box for mask in parts)
    bits = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    for mask in parts:
        x0, y0, x1, y1 = mask.box
        bits[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] |= mask.bits
    return Mask.from_array(bits, box[:2])


def _overlap(a: Box, b: Box) -> Box:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, max(x0, x1), max(y0, y1))
