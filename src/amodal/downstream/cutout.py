"""Cut-outs (RGBA pictures of one object) as the networks downstream take them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError
from ..core.image import Image

__all__ = ["bleed", "check_cutout", "on_white", "square_input", "white_background"]


def check_cutout(rgba: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the cut-out is opaque: (h, w) bool. Raises DataError if it is no cut-out or shows nothing."""
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
        raise DataError(f"a cut-out is (h, w, 4) uint8 RGBA, got {rgba.shape} {rgba.dtype}")
    alpha = rgba[..., 3] > 127
    if not alpha.any():
        raise DataError("the cut-out is empty: no pixel is opaque")
    return np.asarray(alpha)


def on_white(rgb: Image, alpha: NDArray[np.bool_], margin: float = 0.1) -> Image:
    """An object (h, w, 3) with its mask (h, w) in the middle of a white square, `margin` of its longer side around it."""
    height, width = alpha.shape
    side = max(1, round(max(height, width) * (1 + 2 * margin)))
    out = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    out[top : top + height, left : left + width][alpha] = rgb[alpha]
    return out


SHARE = 200 / 256
"""Longer side of the object to the square: how Zero-1-to-3 and SyncDreamer place objects (200 of 256 pixels)."""


def square_input(rgba: NDArray[np.uint8], size: int, crop: bool = True) -> tuple[Image, NDArray[np.float32]]:
    """A cut-out as a square picture on white, as Zero-1-to-3 and SyncDreamer take it.

    Args:
        rgba: (h, w, 4) uint8.
        size: side of the square, pixels.
        crop: centre the object's box and scale it to 200/256 of the square; False squares the picture as it is.

    Returns:
        (size, size, 3) uint8 RGB on white, and the object's coverage (size, size) float32 in [0, 1].

    Raises:
        DataError: there is no object in the picture.
    """
    import cv2

    alpha = check_cutout(rgba)
    rows, columns = np.nonzero(alpha)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] if crop else np.s_[:, :]
    part, cover = rgba[box][..., :3], alpha[box].astype(np.float32)
    height, width = cover.shape
    side = max(1, round(max(height, width) / (SHARE if crop else 1)))
    top, left = (side - height) // 2, (side - width) // 2
    mask = np.zeros((side, side), np.float32)
    mask[top : top + height, left : left + width] = cover
    canvas = np.zeros((side, side, 3), np.float32)
    canvas[top : top + height, left : left + width] = part * cover[..., None]
    method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    mask = np.asarray(cv2.resize(mask, (size, size), interpolation=method), np.float32)
    shown = np.asarray(cv2.resize(canvas, (size, size), interpolation=method)) + 255 * (1 - mask[..., None])
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8), mask


def white_background(picture: Image, threshold: int = 245) -> NDArray[np.bool_]:
    """Where (H, W, 3) RGB is the white background of a drawn object: all channels above `threshold`, joined to the border."""
    import cv2

    bright = (picture.min(axis=2) > threshold).astype(np.uint8)
    count, regions = cv2.connectedComponents(np.pad(bright, 1, constant_values=1))
    outside = regions == regions[0, 0] if count > 1 else np.zeros(regions.shape, bool)
    return np.asarray(outside[1:-1, 1:-1])


def bleed(rgb: Image, alpha: NDArray[np.bool_]) -> Image:
    """The colours of the object continued over its edge, so that textures do not show the background."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~alpha, return_distances=False, return_indices=True)
    return np.ascontiguousarray(rgb[rows, columns])
