"""Pictures of results: overlays, contours, checkerboards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .image import Image
from .mask import Box, Mask, bounding_box
from .regions import depth

__all__ = [
    "OCCLUDED_COLOUR",
    "VISIBLE_COLOUR",
    "canvas",
    "checkerboard",
    "contour",
    "fitted",
    "lay",
    "overlay",
    "softened",
]

VISIBLE_COLOUR = (0, 150, 255)
OCCLUDED_COLOUR = (255, 120, 0)
STRIP = 1 << 16
"""Pixels that are laid at a time, so that what is made of them stays in the processor's cache."""


def lay(over: Image, where: NDArray[np.bool_], onto: Image) -> None:
    """`onto[where] = over[where]`, several times faster.

    Args:
        over: (h, w, C) uint8; RGB on RGBA is opaque.
        where: (h, w) bool.
        onto: (h, w, C) uint8, may be a window of a larger picture; changed in place.
    """
    import cv2

    rows = max(1, STRIP // max(1, where.shape[1]))
    for top in range(0, len(where) if where.size else 0, rows):
        strip = np.s_[top : top + rows]
        source, target = np.ascontiguousarray(over[strip]), onto[strip]
        if source.shape[2] < target.shape[2]:
            source = np.asarray(cv2.cvtColor(source, cv2.COLOR_RGB2RGBA), np.uint8)
        made = cv2.copyTo(source, np.ascontiguousarray(where[strip]).view(np.uint8), target)
        if made is not target:
            target[...] = made


def softened(rgba: Image, width: float, closed: tuple[bool, bool, bool, bool] = (False,) * 4) -> Image:
    """A cut-out whose edge fades, and has lost what a camera mixes into it of the old background.

    Alpha falls on the inner side of the edge alone, since beyond it the photo shows another thing; the colours of those pixels are
    taken from further inside (a Gaussian mean of the pixels that lie deeper), where there are such: thin parts keep their own.

    Args:
        rgba: (h, w, 4) uint8; alpha is 255 on the object and 0 elsewhere.
        width: of the fading, in pixels.
        closed: whether left, top, right and bottom are edges of the photo: an object that is cut off there has no edge there.

    Returns:
        (h, w, 4) uint8.
    """
    import cv2

    solid = rgba[..., 3] > 0
    # Seen from a pixel's centre, the edge is half a pixel nearer than the centre of the next one outside.
    inward = depth(solid, exact=True, closed=closed) - 0.5
    out: Image = rgba.copy()
    out[..., 3] = np.rint(255 * np.clip(inward / width, 0, 1))
    reach = int(np.ceil(3 * width))
    step = max(8 * reach, STRIP // rgba.shape[1])
    for first in range(0, len(rgba), step):  # a strip at a time, with as much above and below as the mean reaches
        start, rows = max(0, first - reach), slice(first, first + step)
        around = slice(start, first + step + reach)
        deep = (solid[around] & (inward[around] >= width)).astype(np.float32)
        colours = cv2.GaussianBlur(rgba[around, :, :3] * deep[..., None], (2 * reach + 1,) * 2, width)
        weight = cv2.GaussianBlur(deep, (2 * reach + 1,) * 2, width)
        inner = slice(first - start, first - start + len(rgba[rows]))
        edge = solid[rows] & (inward[rows] < width) & (weight[inner] > 1e-3)
        out[rows, :, :3][edge] = np.rint(colours[inner][edge] / weight[inner][edge][:, None])
    return out


def canvas(image: Image, box: Box, fill: int = 255) -> Image:
    """The image (H, W, 3) on the half-open box (x0, y0, x1, y1), which may pass the frame; `fill` outside of it."""
    x0, y0, x1, y1 = box
    if box == (0, 0, image.shape[1], image.shape[0]):
        return np.array(image)
    out = np.full((y1 - y0, x1 - x0, image.shape[2]), fill, np.uint8)
    left, top = max(0, x0), max(0, y0)
    right, bottom = min(image.shape[1], x1), min(image.shape[0], y1)
    if left < right and top < bottom:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return out


def fitted(image: Image, side: int = 1024) -> Image:
    """The image (H, W, C), shrunk so that its longer side is at most `side`."""
    import cv2

    scale = min(1.0, side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return image if scale == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


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
    import cv2

    frame: Box = (0, 0, image.shape[1], image.shape[0])
    box = bounding_box((frame, amodal.box))
    out = canvas(image, box, 128)
    occluded = amodal - visible
    if rgba is not None and occluded:
        left, top, right, bottom = occluded.box
        x, y = amodal.origin
        painted = np.ascontiguousarray(rgba[top - y : bottom - y, left - x : right - x, :3])
        lay(painted, occluded.bits, _window(out, occluded.box, box))
    for mask, colour, strength in ((visible, VISIBLE_COLOUR, 0.35), (occluded, OCCLUDED_COLOUR, 0.45)):
        if mask:
            window = _window(out, mask.box, box)
            lay(np.asarray(cv2.transform(window, _tint(colour, strength))), mask.bits, window)
    # The outline, from a little padding: its pixels lie half inside and half outside of the mask.
    lines, _ = cv2.findContours(amodal.bits.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    thickness = max(1, round(max(image.shape[:2]) / 600))
    place = (amodal.origin[0] - box[0], amodal.origin[1] - box[1])
    for width, grey in ((2 * thickness + 3, 0), (2 * thickness + 1, 255)):
        cv2.drawContours(out, lines, -1, (grey, grey, grey), width, offset=place)
    return out


def _window(canvas: Image, box: Box, frame: Box) -> Image:
    """The pixels of `box` of a canvas that lies on `frame`, without a copy."""
    return canvas[box[1] - frame[1] : box[3] - frame[1], box[0] - frame[0] : box[2] - frame[0]]


def _tint(colour: tuple[int, int, int], strength: float) -> NDArray[np.float32]:
    """The map (3, 4) of RGB values to tinted ones."""
    return np.column_stack([np.eye(3) * (1 - strength), strength * np.array(colour)]).astype(np.float32)
