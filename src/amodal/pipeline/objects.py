"""All objects of a scene: the segmenter's own answer where it has one, else a grid of clicks kept where clicks agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.errors import PromptError
from ..core.mask import Mask
from ..core.prompt import Prompt
from ..core.regions import deepest
from ..plugins.protocols import Progress, Proposal, frame_of, no_progress

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["by_clicks", "find_objects"]

SMALLEST, LARGEST = 0.004, 0.7
"""Shares of the picture between which a region counts as an object."""


def find_objects(scene: Scene, *, clicks: int = 8, progress: Progress = no_progress) -> list[Proposal]:
    """The visible masks of all objects, largest first, none a copy of another.

    A segmenter with the verb `segment_everything(image, progress) -> list[Proposal]` answers itself. For others: clicks on a grid; a
    region is kept if a second click, deep inside it, finds the same region (SAM's stability idea with clicks).

    Args:
        scene: the opened image.
        clicks: clicks along the longer side, without that verb.
        progress: `progress("click", done, total)`.
    """
    own: Callable[..., list[Proposal]] | None = getattr(scene.model.segmenter, "segment_everything", None)
    size = frame_of(scene.image)
    total = size[0] * size[1]
    try:
        found = own(scene.image, progress) if own is not None else by_clicks(scene, clicks, progress)
    except PromptError:  # it needs prompts
        found = by_clicks(scene, clicks, progress)
    kept: list[Proposal] = []
    for proposal in sorted(found, key=lambda p: (-(p.score or 0.0), -p.mask.area)):
        mask = proposal.mask.clip(size)
        if SMALLEST * total <= mask.area <= LARGEST * total and all(mask.iou(other.mask) < 0.6 for other in kept):
            kept.append(Proposal(mask, proposal.score))
    return sorted(kept, key=lambda p: (-p.mask.area, p.mask.box))


def by_clicks(scene: Scene, clicks: int, progress: Progress) -> list[Proposal]:
    """The regions that two clicks agree on; see `find_objects`."""
    height, width = frame_of(scene.image)
    step = max(height, width) / clicks
    points = [
        ((column + 0.5) * width / max(1, round(width / step)), (row + 0.5) * height / max(1, round(height / step)))
        for row in range(max(1, round(height / step)))
        for column in range(max(1, round(width / step)))
    ]
    found: list[Proposal] = []
    for done, point in enumerate(points, 1):
        progress("click", done, len(points))
        if any(_holds(proposal.mask, point) for proposal in found):
            continue
        first = _click(scene, point)
        if first is None or first.mask.area > LARGEST * height * width:
            continue
        second = _click(scene, deepest(first.mask))
        if second is None:
            continue
        agreement = first.mask.iou(second.mask)
        if agreement > 0.7:
            found.append(Proposal(second.mask, agreement))
    return found


def _click(scene: Scene, point: tuple[float, float]) -> Proposal | None:
    try:
        return scene.segment(prompt=Prompt.make(point=point))[0]
    except PromptError:
        return None


def _holds(mask: Mask, point: tuple[float, float]) -> bool:
    column, row = int(point[0]) - mask.origin[0], int(point[1]) - mask.origin[1]
    return 0 <= row < mask.bits.shape[0] and 0 <= column < mask.bits.shape[1] and bool(mask.bits[row, column])
