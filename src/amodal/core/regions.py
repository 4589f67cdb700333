"""What a mask's pixels span and how they hang together: spread points, convex hull, connected parts, borders, the
deepest pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mask import Bits, Mask

__all__ = ["connected", "convex_hull", "deepest", "depth", "joined", "rings", "spread_points"]


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


def connected(mask: Mask) -> list[Mask]:
    """The connected parts of a mask (eight neighbours), in the order of their first pixels."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.bits.view(np.uint8), connectivity=8)
    parts = []
    for part in range(1, count):
        x, y, w, h = (int(value) for value in stats[part, : cv2.CC_STAT_AREA])
        place = (mask.origin[0] + x, mask.origin[1] + y)
        parts.append(Mask.from_array(labels[y : y + h, x : x + w] == part, place))
    return parts


def joined(bits: Bits, seeds: Bits) -> Bits:
    """The connected parts (eight neighbours) of `bits` (H, W) that share a pixel with `seeds` (H, W)."""
    import cv2

    count, labels = cv2.connectedComponents(bits.astype(np.uint8), connectivity=8)
    chosen = np.zeros(count, bool)
    chosen[labels[bits & seeds]] = True
    return np.asarray(chosen[labels])


def depth(
    bits: Bits, *, exact: bool = False, closed: tuple[bool, bool, bool, bool] = (False,) * 4
) -> NDArray[np.float32]:
    """How far each pixel lies inside: (H, W) float32 pixels to the nearest one outside, beyond the array included.

    Args:
        bits: (H, W) bool.
        exact: False takes OpenCV's approximation with a 3 x 3 mask.
        closed: whether beyond the left, top, right and bottom edge of the array nothing is outside.
    """
    import cv2

    left, top, right, bottom = closed
    kind = cv2.DIST_MASK_PRECISE if exact else cv2.DIST_MASK_3
    padded = np.pad(bits, 1, constant_values=((top, bottom), (left, right))).view(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, kind)[1:-1, 1:-1])


def deepest(mask: Mask, *, exact: bool = False) -> tuple[float, float]:
    """The centre (x, y) of the pixel farthest from the mask's border; `exact` as in `depth`."""
    found = depth(mask.bits, exact=exact)
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    return (float(mask.origin[0] + column) + 0.5, float(mask.origin[1] + row) + 0.5)


def rings(bits: Bits) -> list[NDArray[np.int64]]:
    """All borders of a mask (H, W) as closed ways (N, 2) of (x, y) along the edges of its pixels, one pixel a step: outer ones
    clockwise on the screen, holes the other way round."""
    padded = np.pad(bits, 1).astype(np.int8)
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # an edge runs with the mask at its right hand: y grows downwards
    for axis, (dx, dy) in ((0, (1, 0)), (1, (0, 1))):
        step = np.diff(padded, axis=axis)
        for y, x in np.argwhere(step).tolist():
            # axis 0: a row of edges under row y of `padded`; its picture row is y, its columns x - 1 to x
            start = (x - 1, y) if axis == 0 else (x, y - 1)
            end = (start[0] + dx, start[1] + dy)
            forward = (step[y, x] > 0) == (axis == 0)
            a, b = (start, end) if forward else (end, start)
            after.setdefault(a, []).append(b)
    found = []
    while after:
        first = next(iter(after))
        ring, here, came = [first], first, (0, 0)
        while True:
            ways = after[here]
            # where two pixels touch at a corner, turn right: the pieces stay apart
            best = max(ways, key=lambda way: came[0] * (way[1] - here[1]) - came[1] * (way[0] - here[0]))
            ways.remove(best)
            if not ways:
                del after[here]
            came, here = (best[0] - here[0], best[1] - here[1]), best
            if here == first:
                break
            ring.append(here)
        found.append(np.array(ring))
    return found
