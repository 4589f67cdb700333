"""Training pairs of PCNet-M from visible masks alone: one object's mask, another's shape laid over or under it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["erase", "place_eraser", "slide"]

Bits = NDArray[np.bool_]


def slide(bits: Bits, right: int, down: int) -> Bits:
    """The picture (S, T) seen through a window moved by (right, down) pixels; empty where there is nothing."""
    height, width = bits.shape
    out = np.zeros_like(bits)
    rows = slice(max(0, down), min(height, height + down))
    columns = slice(max(0, right), min(width, width + right))
    part = bits[rows, columns]
    top, left = max(0, -down), max(0, -right)
    out[top : top + part.shape[0], left : left + part.shape[1]] = part
    return out


def place_eraser(
    target: Bits,
    eraser: Bits,
    rng: np.random.Generator,
    *,
    overlap: tuple[float, float] = (0.4, 1.0),
    covered: tuple[float, float] = (0.001, 0.9),
    tries: int = 100,
) -> Bits:
    """The eraser moved so that its window overlaps the target's by a random share, and it covers some but not all of it.

    The share o is uniform in `overlap`; the offset across is uniform in (o - 1, 1 - o) sides, that down follows from it up to
    its sign (Zhan et al., CVPR 2020, code).

    Args:
        target: the object, (S, S) bool, not empty.
        eraser: another object, (S, S) bool.
        rng: the source of chance.
        overlap: bounds of the share of the windows that overlap.
        covered: the share of the target that must be covered: at least the first, less than the second.
        tries: after so many the last place is taken as it is.

    Returns:
        (S, S) bool.
    """
    side, area = target.shape[0], max(1, int(target.sum()))
    placed = eraser
    for _ in range(tries):
        share = rng.uniform(*overlap)
        across = rng.uniform(share - 1, 1 - share)
        down = (1 - share / (1 - abs(across))) * rng.choice((-1, 1))
        placed = slide(eraser, int(across * side), int(down * side))
        if covered[0] <= (target & placed).sum() / area < covered[1]:
            break
    return placed


def erase(target: Bits, eraser: Bits, rng: np.random.Generator, front: float = 0.8) -> tuple[Bits, Bits]:
    """The network's inputs for a target and a placed eraser: the target is to be recovered from them in both cases.

    With probability `front` the eraser lies in front: what it covers is missing, and must be filled in. Else it lies behind:
    it loses what the target covers, and the network must learn not to grow under it.

    Returns:
        the visible mask and the eraser, (S, S) bool each.
    """
    if rng.random() < front:
        return target & ~eraser, eraser
    return target, eraser & ~target
