"""Cut-out objects: how a photographed object and its mask become something that can be pasted without a halo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError
from ...core.mask import Mask

Image = NDArray[np.uint8]
Bits = NDArray[np.bool_]

MARGIN = 3
"""Transparent pixels around a sprite, so that bilinear warping fades out inside the array."""


@dataclass(frozen=True)
class Sprite:
    """One object cut out of its picture, with a pyramid of smaller copies for fast anti-aliased warping.

    Attributes:
        levels: RGBA uint8 arrays with premultiplied alpha, (h, w, 4), each half the size of the one before.
        group: Kind of object ("person", "thing", "shape", "thin", "render"); self-similar occluders share a group.
        box: Tight half-open box (x0, y0, x1, y1) of the object in level 0.
    """

    levels: tuple[Image, ...]
    group: str
    box: tuple[int, int, int, int]
    name: str = ""

    @property
    def size(self) -> int:
        """Longer side of the object in pixels of level 0."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) of the object's box in level 0."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    def warp(self, matrix: NDArray[np.float64], size: tuple[int, int]) -> Image:
        """Premultiplied RGBA of the sprite under an affine map.

        Args:
            matrix: 2 x 3 map from level-0 pixel coordinates (x, y) to output pixel coordinates.
            size: Output (H, W).

        Returns:
            (H, W, 4) uint8, zero where the sprite is not.
        """
        # The level whose pixels are about the output's: bilinear sampling then neither blurs nor flickers.
        scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        level = int(np.clip(np.floor(-np.log2(max(scale, 1e-6)) + 0.35), 0, len(self.levels) - 1))
        return warp(self.levels[level], matrix, size, 2**level)


def warp(source: Image, matrix: NDArray[np.float64], size: tuple[int, int], shrink: int = 1, border: int = 0) -> Image:
    """Warp `source` (a copy shrunk `shrink` times) by a map given for the full-size picture, pixel centres at +0.5."""
    # OpenCV's pixel centres lie at whole numbers, ours at halves: shift before, shift back after.
    linear = matrix[:, :2] * shrink
    offset = matrix[:, 2] + linear @ np.array([0.5, 0.5]) - 0.5
    mode = cv2.BORDER_REFLECT_101 if border else cv2.BORDER_CONSTANT
    full = np.column_stack([linear, offset])
    return np.asarray(
        cv2.warpAffine(source, full, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=mode), np.uint8
    )


def cut_out(image: Image, mask: Bits, group: str, name: str = "", smooth: float = 0.7, erode: int = 1) -> Sprite:
    """Cut an object out so that no rim of its old background travels with it.

    The outermost `erode` pixels, where object and background mix, lose their colour and receive the nearest inner
    one; the edge of the alpha is softened by a Gaussian of `smooth` pixels, as a camera's optics would.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True on the object.
        group: See `Sprite.group`.

    Returns:
        The sprite, cropped to the mask with `MARGIN` transparent pixels around.
    """
    # 1. Cut to the mask's box with a margin: m (h, w) of 0 and 1, rgb (h, w, 3).
    x0, y0, x1, y1 = Mask.from_array(mask).box
    m = np.pad(mask[y0:y1, x0:x1], MARGIN).astype(np.uint8)
    rgb = np.pad(image[y0:y1, x0:x1], ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    # 2. The rim mixes object and background: it takes the colour of the nearest pixel well inside.
    inner = cv2.erode(m, np.ones((2 * erode + 1,) * 2, np.uint8)) if erode else m
    if inner.any():
        rgb = fill_outside(rgb, inner.astype(bool))
    # 3. The edge of the alpha is as soft as a camera's.
    alpha = cv2.GaussianBlur(m.astype(np.float32), (0, 0), smooth) if smooth else m.astype(np.float32)
    return from_rgba(rgb, alpha, group, name)


def cut_plainly(image: Image, mask: Bits, group: str, name: str = "") -> Sprite:
    """Cut an object out as its mask says, as simple builders do: hard edge, and the rim of the old background stays."""
    return cut_out(image, mask, group, name, smooth=0.0, erode=0)


def fill_outside(rgb: Image, inside: Bits) -> Image:
    """Give every pixel outside the colour of the nearest pixel inside."""
    # label (h, w): the number of the nearest pixel inside; table turns numbers to colours.
    _, label = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((label.max() + 1, 3), np.uint8)
    table[label[inside]] = rgb[inside]
    return np.where(inside[..., None], rgb, table[label])


def from_rgba(rgb: Image, alpha: NDArray[np.float32], group: str, name: str = "") -> Sprite:
    """Sprite from straight colours and an alpha in [0, 1] of the same size; the pyramid is made here."""
    solid = Mask.from_array(alpha >= 0.5)
    if not solid:
        raise DataError("a sprite needs at least one opaque pixel")
    # (h, w, 4) premultiplied, in float so that the pyramid does not add rounding to rounding.
    full = np.dstack([rgb * alpha[..., None], alpha * 255]).astype(np.float32)
    levels = [np.round(full).astype(np.uint8)]
    while min(full.shape[:2]) > 24 and len(levels) < 4:
        h, w = full.shape[0] // 2 * 2, full.shape[1] // 2 * 2
        # Odd sizes lose their last row or column; it lies in the transparent margin.
        full = full[:h, :w].reshape(h // 2, 2, w // 2, 2, 4).mean((1, 3))
        levels.append(np.round(full).astype(np.uint8))
    return Sprite(tuple(levels), group, solid.box, name)


@dataclass(frozen=True)
class Photo:
    """A photograph with one known object in it, used as background with its own object as the target.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, 255 on the object: its visible part, and all of it where `whole`.
        unknown: (H, W) uint8, 255 where nobody knows whether the object continues (other things in a cluttered
            scene), or None.
        whole: The mask is the whole object.
    """

    image: Image
    mask: Image
    group: str
    unknown: Image | None = None
    whole: bool = True
    name: str = ""
