"""Laying an occluder over a whole object, and the four pictures of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.image import Image
from ...core.mask import Bits, Mask

__all__ = ["Pair", "cutout", "paste", "superimpose", "white_whole"]


@dataclass(frozen=True)
class Pair:
    """One training pair, all of one size (H, W).

    Attributes:
        occlusion: the photo with the occluder, uint8 RGB: the input.
        whole: the whole object on white, uint8 RGB: the target.
        amodal: the whole object's mask, bool.
        visible: what of it can still be seen, bool.
    """

    occlusion: Image
    whole: Image
    amodal: Bits
    visible: Bits

    @property
    def occluded(self) -> float:
        """Share of the object that the occluder hides."""
        return 1 - float(self.visible.sum()) / float(self.amodal.sum())


def cutout(image: Image, mask: Mask) -> NDArray[np.uint8]:
    """An object of a photo as (h, w, 4) RGBA on its box."""
    x0, y0, x1, y1 = mask.box
    return np.dstack([image[y0:y1, x0:x1], mask.bits.astype(np.uint8) * 255])


def white_whole(image: Image, mask: Bits) -> Image:
    """The object on white: (H, W, 3) uint8."""
    return np.where(mask[..., None], image, np.uint8(255))


def paste(image: Image, rgba: NDArray[np.uint8], corner: tuple[int, int]) -> tuple[Image, Bits]:
    """Lay a cut-out over a photo, its top-left pixel at `corner` (x, y), which may lie outside.

    Returns:
        the new photo, and where the cut-out covers it by half or more.
    """
    height, width = image.shape[:2]
    x, y = corner
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + rgba.shape[1], width), min(y + rgba.shape[0], height)
    out, covered = image.copy(), np.zeros((height, width), bool)
    if x0 >= x1 or y0 >= y1:
        return out, covered
    part = rgba[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = part[..., 3:].astype(np.float32) / 255
    blended = part[..., :3] * alpha + out[y0:y1, x0:x1] * (1 - alpha)
    out[y0:y1, x0:x1] = np.rint(blended).astype(np.uint8)
    covered[y0:y1, x0:x1] = alpha[..., 0] >= 0.5
    return out, covered


def superimpose(
    image: Image,
    whole: Mask,
    occluder: NDArray[np.uint8],
    random: np.random.Generator,
    occluded: tuple[float, float] = (0.05, 0.7),
    tries: int = 40,
) -> Pair | None:
    """Lay an occluder over a whole object so that a share of it within `hidden` is covered.

    Its size is drawn between a third and one and a half times the object's area, its place on and around the object.

    Args:
        image: (H, W, 3) uint8 photo with the object.
        whole: the object's mask.
        occluder: (h, w, 4) uint8 RGBA of another object.
        random: all chance comes from here.
        occluded: smallest and largest share of the object to cover.
        tries: draws before giving up.

    Returns:
        the pair, or None if no draw fits.
    """
    import cv2

    amodal = whole.to_array(image.shape[:2])
    rows, columns = np.nonzero(amodal)
    opaque = max(1, int((occluder[..., 3] > 127).sum()))
    for _ in range(tries):
        scale = np.sqrt(whole.area / opaque * np.exp(random.uniform(np.log(1 / 3), np.log(1.5))))
        size = [max(2, round(n * scale)) for n in occluder.shape[1::-1]]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        shape = cv2.resize(occluder, size, interpolation=how)
        if random.random() < 0.5:
            shape = shape[:, ::-1]
        at = int(random.integers(rows.size))
        spread = 0.25 * np.sqrt(whole.area)
        x = round(columns[at] - size[0] / 2 + random.normal(0, spread))
        y = round(rows[at] - size[1] / 2 + random.normal(0, spread))
        occlusion, covered = paste(image, shape, (x, y))
        visible = amodal & ~covered
        share = 1 - visible.sum() / whole.area
        if occluded[0] <= share <= occluded[1]:
            return Pair(occlusion, white_whole(image, amodal), amodal, visible)
    return None
