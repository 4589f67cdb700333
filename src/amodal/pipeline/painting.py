"""Painting the occluded pixels of an object whose masks are known, for methods that give only a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.crop import Crop, mask_levels
from ..core.drawing import lay
from ..core.image import Image
from ..core.mask import Bits, Mask, Size, bounding_box, grown, overlap, union
from ..core.regions import connected
from ..core.scaling import Levels, to_bytes, to_unit
from ..plugins.protocols import Inpainter, Progress, Sampling, no_progress
from .patches import REACH, from_patches, retouched

__all__ = ["hole_of", "paint_behind", "paint_occluded"]

FINEST, MOST = 384, 40_000
"""Side of the windows in which holes are filled with patches, and pixels of a hole there, at most: what bounds the time."""
MOST_PAINTED = 10_000
"""Occluded pixels of an object that are retouched at the photo's resolution, at most."""


def paint_occluded(
    photo: Levels,
    pairs: Sequence[tuple[Mask, Mask]],
    inpainter: Inpainter,
    seeds: Sequence[int],
    sampling: Sampling | None = None,
    progress: Progress = no_progress,
) -> list[Image]:
    """The occluded pixels of each whole object, painted, on its amodal box.

    Only the visible object is known to the inpainter: the occluder and everything else belong to the area it makes, so that
    the occluder does not bleed into the object.

    Args:
        photo: (H, W, 3) uint8 RGB and its halves.
        pairs: (visible, amodal) per object.
        inpainter: what paints.
        seeds: one per object.
        sampling: `inpainter.default_sampling` by default.
        progress: reports and cancels, as `Progress` says.

    Returns:
        per object (h, w, 3) uint8 on `amodal.box`; only where the object is occluded does it say anything.
    """
    pictures: list[Image] = [np.zeros((*amodal.bits.shape, 3), np.uint8) for _, amodal in pairs]
    occluded = [amodal - visible for visible, amodal in pairs]
    todo = [index for index, part in enumerate(occluded) if part]
    if not todo:
        return pictures
    # 1. A window about each object that has something to paint; a pixel more, since `Crop.around` truncates.
    crops = [
        Crop.around(grown(bounding_box([pairs[i][0].box, pairs[i][1].box]), 1), inpainter.size, enlarge=1.0)
        for i in todo
    ]
    conditions, areas = [], []
    for index, crop in zip(todo, crops, strict=True):
        visible = pairs[index][0]
        # 2. Known (S, S) bool: visible pixels that no other mixes with. The area is all the rest.
        known = crop.cut(mask_levels(visible)) == 255
        conditions.append(condition_picture(crop.cut(photo, edge=True), known))
        areas.append((~known).astype(np.float32))
    # 3. All objects in one batch: (N, S, S, 3) in [-1, 1].
    painted = inpainter.paint(
        np.stack(conditions),
        np.stack(areas),
        [seeds[i] for i in todo],
        sampling or inpainter.default_sampling,
        progress,
    )
    for index, crop, picture in zip(todo, crops, painted, strict=True):
        # 4. Only what is about the occluded part goes back into the photo's pixels.
        x0, y0, x1, y1 = overlap(grown(occluded[index].box, REACH), pairs[index][1].box)
        left, top = pairs[index][1].origin
        pictures[index][y0 - top : y1 - top, x0 - left : x1 - left] = crop.image_back(
            to_bytes(picture), (x0, y0, x1, y1)
        )
        # 5. Its texture and colours are the object's own, where the inpainter paints smoothly.
        if inpainter.smooth:
            pictures[index] = _own_texture(photo.arrays[0], pairs[index], occluded[index], pictures[index])
    return pictures


