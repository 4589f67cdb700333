"""The pictures of the review page: photo, visible mask, amodal mask, and the same three zoomed in."""

from __future__ import annotations

import numpy as np

from ...core.drawing import OCCLUDED_COLOUR, VISIBLE_COLOUR, canvas, contour
from ...core.errors import UsageError
from ...core.image import Image
from ...core.mask import Box, bounding_box
from ...data.sample import Sample

__all__ = ["KINDS", "panel"]

KINDS = ("photo", "visible", "amodal")
ZOOM_SIDE = 520


def panel(sample: Sample, kind: str, zoomed: bool = False) -> Image:
    """One panel (h, w, 3) uint8 RGB: the photo, or the photo with one of the two masks tinted and outlined.

    Args:
        sample: the object.
        kind: one of `KINDS`.
        zoomed: cut out about the object, 1.4 times its box, enlarged; what lies outside of the frame is grey.

    Raises:
        UsageError: no such kind.
        DataError: the photo cannot be read.
    """
    import cv2

    if kind not in KINDS:
        raise UsageError(f"panel is {kind!r}; it must be one of {', '.join(KINDS)}")
    frame: Box = (0, 0, sample.size[1], sample.size[0])
    whole = bounding_box((frame, sample.amodal.box))
    box = around(sample.amodal.box) if zoomed else whole
    picture = canvas(sample.image, box, 128)
    scale = ZOOM_SIDE / max(picture.shape[:2]) if zoomed else 1.0
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    picture = np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA), np.uint8
    )
    if kind == "photo":
        return picture
    mask = sample.visible if kind == "visible" else sample.amodal
    bits = cv2.resize(mask.crop(box).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    colour = VISIBLE_COLOUR if kind == "visible" else OCCLUDED_COLOUR
    tinted = picture.astype(np.float32)
    tinted[~bits] *= 0.55
    tinted[bits] = 0.6 * tinted[bits] + 0.4 * np.array(colour, np.float32)
    tinted[contour(np.pad(bits, 2), 1)[2:-2, 2:-2]] = 255
    return np.rint(tinted).astype(np.uint8)


def around(box: Box) -> Box:
    """A box 1.4 times as large, at least 32 pixels a side."""
    x0, y0, x1, y1 = box
    grow_x, grow_y = max((x1 - x0) // 5, (32 - x1 + x0) // 2, 0), max((y1 - y0) // 5, (32 - y1 + y0) // 2, 0)
    return (x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y)
