"""All objects of a picture without a prompt: a grid of clicks, filtered by quality and stability, duplicates removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..prompt import Prompt
from ..protocols import Proposal, Tick

if TYPE_CHECKING:
    import torch

    from .sam import Embedded, Sam

__all__ = ["everything", "grid_points", "stability", "unlike"]

OFFSET = 1.0
"""Distance of the strict and the loose threshold from 0, in logits (as in the original program)."""


def everything(sam: Sam, embedded: Embedded, tick: Tick) -> list[Proposal]:
    """Proposals of a grid of clicks, best first. Filters work on the low-resolution masks; only what is left is enlarged."""
    import torch

    options = sam.options
    clicks = grid_points(options.grid, embedded.size)
    kept_masks: list[torch.Tensor] = []
    kept_scores: list[torch.Tensor] = []
    for start in range(0, len(clicks), options.batch):
        tick("point", start, len(clicks))
        group = [Prompt.make(point=click) for click in clicks[start : start + options.batch]]
        logits, scores = sam._predict(embedded, group, multimask=True)
        logits, scores = logits.flatten(0, 1), scores.flatten()
        seen = sam.networks.preprocess.seen(logits, embedded.size)
        good = (scores >= options.quality) & (stability(seen) >= options.stability)
        kept_masks.append(logits[good].cpu())
        kept_scores.append(scores[good].cpu())
    tick("point", len(clicks), len(clicks))
    masks, scores = torch.cat(kept_masks), torch.cat(kept_scores)
    if not len(masks):
        return []
    order = unlike(sam.networks.preprocess.seen(masks, embedded.size) > 0, scores, options.overlap)
    found: list[Proposal] = []
    for index in order:
        found += sam._proposals(masks[index : index + 1], scores[index : index + 1], Prompt(), embedded.size)
    return [proposal for proposal in found if proposal.mask]


def grid_points(side: int, size: tuple[int, int]) -> list[tuple[float, float]]:
    """`side` x `side` points (x, y) in the middles of equal cells of a frame of `size` (H, W), row by row."""
    steps = (np.arange(side) + 0.5) / side
    return [(float(x * size[1]), float(y * size[0])) for y in steps for x in steps]


def stability(logits: torch.Tensor) -> Any:
    """IoU of each mask thresholded strictly and loosely: logits (N, h, w) to (N,); 0 where the loose mask is empty."""
    strict = (logits > OFFSET).flatten(1).sum(1)
    loose = (logits > -OFFSET).flatten(1).sum(1)
    return strict / loose.clamp(min=1)


def unlike(masks: torch.Tensor, scores: torch.Tensor, overlap: float) -> list[int]:
    """Indices of masks (N, h, w), best score first, none of which has an IoU above `overlap` with a better one.

    By the masks' own IoU, not that of their boxes: objects that share a box stay apart.
    """
    import torch

    order = torch.argsort(scores, descending=True, stable=True).tolist()
    flat = masks.flatten(1).to(torch.float32)
    areas = flat.sum(1)
    chosen: list[int] = []
    for index in order:
        if chosen:
            both = flat[chosen] @ flat[index]
            if float((both / (areas[chosen] + areas[index] - both).clamp(min=1)).max()) > overlap:
                continue
        chosen.append(index)
    return chosen
