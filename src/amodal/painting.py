"""Painting the occluded pixels of an object whose masks are known, for methods that give only a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .crop import Crop
from .drawing import canvas
from .image import Image
from .mask import Bits, Box, Mask, Size, bounding_box, union
from .protocols import Inpainter, Sampling, Tick, no_tick

__all__ = ["paint_behind", "paint_occluded"]


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
        sampling: `inpainter.default_sampling` by default.
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
        np.stack(conditions),
        np.stack(areas),
        [seeds[i] for i in todo],
        sampling or inpainter.default_sampling,
        tick,
    )
    for index, crop, picture in zip(todo, crops, painted, strict=True):
        rgb = np.rint((np.clip(picture, -1, 1) + 1) * 127.5).astype(np.uint8)
        x0, y0, x1, y1 = pairs[index][1].box
        full = crop.image_back(rgb)
        left, top = x0 - crop.origin[0], y0 - crop.origin[1]
        pictures[index] = full[top : top + y1 - y0, left : left + x1 - x0]
    return pictures


def paint_behind(
    image: Image, masks: Sequence[Mask], inpainter: Inpainter, seed: int = 0, tick: Tick = no_tick
) -> Image:
    """The photo with the objects of `masks` removed: (H, W, 3) uint8.

    Each object is painted in a window of its own, from what is known there and belongs to no object. A rim of a few pixels
    goes with each object (its colours bleed into it); outside of objects and rims the photo is unchanged.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: what to remove, inside the frame.
        inpainter: what paints.
        seed: of the painting.
        tick: progress.
    """
    out: Image = image.copy()
    if not masks:
        return out
    size = (image.shape[0], image.shape[1])
    holes = [_dilate(mask, rim_of(size), size) for mask in masks]
    free = Mask.from_array(~union(holes).to_array(size))
    crops = [Crop.around(_grown(hole.box), inpainter.size, enlarge=2.5, margin=1.4) for hole in holes]
    known = [crop.mask(free) > 0.999 for crop in crops]
    conditions = [condition_picture(crop.image(image, "edge"), bits) for crop, bits in zip(crops, known, strict=True)]
    areas = [(~bits).astype(np.float32) for bits in known]
    seeds = [seed * 1_000_003 + number for number in range(len(masks))]
    painted = inpainter.paint(np.stack(conditions), np.stack(areas), seeds, inpainter.default_sampling, tick)
    for hole, crop, picture in zip(holes, crops, painted, strict=True):
        full = crop.image_back(np.rint((np.clip(picture, -1, 1) + 1) * 127.5).astype(np.uint8))
        x0, y0, x1, y1 = hole.box
        left, top = x0 - crop.origin[0], y0 - crop.origin[1]
        out[y0:y1, x0:x1][hole.bits] = full[top : top + y1 - y0, left : left + x1 - x0][hole.bits]
    return out


def rim_of(size: Size) -> int:
    """How far an object's colours bleed into its neighbourhood, in pixels, for a photo of `size` (H, W)."""
    return max(3, round(max(size) / 160))


def _dilate(mask: Mask, radius: int, size: Size) -> Mask:
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = np.pad(mask.bits, radius).astype(np.uint8)
    return Mask.from_array(cv2.dilate(padded, kernel), (mask.origin[0] - radius, mask.origin[1] - radius)).clip(size)


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
