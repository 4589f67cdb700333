"""All objects of a picture at once: a grid of clicks in one coarse look, then one look from near at each different answer.

A region counts as an object if a click deep inside it finds the same region again from near (SAM's stability, with clicks).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.prompt import Prompt
from ...plugins.protocols import Progress
from .prompts import next_click, prompt_maps
from .scene import Scene
from .views import Decode, Floats, Found, carry, extent

__all__ = ["everything"]

CLICKS = 10
"""Clicks along the longer side."""
BATCH = 16
"""Clicks that the head answers together; bounds the memory."""
SMALLEST = 0.002
"""Least share of the look that an answer covers."""
SAME = 0.5
"""Answers that overlap more than this (IoU) are of one object: the best is looked at from near."""
AGREE = 0.6
"""Least IoU of a region with what is found from near by a click inside it."""
STEADY = 1.0
"""An answer is steady if it hardly changes between the logits -STEADY and STEADY (SAM's stability score)."""
WORTH = 0.25
"""Answers of a higher worth are looked at from near: the IoU that they may have times their steadiness."""
FEWEST, MOST = 16, 48
"""So many answers, the best ones, are looked at in any case, and at most."""


@dataclass(frozen=True)
class Candidate:
    """An answer of the coarse look: (S, S) float32 logits and the IoU that it may have."""

    logits: Floats
    score: float

    @property
    def worth(self) -> float:
        """How much it promises, in [0, 1]. Small things have low scores in the coarse look, but steady answers."""
        narrow, wide = (int(np.count_nonzero(self.logits > level)) for level in (STEADY, -STEADY))
        return self.score * narrow / max(wide, 1)


def everything(decode: Decode, scene: Scene, progress: Progress) -> Iterator[tuple[Found, Prompt]]:
    """Each object as an answer in a near view, with the click that found it; the score is its agreement with the coarse look.

    Args:
        decode: the head.
        scene: the open picture.
        progress: `progress("object", done, total)`.
    """
    whole = scene.whole
    chosen = _different(_glance(decode, scene))
    for done, one in enumerate(chosen, 1):
        bits = one.logits > 0
        click, _ = next_click(np.zeros_like(bits), bits) or ((whole.size / 2, whole.size / 2), 1)
        height, width = scene.image.shape[:2]
        x, y = whole.x0 + click[0] / whole.scale, whole.y0 + click[1] / whole.scale
        prompt = Prompt.make(point=(min(max(x, 0.5), width - 0.5), min(max(y, 0.5), height - 0.5)))
        coarse = Found(one.logits, whole, one.score)
        near = scene.ask(decode, scene.near(extent(one.logits, whole, prompt)), prompt, coarse)[0]
        agreement = _iou(carry(near.logits, near.view, whole) > 0, bits)
        progress("object", done, len(chosen))
        if agreement >= AGREE:
            yield Found(near.logits, near.view, agreement), prompt


def _glance(decode: Decode, scene: Scene) -> list[Candidate]:
    """Every answer to every click of a grid, in the coarse look at the whole frame."""
    view = scene.whole
    height, width = (n * view.scale for n in scene.image.shape[:2])
    step = view.size / CLICKS
    down, across = (max(1, round(n / step)) for n in (height, width))
    left, top = view.place(0, 0)
    points = [
        (left + (column + 0.5) * width / across, top + (row + 0.5) * height / down)
        for row in range(down)
        for column in range(across)
    ]
    found: list[Candidate] = []
    for start in range(0, len(points), BATCH):
        maps = np.stack([prompt_maps(view.size, [point], [1], None, None) for point in points[start : start + BATCH]])
        logits, scores = decode(np.repeat(view.features, len(maps), 0), maps)
        size = logits.shape[-1]
        found += [
            Candidate(answer, float(score))
            for answer, score in zip(logits.reshape(-1, size, size), scores.ravel(), strict=True)
        ]
    return found


def _different(found: list[Candidate]) -> list[Candidate]:
    """Those to look at: the best of the answers that are alike, best first."""
    worth = {id(one): one.worth for one in found}
    ordered = sorted(found, key=lambda one: -worth[id(one)])
    bits = np.stack([one.logits.ravel() > 0 for one in ordered]).astype(np.float32)
    areas = bits.sum(1)
    both = bits @ bits.T
    iou = both / np.maximum(areas[:, None] + areas - both, 1)
    kept: list[int] = []
    for k in range(len(ordered)):
        if len(kept) == MOST or (len(kept) >= FEWEST and worth[id(ordered[k])] < WORTH):
            break
        if areas[k] >= SMALLEST * bits.shape[1] and (iou[k, kept] < SAME).all():
            kept.append(k)
    return [ordered[k] for k in kept]


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    either = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / either if either else 0.0
