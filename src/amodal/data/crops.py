"""Random training crops of objects, as deocclusion, ASBU and SDAmodal draw them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.crop import Crop
from ..core.mask import Box, Mask

__all__ = ["Augmentation", "cut", "random_crop"]


@dataclass(frozen=True)
class Augmentation:
    """How crops vary; the defaults are the papers'.

    Attributes:
        shift: the centre moves by a uniform share of the side, at most this, across and down.
        scale: bounds of the uniform magnification; the side is divided by it.
        flip: probability of a mirrored crop.
        enlarge: of the crop, see `Crop.around`.
        margin: of the crop.
    """

    shift: float = 0.2
    scale: tuple[float, float] = (0.8, 1.2)
    flip: float = 0.5
    enlarge: float = 3.0
    margin: float = 1.1


def random_crop(
    box: Box, size: int, rng: np.random.Generator, augmentation: Augmentation, *, shift: bool = True
) -> tuple[Crop, bool] | None:
    """A square about an object with a random place and scale, and whether to mirror it.

    Args:
        box: half-open, of the visible mask.
        size: side of the crop, in its own pixels.
        rng: drawn from four times, whatever the box.
        augmentation: see there.
        shift: False keeps the centre (erasers).

    Returns:
        the crop and the flip, or None for an object too small to train on (a square below 5 pixels, or below 1 when it is
        scaled, or an empty box).
    """
    across, down = rng.uniform(-augmentation.shift, augmentation.shift, 2) * shift
    scale, flip = rng.uniform(*augmentation.scale), bool(rng.random() < augmentation.flip)
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    side = max(
        math.sqrt(width * height * augmentation.enlarge), augmentation.margin * width, augmentation.margin * height
    )
    if side < 5:
        return None
    x, y = (x0 + x1) / 2 + across * side, (y0 + y1) / 2 + down * side
    side /= scale
    if side < 1:
        return None
    return Crop((int(x - side / 2), int(y - side / 2)), int(side), size), flip


def cut(mask: Mask, crop: Crop, flip: bool) -> NDArray[np.bool_]:
    """The mask in a crop, mirrored if wanted: (size, size) bool."""
    bits = crop.bits(mask)
    return bits[:, ::-1].copy() if flip else bits
