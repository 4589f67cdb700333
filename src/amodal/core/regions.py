"""What a mask's pixels span: points spread over them, their convex hull."""

from __future__ import annotations

import numpy as np

from .mask import Bits, Mask

__all__ = ["convex_hull", "spread_points"]


def spread_points(visible: Bits, count: int, rounds: int = 10) -> list[tuple[float, float]]:
    """Points spread uniformly over a mask: the centres of `count` equal-sized neighbourhoods (Lloyd's algorithm).

    Args:
        visible: (H, W) bool, not empty.
        count: how many; fewer come back if the mask has fewer pixels.
        rounds: iterations.

    Returns:
        points (x, y) at pixel centres, all on the mask.
    """
    pixels = np.argwhere(visible)
    pixels = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), 4000)).astype(int)].astype(np.float32)
    starts = np.linspace(0, len(pixels) - 1, min(count, len(pixels))).astype(int)
    centres = pixels[starts]
    for _ in range(rounds):
        owner = np.argmin(((pixels[:, None] - centres[None]) ** 2).sum(axis=-1), axis=1)
        centres = np.stack(
            [pixels[owner == k].mean(axis=0) if (owner == k).any() else centre for k, centre in enumerate(centres)]
        )
    nearest = pixels[np.argmin(((pixels[:, None] - centres[None]) ** 2).sum(axis=-1), axis=0)]
    return [(float(x) + 0.5, float(y) + 0.5) for y, x in np.unique(nearest, axis=0)]


def convex_hull(mask: Mask) -> Mask:
    """The smallest convex polygon over all contours of the mask together, rasterised; contains the mask."""
    import cv2

    contours, _ = cv2.findContours(mask.bits.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = cv2.convexHull(np.concatenate(contours))
    canvas = np.zeros(mask.bits.shape, np.uint8)
    cv2.fillConvexPoly(canvas, points, 1)
    return Mask.from_array(canvas.astype(bool) | mask.bits, mask.origin)
