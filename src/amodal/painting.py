"""Painting the occluded pixels of an object whose masks are known, for methods that give only a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .crop import Crop
from .drawing import canvas
from .image import Image
from .mask import Bits, Box, Mask, bounding_box
from .protocols import Inpainter, Sampling, Tick, no_tick

__all__ = ["paint_occluded"]


def paint_occluded(
    image: Image,
    pairs: Sequence[tuple[Mask, Mask]],
    inpainter: Inpainter,
    seeds: Sequence[int],
    sampling: Sampling | None = None,
    tick: Tick = no_tick,
) -> list[Image]:
    """The picture of each whole object on its amodal box, its occluded pixels painted.

    Only the visible object is known to the inpainter: the occluder and everything else belong to the area it makes, so that
    the occluder does not bleed into the object.

    Args:
        image: (H, W, 3) uint8 RGB.
        pairs: (visible, amodal) per object.
        inpainter: what paints.
        seeds: one per object.
        sampling: the inpainter's sampling; ordinary inpainting by default.
        tick: progress.

    Returns:
        per object (h, w, 3) uint8 on `amodal.box`, exact only where the object is visible; objects without an occluded
        pixel are copied from the photo.
    """
    pictures: list[Image] = [canvas(image, amodal.box, 0) for _, amodal in pairs]
    todo = [index for index, (visible, amodal) in enumerate(pairs) if not visible.contains(amodal)]
    if not todo:
        return pictures
    crops = [
        Crop.around(_grown(bounding_box([pairs[i][0].box, pairs[i][1].box])), inpainter.size, enlarge=1.0) for i in todo
    ]
    conditions, areas = [], []
    for index, crop in zip(todo, crops, strict=True):
        visible = pairs[index][0]
        known = crop.mask(visible) > 0.999
        conditions.append(condition_picture(crop.image(image, "edge"), known))
        areas.append((~known).astype(np.float32))
    painted = inpainter.paint(
        np.stack(conditions), np.stack(areas), [seeds[i] for i in todo], sampling or Sampling(), tick
    )
    for index, crop, picture in zip(todo, crops, painted, strict=True):
        rgb = np.rint((np.clip(picture, -1, 1) + 1) * 127.5).astype(np.uint8)
        x0, y0, x1, y1 = pairs[index][1].box
        full = crop.image_back(rgb)
        left, top = x0 - crop.origin[0], y0 - crop.origin[1]
        pictures[index] = full[top : top + y1 - y0, left : left + x1 - x0]
    return pictures


def _grown(box: Box) -> Box:
    """One pixel more on each side: `Crop.around` truncates, and the window must cover the box."""
    x0, y0, x1, y1 = box
    return (x0 - 1, y0 - 1, x1 + 1, y1 + 1)


def condition_picture(picture: Image, known: Bits) -> NDArray[np.float32]:
    """The known object on the mean of its own colours: (size, size, 3) float32 in [-1, 1]."""
    values = picture.astype(np.float32) / 127.5 - 1
    mean = values[known].mean(axis=0) if known.any() else values.mean(axis=(0, 1))
    out = np.where(known[..., None], values, mean)
    return np.asarray(out, np.float32)
