"""`SoftMask`: per-pixel probabilities on a canvas of their own."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import box_of, place_of, size_of
from .errors import MaskError
from .mask import Bits, Box, Mask, Size, overlap, place

__all__ = ["SoftMask"]


@dataclass(frozen=True, eq=False)
class SoftMask:
    """Per-pixel probabilities, kept on a canvas that may be coarser than the photo and is sampled when asked; 0 elsewhere.

    Attributes:
        values: (h, w) float32 in [0, 1].
        origin: the place (x, y) of the first photo pixel that they cover.
        size: how many photo pixels (H, W) they are stretched over (bilinear, edges on edges); None: one value a pixel.
        certain: a mask whose pixels are 1 whatever the values say.
    """

    values: NDArray[np.float32]
    origin: tuple[int, int] = (0, 0)
    size: Size | None = None
    certain: Mask | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.values, np.ndarray) or self.values.dtype.kind != "f" or self.values.ndim != 2:
            raise MaskError(f"values are a float array (h, w) in 0 to 1, got {type(self.values).__name__}")
        object.__setattr__(self, "origin", place_of(self.origin))
        if self.size is not None:
            object.__setattr__(self, "size", size_of(self.size))
        if not isinstance(self.certain, Mask | None):
            raise MaskError(f"certain is a Mask, got {type(self.certain).__name__}")
        self.values.setflags(write=False)

    def __repr__(self) -> str:
        return f"SoftMask(box={self.box})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SoftMask):
            return NotImplemented
        return (self.box, self.certain) == (other.box, other.certain) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.box, self.values.shape, self.values.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return (SoftMask, (self.values, self.origin, self.size, self.certain))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The values at photo resolution on `box`; for the photo's frame use `to_array(size)`."""
        return np.array(self.crop(self.box), dtype)

    @property
    def box(self) -> Box:
        """The half-open box (x0, y0, x1, y1) that the values cover."""
        height, width = self.size or self.values.shape
        return (self.origin[0], self.origin[1], self.origin[0] + width, self.origin[1] + height)

    def crop(self, box: Box) -> NDArray[np.float32]:
        """The values at photo resolution on the half-open box (x0, y0, x1, y1): (y1-y0, x1-x0) float32."""
        box = box_of(box)
        inside = overlap(self.box, box)
        found = place(self._sample(inside), inside[:2], box)
        if self.certain is not None:
            found[self.certain.crop(box)] = 1
        return found

    def _sample(self, box: Box) -> NDArray[np.float32]:
        """The canvas, bilinearly, at the photo's pixels of a box inside its own."""
        x, y = box[0] - self.origin[0], box[1] - self.origin[1]
        width, height = box[2] - box[0], box[3] - box[1]
        if self.size is None or self.size == self.values.shape or not width * height:
            return self.values[y : y + height, x : x + width]
        from .scaling import stretch

        return stretch(self.values, self.size, (x, y), (height, width))

    def to_array(self, size: Size) -> NDArray[np.float32]:
        """The values on a frame of `size` (H, W): (H, W) float32."""
        height, width = size_of(size)
        return self.crop((0, 0, width, height))

    def cover(self, mask: Mask) -> Bits:
        """Which canvas pixels a mask covers by half (a mask thinner than that: the most): (h, w) bool, as `values`."""
        if not isinstance(mask, Mask):
            raise MaskError(f"a canvas is covered by a Mask, got {type(mask).__name__}; Mask.from_array makes one")
        if self.size is None or self.size == self.values.shape:
            return mask.crop(self.box)
        import cv2

        # The mask is shrunk by area to about the canvas's scale, then laid on the canvas; the cost is that of the mask.
        sx, sy = self.values.shape[1] / self.size[1], self.values.shape[0] / self.size[0]
        shrink = max(1, int(min(1 / sx, 1 / sy, *mask.bits.shape)))
        height, width = (-(-n // shrink) for n in mask.bits.shape)
        bits = np.pad(mask.bits, ((0, height * shrink - mask.bits.shape[0]), (0, width * shrink - mask.bits.shape[1])))
        small = cv2.resize(bits.view(np.uint8) * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
        x, y = mask.origin[0] - self.origin[0], mask.origin[1] - self.origin[1]
        matrix = np.array(
            [[shrink * sx, 0, (x + shrink / 2) * sx - 0.5], [0, shrink * sy, (y + shrink / 2) * sy - 0.5]], np.float64
        )
        share = cv2.warpAffine(small, matrix, self.values.shape[::-1], flags=cv2.INTER_LINEAR)
        return np.asarray(share > min(127, share.max() // 2))

    def threshold(self, level: float = 0.5, region: Bits | None = None) -> Mask:
        """The photo's pixels above `level`.

        Args:
            level: values above it count; they may be of any kind here, logits too.
            region: (h, w) bool, of the shape of `values`: only pixels within these canvas pixels.
        """
        if not isinstance(level, Real):
            raise MaskError(f"a level is a number, got {type(level).__name__}")
        if region is not None and (
            not isinstance(region, np.ndarray) or region.dtype != bool or region.shape != self.values.shape
        ):
            raise MaskError(f"a region is an array {self.values.shape} of bool, as the values, got {str(region)[:40]}")
        above = self.values > level if region is None else region
        rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
        if not rows.size:
            return self.certain or Mask.from_array(np.zeros((1, 1), bool))
        # Only where the canvas passes the level, and a canvas pixel around it, is there anything to sample.
        height, width = self.size or self.values.shape
        sx, sy = width / self.values.shape[1], height / self.values.shape[0]
        x, y = self.origin
        left, top = x + int(max(0, columns[0] - 1) * sx), y + int(max(0, rows[0] - 1) * sy)
        right = x + min(width, int((columns[-1] + 2) * sx) + 1)
        bottom = y + min(height, int((rows[-1] + 2) * sy) + 1)
        box = (left, top, right, bottom)
        bits = self._sample(box) > level
        if region is not None:
            across = ((np.arange(box[0], box[2]) + 0.5 - x) / sx).astype(int)
            down = ((np.arange(box[1], box[3]) + 0.5 - y) / sy).astype(int)
            bits &= region[:, across][down]
        found = Mask._tight(bits, box[:2])
        return found | self.certain if self.certain is not None else found
