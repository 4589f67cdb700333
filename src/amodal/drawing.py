"""Pictures of results: overlays, contours, checkerboards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .image import Image
from .mask import Box, Mask, bounding_box, place

__all__ = ["OCCLUDED_COLOUR", "VISIBLE_COLOUR", "canvas", "checkerboard", "contour", "lay", "overlay"]

VISIBLE_COLOUR = (0, 150, 255)
OCCLUDED_COLOUR = (255, 120, 0)


def lay(over: Image, where: NDArray[np.bool_], onto: Image) -> None:
    """`onto[where] = over[where]`, several times faster.

    Args:
        over: (h, w, C) uint8.
        where: (h, w) bool.
        onto: (h, w, C) uint8, changed in place.
    """
    import cv2

    if where.size:
        cv2.copyTo(np.ascontiguousarray(over), np.ascontiguousarray(where).view(np.uint8), onto)


def canvas(image: Image, box: Box, fill: int = 255) -> Image:
    """The image (H, W, 3) on the half-open box (x0, y0, x1, y1), which may pass the frame; `fill` outside of it."""
    x0, y0, x1, y1 = box
    out = np.full((y1 - y0, x1 - x0, image.shape[2]), fill, np.uint8)
    left, top = max(0, x0), max(0, y0)
    right, bottom = min(image.shape[1], x1), min(image.shape[0], y1)
    if left < right and top < bottom:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return out


def contour(bits: NDArray[np.bool_], width: int = 2) -> NDArray[np.bool_]:
    """The outline of a mask (H, W) bool, `width` pixels inside and outside of its border."""
    import cv2

    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    values = bits.astype(np.uint8)
    return np.asarray(cv2.dilate(values, kernel) != cv2.erode(values, kernel))


def checkerboard(rgba: NDArray[np.uint8], cell: int = 12) -> Image:
    """A cut-out (h, w, 4) laid on a grey checkerboard: (h, w, 3) uint8."""
    rows, columns = np.indices(rgba.shape[:2]) // cell
    board = np.where((rows + columns) % 2, 204, 255).astype(np.float32)[..., None]
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)


def overlay(image: Image, visible: Mask, amodal: Mask, rgba: NDArray[np.uint8] | None = None) -> Image:
    """The photo with the visible part tinted blue, the occluded part shown as completed and tinted orange, the amodal contour
    white on black. The canvas grows where the object leaves the frame (grey there).

    Args:
        image: (H, W, 3) uint8 RGB.
        visible: the visible mask.
        amodal: the amodal mask; may leave the frame.
        rgba: the cut-out (h, w, 4) on `amodal.box`; without it the photo shows through.
    """
    frame: Box = (0, 0, image.shape[1], image.shape[0])
    box = bounding_box((frame, amodal.box))
    out = canvas(image, box, 128).astype(np.float32)
    seen, whole = visible.crop(box), amodal.crop(box)
    hidden = whole & ~seen
    if rgba is not None:
        for channel in range(3):
            painted = place(np.ascontiguousarray(rgba[..., channel]), amodal.origin, box)
            out[..., channel][hidden] = painted[hidden]
    for bits, colour, strength in ((seen, VISIBLE_COLOUR, 0.35), (hidden, OCCLUDED_COLOUR, 0.45)):
        out[bits] = (1 - strength) * out[bits] + strength * np.array(colour, np.float32)
    thickness = max(1, round(max(image.shape[:2]) / 600))
    out[contour(whole, thickness + 1)] = 0
    out[contour(whole, thickness)] = 255
    return np.rint(out).astype(np.uint8)
