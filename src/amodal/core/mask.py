"""`Mask`: a tight crop with its place, so that objects may leave the frame and cost little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rle
from .arguments import box_of, place_of, size_of
from .errors import MALFORMED, MaskError, reason_of

__all__ = [
    "Bits",
    "Box",
    "Mask",
    "Size",
    "check_frame",
    "check_reach",
    "union",
]

Bits = NDArray[np.bool_]
Box = tuple[int, int, int, int]
Size = tuple[int, int]


MAX_CANVAS = 400_000_000
"""No canvas of more pixels is made, whatever places masks claim."""


def check_frame(found: Sequence[int], size: Size, what: str = "mask") -> None:
    """A mask of size `found` (H, W) belongs to a picture of `size` (H, W) only if both are equal.

    Raises:
        MaskError: they differ; tells both, and what may have happened.
    """
    if tuple(found) == tuple(size):
        return
    hint = "export the mask at the image's size"
    if tuple(found) == tuple(size)[::-1]:
        hint = "it is transposed, or drawn on the photo before its EXIF rotation: turn it upright as the photo is"
    raise MaskError(
        f"{what} is {found[1]} x {found[0]} pixels, the image {size[1]} x {size[0]}; they must be equal: {hint}"
    )


def check_reach(mask: Mask, size: Size, what: str = "mask") -> None:
    """A mask may leave its picture of `size` (H, W), by the picture's own width and height at most (256 pixels, if it is smaller).

    Raises:
        MaskError: it lies further away: its canvas would fill the memory.
    """
    x0, y0, x1, y1 = mask.box
    right, below = max(size[1], 256), max(size[0], 256)
    if mask and (x0 < -right or y0 < -below or x1 > size[1] + right or y1 > size[0] + below):
        raise MaskError(
            f"{what} covers {mask.box}, too far beyond the image, which is {size[1]} wide and {size[0]} high; "
            f"it may leave the image by {right} pixels to each side and {below} above and below"
        )


def _canvas(box: Box, kind: np.dtype[Any] | type) -> NDArray[Any]:
    """Zeros for the half-open box (x0, y0, x1, y1). Raises MaskError above `MAX_CANVAS` pixels."""
    width, height = max(0, box[2] - box[0]), max(0, box[3] - box[1])
    if width * height > MAX_CANVAS:
        raise MaskError(f"masks that lie {width} x {height} pixels apart are too far from each other to be joined")
    return np.zeros((height, width), kind)


def place(values: NDArray[Any], origin: tuple[int, int], box: Box) -> NDArray[Any]:
    """`values` (h, w), whose top-left pixel is at `origin` (x, y), laid on the canvas `box`: (y1-y0, x1-x0), zero elsewhere."""
    x0, y0, x1, y1 = box
    canvas = _canvas(box, values.dtype)
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
    __array_priority__ = 1
    """NumPy leaves `array | mask` to the mask, which tells that an array has no place in the photo."""

    def __post_init__(self) -> None:
        if not isinstance(self.bits, np.ndarray) or self.bits.dtype != bool or self.bits.ndim != 2:
            raise MaskError(f"bits are an array (h, w) of bool, got {_kind(self.bits)}; Mask.from_array takes others")
        object.__setattr__(self, "origin", place_of(self.origin))
        self.bits.setflags(write=False)

    @classmethod
    def from_array(cls, array: ArrayLike, origin: tuple[int, int] = (0, 0)) -> Mask:
        """The mask of the non-zero (for floats: > 0.5) pixels of `array` (H, W); `origin` is the place of its pixel (0, 0).

        Raises:
            MaskError: no array, not two-dimensional, or holding NaN, masked values or whole numbers below 0, which may mean anything;
                or the origin is not two whole numbers.
        """
        origin = place_of(origin)
        if isinstance(array, Mask):
            return array.shift(*origin)
        if np.ma.is_masked(array):
            raise MaskError("the array has masked values, which say nothing; fill them first: array.filled(0)")
        try:
            values = np.asarray(array)
        except (*MALFORMED, MemoryError) as error:
            raise MaskError(f"a mask is an array (H, W), got {_kind(array)} ({reason_of(error, 60)})") from error
        if values.ndim != 2:
            raise MaskError(f"a mask is an array (H, W), got shape {values.shape}; for RGB masks take one channel")
        if values.dtype.kind == "f":
            if np.isnan(values).any():
                raise MaskError("a soft mask holds NaN; it must be in [0, 1]")
            return cls._tight(values > 0.5, origin)
        if values.dtype.kind not in "bui":
            raise MaskError(f"a mask is bool, integer or float, got {values.dtype}")
        if values.dtype.kind == "i" and values.min(initial=0) < 0:
            raise MaskError(
                f"a mask holds the number {values.min()}; it must be 0 off the object: write what marks it, as in `labels > 0`"
            )
        return cls._tight(values.astype(bool, copy=False), origin, own=values.dtype != bool)

    @classmethod
    def _tight(cls, bits: Bits, origin: tuple[int, int], own: bool = True) -> Mask:
        """As `from_array`; `own`: nobody else holds the array, so that it need not be copied."""
        rows = np.flatnonzero(bits.any(axis=1))
        if rows.size == 0:
            return cls(np.zeros((0, 0), bool))
        columns = np.flatnonzero(bits[rows[0] : rows[-1] + 1].any(axis=0))
        tight = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        kept = tight if own and tight.size == bits.size else tight.copy()
        return cls(kept, (int(origin[0] + columns[0]), int(origin[1] + rows[0])))

    @classmethod
    def from_box(cls, box: Box) -> Mask:
        """All pixels of the half-open box (x0, y0, x1, y1)."""
        box = box_of(box)
        bits = _canvas(box, bool)
        bits[:] = True
        return cls._tight(bits, box[:2])

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

    def __reduce__(self) -> tuple[Any, ...]:
        return (Mask, (self.bits, self.origin))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The crop `bits`; for the photo's frame use `to_array(size)`."""
        values = np.asarray(self.bits, dtype)
        return values.copy() if copy else values

    def _repr_png_(self) -> bytes:
        from .image import encode_png

        return encode_png(self.bits) if self else b""

    def __or__(self, other: Mask) -> Mask:
        return union((self, _mask(other)))

    def __ror__(self, other: Any) -> Mask:
        return _mask(other)

    __rand__ = __rsub__ = __ror__

    def __and__(self, other: Mask) -> Mask:
        box = overlap(self.box, _mask(other).box)
        return Mask._tight(self._view(box) & other._view(box), box[:2])

    def __sub__(self, other: Mask) -> Mask:
        found: Mask
        last, found = self.__dict__.get("_less", (None, self))  # the same difference is asked for repeatedly
        if last is None or last() is not other:
            x0, y0, x1, y1 = overlap(self.box, _mask(other).box)
            if x0 == x1 or y0 == y1:
                return self
            found = Mask._tight(self.bits > place(other.bits, other.origin, self.box), self.origin)
            self.__dict__["_less"] = (ref(other), found)
        return found

    def overlap(self, other: Mask) -> int:
        """Number of common pixels."""
        box = overlap(self.box, _mask(other).box)
        return int(np.count_nonzero(self._view(box) & other._view(box)))

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
        return place(self.bits, self.origin, box_of(box))

    def _view(self, box: Box) -> Bits:
        """As `crop`, without a copy; the box lies inside the mask's own."""
        x, y = self.origin
        return self.bits[box[1] - y : box[3] - y, box[0] - x : box[2] - x]

    def clip(self, size: Size) -> Mask:
        """The part inside a frame of `size` (H, W)."""
        height, width = size_of(size)
        inside = overlap(self.box, (0, 0, width, height))
        return self if inside == self.box else Mask.from_array(self._view(inside), inside[:2])

    def shift(self, dx: int, dy: int) -> Mask:
        """The same mask moved by (dx, dy) pixels."""
        x, y = place_of((dx, dy), "the way of a mask")
        return Mask(self.bits, (self.origin[0] + x, self.origin[1] + y)) if self else self

    def to_array(self, size: Size) -> Bits:
        """The mask on a frame of `size` (H, W): (H, W) bool; what lies outside of the frame is cut off."""
        height, width = size_of(size)
        return place(self.bits, self.origin, (0, 0, width, height))

    def to_rle(self, size: Size) -> dict[str, Any]:
        """COCO RLE of the part inside a frame of `size` (H, W)."""
        size = size_of(size)
        inside = self.clip(size)
        return rle.encode(inside.bits, inside.origin, size)

    @classmethod
    def from_rle(cls, encoded: Any, origin: tuple[int, int] = (0, 0)) -> Mask:
        """From a COCO RLE (compressed or not); `origin` is the place of its pixel (0, 0). Raises MaskError if malformed."""
        origin = place_of(origin)
        bits, (x, y) = rle.decode_crop(encoded)
        return cls(bits, (origin[0] + x, origin[1] + y)) if bits.size else cls(bits)

    def to_dict(self) -> dict[str, Any]:
        """Lossless and JSON-ready, beyond the frame too: an RLE of the tight crop with its `origin` [x, y]."""
        return {**rle.encode(self.bits), "origin": list(self.origin)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Mask:
        """The inverse of `to_dict`. Raises MaskError if malformed."""
        origin = record.get("origin", (0, 0)) if isinstance(record, Mapping) else (0, 0)
        return cls.from_rle(record, origin)


def bounding_box(boxes: Iterable[Box]) -> Box:
    """The smallest box around all non-empty `boxes`; (0, 0, 0, 0) if there is none."""
    real = [box for box in boxes if box[0] < box[2] and box[1] < box[3]]
    if not real:
        return (0, 0, 0, 0)
    x0, y0, x1, y1 = zip(*real, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def union(masks: Iterable[Mask]) -> Mask:
    """The union of any number of masks."""
    parts = [mask for mask in masks if _mask(mask)]
    if len(parts) == 1:
        return parts[0]
    box = bounding_box(mask.box for mask in parts)
    bits = _canvas(box, bool)
    for mask in parts:
        x0, y0, x1, y1 = mask.box
        bits[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] |= mask.bits
    return Mask._tight(bits, box[:2])


def grown(box: Box, pixels: int) -> Box:
    """A box with so many pixels more on each side."""
    return (box[0] - pixels, box[1] - pixels, box[2] + pixels, box[3] + pixels)


def overlap(a: Box, b: Box) -> Box:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, max(x0, x1), max(y0, y1))


def _mask(value: Any) -> Mask:
    if not isinstance(value, Mask):
        raise MaskError(f"masks are compared and joined with masks, got {_kind(value)}; Mask.from_array makes one")
    return value


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"{type(value).__name__} {str(value)[:40]!r}"
