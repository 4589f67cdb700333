"""Prompt maps and simulated clicks. NumPy and OpenCV only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.regions import depth

Bits = NDArray[np.bool_]
RADIUS = 4.0
"""Radius of a click's disc in pixels of the view."""


def prompt_maps(
    size: int,
    points: Sequence[tuple[float, float]],
    labels: Sequence[int],
    box: tuple[float, float, float, float] | None,
    last: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """(4, size, size) float32: positive discs, negative discs, box, last mask.

    Args:
        points: Clicks (x, y) in view pixels; pixel (i, j) covers [j, j+1) x [i, i+1).
        labels: 1 on the object, 0 not on it.
        box: Half-open (x0, y0, x1, y1) in view pixels.
        last: The last answer's probability (size, size), if any.
    """
    maps = np.zeros((4, size, size), np.float32)
    for (x, y), label in zip(points, labels, strict=True):
        x0, x1 = int(max(0, x - RADIUS - 1)), int(min(size, x + RADIUS + 2))
        y0, y1 = int(max(0, y - RADIUS - 1)), int(min(size, y + RADIUS + 2))
        if x0 >= x1 or y0 >= y1:
            continue
        xx, yy = np.arange(x0, x1) + 0.5 - x, np.arange(y0, y1) + 0.5 - y
        disc = np.clip(RADIUS + 0.5 - np.hypot(xx[None], yy[:, None]), 0, 1)
        plane = maps[0 if label else 1]
        np.maximum(plane[y0:y1, x0:x1], disc, out=plane[y0:y1, x0:x1])
    if box is not None:
        bx0, by0, bx1, by1 = (round(v) for v in box)
        maps[2, max(0, by0) : max(0, by1), max(0, bx0) : max(0, bx1)] = 1
    if last is not None:
        maps[3] = last > 0.5
    return maps


def next_click(
    prediction: Bits, truth: Bits, rng: np.random.Generator | None = None
) -> tuple[tuple[float, float], int] | None:
    """A click where the prediction errs most: inside the largest wrong component, far from its edge.

    Args:
        rng: With it the click is well inside the component, mostly near its middle, where people click; without it at the
            point farthest from the edge.

    Returns:
        ((x, y), label), or None where there is no error.
    """
    import cv2

    best: tuple[int, Bits, int] | None = None
    for wrong, label in ((truth & ~prediction, 1), (prediction & ~truth, 0)):
        if not wrong.any():
            continue
        _, labels, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        area = int(stats[largest, cv2.CC_STAT_AREA])
        if best is None or area > best[0]:
            best = (area, labels == largest, label)
    if best is None:
        return None
    _, part, label = best
    inside = depth(part)
    if rng is None:
        y, x = np.unravel_index(int(np.argmax(inside)), inside.shape)
    else:
        inner = np.argwhere(inside >= (1 - 0.7 * rng.random() ** 3) * inside.max())
        y, x = inner[int(rng.integers(len(inner)))]
    return (float(x) + 0.5, float(y) + 0.5), label
