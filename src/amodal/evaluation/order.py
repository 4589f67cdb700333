"""Occlusion order: who hides whom, as the field scores it, over pairs of objects of one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Sample
from ..mask import Mask

__all__ = ["order_accuracy", "order_from_masks", "order_of", "touching"]

Order = NDArray[np.int8]
"""(n, n) int8: +1 where object i hides object j, -1 where j hides i, 0 where neither is known to."""


def order_of(samples: Sequence[Sample]) -> Order:
    """The true order of a picture's objects, from their `occluders`."""
    place = {sample.id: number for number, sample in enumerate(samples)}
    matrix = np.zeros((len(samples), len(samples)), np.int8)
    for rear, sample in enumerate(samples):
        for name in sample.occluders:
            if name in place:
                matrix[place[name], rear] = 1
                matrix[rear, place[name]] = -1
    return matrix


def touching(visible: Sequence[Mask]) -> NDArray[np.bool_]:
    """(n, n) bool: pairs whose visible masks touch: one grown by one pixel (4-neighbours) meets the other (deocclusion)."""
    out = np.zeros((len(visible), len(visible)), bool)
    for i, mask in enumerate(visible):
        near = [mask.shift(dx, dy) for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
        for j in range(i):
            out[i, j] = out[j, i] = any(part.overlap(visible[j]) for part in near)
    return out


def order_from_masks(amodal: Sequence[Mask], visible: Sequence[Mask]) -> Order:
    """The order that predicted amodal masks imply, for pairs that touch.

    Of a pair, the one whose growth reaches further into the other's visible mask is the occluded one (deocclusion's rule);
    no growth on either side leaves 0.
    """
    matrix = np.zeros((len(amodal), len(amodal)), np.int8)
    pairs = np.argwhere(np.triu(touching(visible)))
    for i, j in pairs.tolist():
        i_under = (amodal[i] - visible[i]).overlap(visible[j])
        j_under = (amodal[j] - visible[j]).overlap(visible[i])
        matrix[i, j] = np.sign(j_under - i_under)
        matrix[j, i] = -matrix[i, j]
    return matrix


def order_accuracy(predicted: Order, truth: Order, pairs: NDArray[np.bool_] | None = None) -> tuple[int, int]:
    """Right pairs and all pairs, each pair once.

    Args:
        predicted: as `Order`.
        truth: as `Order`.
        pairs: (n, n) bool, which pairs count; None counts those with a true order (deocclusion: of touching pairs).
    """
    count = np.triu(truth != 0 if pairs is None else pairs, 1)
    return int(np.count_nonzero((predicted == truth) & count)), int(np.count_nonzero(count))
