"""What one click may mean: of many answers the few that together come closest to whatever is meant.

Every answer is a guess at what is meant. The best is the one with the largest expected IoU over all guesses, so that answers that
agree help each other (empirical minimum Bayes risk: Premachandran, Tarlow and Batra, CVPR 2014). Each further one adds most to the
expected IoU of the best of those chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .views import Found, carry

__all__ = ["CHOICES", "Guess", "best", "choose", "distinct"]

CHOICES = 3
"""Answers to one click, the best with the others."""
SAME = 0.9
"""Answers that overlap more than this (IoU) are the same."""
MOST = 8
"""Different guesses that are looked at from near, the likeliest."""


@dataclass(frozen=True)
class Guess:
    """An answer, and how likely it is what is meant, in relation to other guesses."""

    found: Found
    likely: float


def best(guesses: Sequence[Guess]) -> Found:
    """The answer that is expected to overlap most with what is meant."""
    iou = _overlaps([guess.found for guess in guesses])
    return guesses[int(np.argmax(_likely(guesses) @ iou))].found


def distinct(guesses: Sequence[Guess], first: Found) -> list[Guess]:
    """The guesses without those that are the same as a likelier one, at most `MOST`; the one with `first` comes first."""
    iou = _overlaps([guess.found for guess in guesses])
    order = sorted(range(len(guesses)), key=lambda k: (guesses[k].found is not first, -guesses[k].likely))
    kept: list[int] = []
    for k in order:
        if (iou[k, kept] < SAME).all():
            kept.append(k)
    return [guesses[k] for k in kept[:MOST]]


def choose(guesses: Sequence[Guess]) -> list[Found]:
    """The answers to show: the first, then at most `CHOICES` - 1 others, best first, each different from those before it."""
    iou, likely = _overlaps([guess.found for guess in guesses]), _likely(guesses)
    covered, kept = iou[:, 0], [0]  # covered (N,): of each guess, the IoU with the closest answer that is chosen
    while len(kept) < CHOICES:
        others = [k for k in range(len(guesses)) if (iou[k, kept] < SAME).all()]
        if not others:
            break
        kept.append(max(others, key=lambda k: float(likely @ np.maximum(covered, iou[:, k]))))
        covered = np.maximum(covered, iou[:, kept[-1]])
    return [guesses[k].found for k in kept]


def _likely(guesses: Sequence[Guess]) -> NDArray[np.float64]:
    return np.array([guess.likely for guess in guesses], np.float64)


def _overlaps(found: Sequence[Found]) -> NDArray[np.float64]:
    """IoU (N, N) of answers in any views. What two have in common lies in the smaller window, where it is counted."""
    areas = np.array([np.count_nonzero(f.logits > 0) / f.view.scale**2 for f in found])  # in pixels of the picture
    both = np.zeros((len(found), len(found)))
    for view in {id(f.view): f.view for f in found}.values():
        inside = [k for k, f in enumerate(found) if f.view is view]
        wider = [k for k, f in enumerate(found) if f.view.side >= view.side]
        # (wider, S * S): what is on in this window.
        seen = np.stack([carry(found[k].logits, found[k].view, view).ravel() > 0 for k in wider]).astype(np.float32)
        common = seen[[wider.index(k) for k in inside]] @ seen.T / view.scale**2
        both[np.ix_(inside, wider)], both[np.ix_(wider, inside)] = common, common.T
    either = areas[:, None] + areas - both
    return np.where(either > 0, np.clip(both / np.maximum(either, 1e-9), 0, 1), 1.0)  # two empty answers are the same
