"""`Crop`: a square window around an object, at a network's size, and the way back. The window may pass the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image import Image
from .mask import Box, Mask, SoftMask

__all__ = ["Crop"]


@dataclass(frozen=True)
class Crop:
    """The square of `side` image pixels whose top-left pixel is `origin` (x, y), shown at `size` x `size` pixels."""

    origin: tuple[int, int]
    side: int
    size: int

    @classmethod
    def around(cls, box: Box, size: int, *, enlarge: float = 3.0, margin: float = 1.1) -> Crop:
        """The square about the centre of `box` with side = max(sqrt(w h enlarge), margin w, margin h).

        This is the crop of deocclusion and SDAmodal (enlarge 3.0, margin 1.1). Origin and side are truncated to integers,
        towards zero as there.
        """
        x0, y0, x1, y1 = box
        width, height = x1 - x0, y1 - y0
        side = max(1.0, math.sqrt(width * height * enlarge), margin * width, margin * height)
        return cls((int((x0 + x1 - side) / 2), int((y0 + y1 - side) / 2)), int(side), size)

    @property
    def box(self) -> Box:
        """The half-open box (x0, y0, x1, y1) in image pixels."""
        x, y = self.origin
        return (x, y, x + self.side, y + self.side)

    def image(self, image: Image, fill: Any = 0) -> Image:
        """The picture (H, W, C) uint8 in the window, resized to (size, size, C); beyond the frame `fill`, or the
        nearest frame pixel with `fill="edge"`."""
        import cv2

        x0, y0, x1, y1 = self.box
        height, width = image.shape[:2]
        inside = image[max(0, y0) : max(0, min(height, y1)), max(0, x0) : max(0, min(width, x1))]
        pads = (max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width))
        if inside.size == 0:
            window = np.full((self.side, self.side, image.shape[2]), 0 if fill == "edge" else fill, np.uint8)
        elif fill == "edge":
            window = cv2.copyMakeBorder(inside, *pads, cv2.BORDER_REPLICATE)
        else:
            value = [int(v) for v in np.broadcast_to(fill, image.shape[2])]
            window = cv2.copyMakeBorder(inside, *pads, cv2.BORDER_CONSTANT, value=value)
        how = cv2.INTER_AREA if self.side > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(window, (self.size, self.size), interpolation=how))

    def mask(self, mask: Mask) -> NDArray[np.float32]:
        """The mask in the window as coverage: (size, size) float32 in [0, 1] (threshold at 0.5 for bits)."""
        import cv2

        window = mask.crop(self.box).astype(np.float32)
        how = cv2.INTER_AREA if self.side > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(window, (self.size, self.size), interpolation=how))

    def bits(self, mask: Mask) -> NDArray[np.bool_]:
        """The mask in the window as bits: (size, size) bool, nearest pixel, as deocclusion and SDAmodal feed it."""
        import cv2

        window = mask.crop(self.box).astype(np.uint8)
        return np.asarray(cv2.resize(window, (self.size, self.size), interpolation=cv2.INTER_NEAREST), dtype=bool)

    def soft_back(self, values: NDArray[np.float32]) -> SoftMask:
        """A map (size, size) of the window back at image resolution (bilinear)."""
        import cv2

        full = cv2.resize(values.astype(np.float32), (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        return SoftMask(np.clip(full, 0, 1), self.origin)

    def mask_back(self, values: NDArray[np.float32], level: float = 0.5) -> Mask:
        """A map (size, size) back at image resolution and thresholded."""
        return self.soft_back(values).threshold(level)

    def image_back(self, picture: Image) -> Image:
        """A picture (size, size, 3) uint8 of the window back at image resolution: (side, side, 3), placed at `origin`."""
        import cv2

        how = cv2.INTER_AREA if self.size > self.side else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(picture, (self.side, self.side), interpolation=how))
