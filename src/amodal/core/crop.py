"""`Crop`: a square window around an object, at a network's size, and the way back. The window may pass the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image import Image
from .mask import Bits, Box, Mask, Size
from .scaling import Levels, in_frame, stretch
from .soft_mask import SoftMask

__all__ = ["Crop", "mask_levels"]


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

    def image(self, image: Image, fill: Any = 0, *, cubic: bool = False) -> Image:
        """The picture (H, W, C) uint8 in the window, resized to (size, size, C).

        Args:
            image: the picture.
            fill: what is beyond the frame: a value, or "edge" for the nearest pixel of the frame.
            cubic: resize bicubically, as deocclusion does; else by area where it becomes smaller, bilinearly where larger.
        """
        import cv2

        x0, y0, x1, y1 = self.box
        height, width = image.shape[:2]
        inside = image[max(0, y0) : max(0, min(height, y1)), max(0, x0) : max(0, min(width, x1))]
        pads = (max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width))
        if inside.size == 0:
            window = np.full((self.side, self.side, image.shape[2]), 0 if fill == "edge" else fill, np.uint8)
        elif not any(pads):
            window = inside
        elif fill == "edge":
            window = cv2.copyMakeBorder(inside, *pads, cv2.BORDER_REPLICATE)
        else:
            value = [int(v) for v in np.broadcast_to(fill, image.shape[2])]
            window = cv2.copyMakeBorder(inside, *pads, cv2.BORDER_CONSTANT, value=value)
        how = cv2.INTER_CUBIC if cubic else cv2.INTER_AREA if self.side > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(window, (self.size, self.size), interpolation=how))

    def cut(self, levels: Levels, *, edge: bool = False) -> NDArray[np.uint8]:
        """The window of a picture or mask with its halves, at (size, size); see `Levels.cut`."""
        return levels.cut(*self.origin, self.side, self.size, edge=edge)

    def within(self, frame: Size) -> Bits:
        """Which pixels of the window (size, size) have their centre in the (H, W) frame."""
        return in_frame(self.origin, (self.side, self.side), (self.size, self.size), frame)

    def mask(self, mask: Mask) -> NDArray[np.float32]:
        """The mask in the window as coverage: (size, size) float32 in [0, 1] (threshold at 0.5 for bits)."""
        import cv2

        window = mask.crop(self.box).astype(np.float32)
        how = cv2.INTER_AREA if self.side > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(window, (self.size, self.size), interpolation=how))

    def bits(self, mask: Mask, linear: bool = False) -> NDArray[np.bool_]:
        """The mask in the window as bits: (size, size) bool.

        Args:
            mask: the mask.
            linear: False takes the nearest pixel, as SDAmodal and deocclusion's order do; True interpolates bilinearly and
                cuts at a half, as deocclusion's completion does.
        """
        import cv2

        window, shape = mask.crop(self.box).astype(np.float32), (self.size, self.size)
        how = cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST
        return np.asarray(cv2.resize(window, shape, interpolation=how) > 0.5)

    def soft_back(self, values: NDArray[np.float32]) -> SoftMask:
        """A map (size, size) of the window back at image resolution (bilinear)."""
        import cv2

        full = cv2.resize(values.astype(np.float32), (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        return SoftMask(np.clip(full, 0, 1), self.origin)

    def mask_back(self, values: NDArray[np.float32], level: float = 0.5) -> Mask:
        """A map (size, size) back at image resolution and thresholded."""
        return self.soft_back(values).threshold(level)

    def image_back(self, picture: Image, box: Box | None = None) -> Image:
        """A picture (size, size, 3) uint8 of the window back at image resolution: (side, side, 3), placed at `origin`; or only
        the pixels of `box` (in the image) inside the window."""
        import cv2

        if box is None or self.size > self.side:
            how = cv2.INTER_AREA if self.size > self.side else cv2.INTER_CUBIC
            full = np.asarray(cv2.resize(picture, (self.side, self.side), interpolation=how))
            x0, y0, x1, y1 = box or self.box
            left, top = x0 - self.origin[0], y0 - self.origin[1]
            return full[top : top + y1 - y0, left : left + x1 - x0]
        place = (box[0] - self.origin[0], box[1] - self.origin[1])
        return stretch(picture, (self.side, self.side), place, (box[3] - box[1], box[2] - box[0]), cubic=True)


def mask_levels(mask: Mask) -> Levels:
    """A mask, 0 and 255, with a rim so that its own border is told, and its halves."""
    rim = 8
    return Levels(np.pad(mask.bits.view(np.uint8) * np.uint8(255), rim), (mask.origin[0] - rim, mask.origin[1] - rim))