def _own_texture(photo: Image, pair: tuple[Mask, Mask], occluded: Mask, picture: Image) -> Image:
    """An object's picture on its amodal box, what is painted in it made of patches of what is visible of it.

    A rim of a pixel of the visible part, which others mix with, is no source. Large parts are made in a smaller picture, and come
    back as differences to what was painted there.
    """
    import cv2

    visible, amodal = pair
    # 1. The object as it is known: the photo where it is visible, else the painting (h, w, 3); both masks (h, w).
    known, part = visible.crop(amodal.box), occluded.crop(amodal.box)
    seen = picture.copy()
    (x0, y0, x1, y1), (left, top) = overlap(visible.box, amodal.box), amodal.origin
    here = seen[y0 - top : y1 - top, x0 - left : x1 - left]
    lay(photo[y0:y1, x0:x1], visible.crop((x0, y0, x1, y1)), here)
    known &= ~cv2.dilate(part.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    shrink = (MOST_PAINTED / max(occluded.area, MOST_PAINTED)) ** 0.5
    if shrink == 1:
        return retouched(seen, known, part)
    # 2. At a smaller size a pixel is known where all of it is, and painted where any of it is.
    size = (max(1, int(part.shape[1] * shrink)), max(1, int(part.shape[0] * shrink)))
    small, inside, reached = (
        cv2.resize(array, size, interpolation=cv2.INTER_AREA)
        for array in (seen, known.astype(np.float32), part.astype(np.float32))
    )
    change = retouched(small, inside >= 1, reached > 0).astype(np.float32) - small
    change = cv2.resize(change, part.shape[::-1], interpolation=cv2.INTER_LINEAR)
    made: Image = np.clip(np.rint(seen + change), 0, 255).astype(np.uint8)
    return np.asarray(np.where(part[..., None], made, seen))


def paint_behind(
    photo: Levels, masks: Sequence[Mask], inpainter: Inpainter, seed: int = 0, progress: Progress = no_progress
) -> Image:
    """The photo with the objects of `masks` removed: (H, W, 3) uint8.

    Objects that touch leave one hole, which is painted as one, so that no line stands between them; from what is known around it
    and belongs to no object. A rim of a few pixels goes with each object (see `hole_of`); outside the photo is unchanged.

    Args:
        photo: (H, W, 3) uint8 RGB and its halves.
        masks: what to remove, inside the frame.
        inpainter: what paints.
        seed: of the painting.
        progress: reports and cancels, as `Progress` says.
    """
    out: Image = photo.arrays[0].copy()
    if not masks:
        return out
    size = (out.shape[0], out.shape[1])
    # 1. The holes: objects with their rims, joined where they touch.
    every = union(hole_of(mask, size) for mask in masks)
    holes = connected(every)
    missing = mask_levels(every)
    crops = [Crop.around(grown(hole.box, 1), inpainter.size, enlarge=2.5, margin=1.4) for hole in holes]
    # 2. Known (S, S) bool is what lies in the frame and in no hole; the inpainter makes the rest.
    known = [(crop.cut(missing) == 0) & crop.within(size) for crop in crops]
    conditions = [condition_picture(crop.cut(photo, edge=True), bits) for crop, bits in zip(crops, known, strict=True)]
    areas = [(~bits).astype(np.float32) for bits in known]
    seeds = [seed * 1_000_003 + number for number in range(len(holes))]
    painted = inpainter.paint(np.stack(conditions), np.stack(areas), seeds, inpainter.default_sampling, progress)
    for hole, crop, picture in zip(holes, crops, painted, strict=True):
        x0, y0, x1, y1 = hole.box
        # 3. Texture, where the inpainter gives none.
        if inpainter.smooth:
            crop, picture = _textured(photo, missing, hole.area, crop, picture)
        # 4. Only pixels of the hole are replaced.
        lay(crop.image_back(to_bytes(picture), hole.box), hole.bits, out[y0:y1, x0:x1])
    return out


def _textured(
    photo: Levels, missing: Levels, area: int, crop: Crop, picture: NDArray[np.float32]
) -> tuple[Crop, NDArray[np.float32]]:
    """A window that was filled smoothly, its hole of `area` pixels and others made of patches of what is around them."""
    import cv2

    fine = replace(crop, size=min(crop.side, FINEST, max(1, int(crop.side * (MOST / area) ** 0.5))))
    frame = fine.within((photo.arrays[0].shape[0], photo.arrays[0].shape[1]))
    inside = np.ix_(frame.any(axis=1), frame.any(axis=0))  # what lies beyond the frame is left as it is
    made = cv2.resize(picture, (fine.size, fine.size), interpolation=cv2.INTER_LINEAR)
    seen, hole = to_unit(fine.cut(photo, edge=True)), fine.cut(missing) > 0
    made[inside] = from_patches(seen[inside], hole[inside], made[inside])
    return fine, np.asarray(made, np.float32)


def hole_of(mask: Mask, size: Size) -> Mask:
    """What is missing when an object is taken away: its pixels, and a rim around them that its colours bleed into."""
    return _dilate(mask, rim_of(size), size)


def rim_of(size: Size) -> int:
    """How far an object's colours bleed into its neighbourhood, in pixels, for a photo of `size` (H, W)."""
    return max(3, round(max(size) / 160))


def _dilate(mask: Mask, radius: int, size: Size) -> Mask:
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = np.pad(mask.bits, radius).astype(np.uint8)
    return Mask.from_array(cv2.dilate(padded, kernel), (mask.origin[0] - radius, mask.origin[1] - radius)).clip(size)


def condition_picture(picture: Image, known: Bits) -> NDArray[np.float32]:
    """The known object on the mean of its own colours: (size, size, 3) float32 in [-1, 1]."""
    values = to_unit(picture)
    mean = values[known].mean(axis=0) if known.any() else values.mean(axis=(0, 1))
    out = np.where(known[..., None], values, mean)
    return np.asarray(out, np.float32)
