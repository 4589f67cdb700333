"""Checks and statistics of a data set: what is invalid in it, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import AmodalError
from ..core.image import size_and_turn
from ..core.mask import Mask
from ..plugins.protocols import Progress, no_progress
from .sample import Dataset, Sample

__all__ = ["Finding", "check", "statistics"]

EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set: `kind` in a word, the object's or image's id, and what it is.

    `serious` ones make results wrong; the others are quirks.
    """

    kind: str
    id: str
    text: str
    serious: bool = True

    def __str__(self) -> str:
        return f"{'problem' if self.serious else 'note'}: {self.kind}: {self.id}: {self.text}"


def check(
    data: Dataset, limit: int | None = None, *, images: bool = False, progress: Progress = no_progress
) -> list[Finding]:
    """Everything that is wrong with a data set that was opened with `skip_bad`.

    Args:
        data: the data set.
        limit: only the first objects.
        images: also decode every photo; their sizes are compared by their headers in any case.
        progress: called as ("object", done, total).
    """
    missing = set(data.missing())
    found = [Finding("missing image", path.name, f"{path} is absent") for path in sorted(missing)]
    done, total = 0, min(len(data), limit or len(data))
    for scene in data.scenes(limit):
        for sample in scene:
            found += check_sample(sample)
            done += 1
            progress("object", done, total)
        found += check_scene(scene)
        if scene[0].picture not in missing:
            found += check_picture(scene[0], decode=images)
    bad = [
        Finding("bad entry", problem.id, f"{problem.text} ({problem.source})")
        for problem in dict.fromkeys(data.problems)
    ]
    return found + bad + [Finding("note", data.name, text, serious=False) for text in data.notes]


def check_sample(sample: Sample) -> list[Finding]:
    """One object: masks not empty, inside each other and the frame."""
    found = []
    frame = Mask.from_box((0, 0, sample.size[1], sample.size[0]))
    if not sample.amodal:
        found.append(Finding("empty", sample.id, "the amodal mask has no pixel"))
    outside = sample.visible.area - sample.visible.overlap(sample.amodal)
    if outside:
        share = outside / sample.visible.area
        text = f"{outside} visible pixels ({share:.1%}) are not in the amodal mask"
        found.append(Finding("visible outside of amodal", sample.id, text, serious=share > 0.01))
    if not frame.contains(sample.visible):
        found.append(Finding("outside of the frame", sample.id, "the visible mask leaves the frame"))
    if not sample.beyond_frame and not frame.contains(sample.amodal):
        found.append(Finding("outside of the frame", sample.id, "the amodal mask leaves the frame"))
    if sample.amodal and not sample.visible:
        found.append(
            Finding("unseen", sample.id, "no pixel of it is visible, so that nothing can prompt it", serious=False)
        )
    return found


def check_picture(sample: Sample, decode: bool) -> list[Finding]:
    """The photo of a sample: whether it is a picture of the size that the annotation states."""
    try:
        if decode or not isinstance(sample.picture, Path):
            _ = sample.image
        if isinstance(sample.picture, Path):
            size, turn = size_and_turn(sample.picture)
            if not sample.scaled:
                sample.check_size(size)
            if turn in (2, 3, 4) or (turn > 4 and size[0] == size[1]):
                text = f"EXIF turns {sample.picture} and its size stays: look whether the masks fit the upright photo, as it is read"
                return [Finding("turned", sample.image_id, text, serious=False)]
    except AmodalError as error:
        return [Finding("image", sample.image_id, str(error))]
    return []


def check_scene(scene: Sequence[Sample]) -> list[Finding]:
    """One picture: no mask twice, no object that hides itself, no cycle of occlusion."""
    found = []
    seen: dict[Mask, str] = {}
    for sample in scene:
        first = seen.setdefault(sample.amodal, sample.id)
        if first != sample.id and sample.amodal:
            found.append(Finding("duplicate", sample.id, f"its amodal mask is that of {first}", serious=False))
    cycle = find_cycle({sample.id: sample.occluders for sample in scene})
    if cycle:
        found.append(Finding("order cycle", cycle[0], " hides ".join(cycle[::-1]), serious=False))
    return found


def find_cycle(behind: dict[str, tuple[str, ...]]) -> list[str]:
    """A cycle in a graph of ids (each with the ids in front of it), first = last; empty if there is none."""
    state: dict[str, int] = {}
    for start, front in behind.items():
        path = [start]
        stack = [iter(front)] if state.get(start, 0) == 0 else []
        state[start] = state.get(start, 0) or 1
        while stack:
            step = next(stack[-1], None)
            if step is None:
                state[path.pop()] = 2
                stack.pop()
            elif state.get(step, 0) == 1:
                return [*path[path.index(step) :], step]
            elif state.get(step, 0) == 0 and step in behind:
                state[step] = 1
                path.append(step)
                stack.append(iter(behind[step]))
    return []


def statistics(data: Dataset, limit: int | None = None, *, progress: Progress = no_progress) -> dict[str, Any]:
    """What is in a data set, JSON-ready: counts, the histogram of occlusion, areas, objects an image, categories, kinds, sizes.

    `labels` is the number of different categories. Areas are of the amodal mask, in pixels; `occlusion_percent` counts objects with
    low < share occluded <= high, 0 by itself.
    """
    areas, shares, per_image = [], [], []
    categories: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    stuff = ordered = leaving = 0
    total = min(len(data), limit or len(data))
    for scene in data.scenes(limit):
        per_image.append(len(scene))
        sizes[f"{scene[0].size[1]} x {scene[0].size[0]}"] += 1
        for sample in scene:
            areas.append(sample.amodal.area)
            shares.append(sample.occlusion_rate)
            categories[sample.category or "(none)"] += 1
            kinds[str(sample.extra.get("kind", "(none)"))] += 1
            stuff += sample.stuff
            ordered += bool(sample.occluders)
            x0, y0, x1, y1 = sample.amodal.box
            leaving += x0 < 0 or y0 < 0 or x1 > sample.size[1] or y1 > sample.size[0]
            progress("object", len(areas), total)
    occlusion = {"0": int(np.count_nonzero(np.asarray(shares) <= 0))}
    for low, high in pairwise(EDGES):
        inside = (np.asarray(shares) > low) & (np.asarray(shares) <= high)
        occlusion[f"{100 * low:g}-{100 * high:g}"] = int(np.count_nonzero(inside))
    return {
        "data": data.to_dict(),
        "objects": len(areas),
        "images": len(per_image),
        "stuff": stuff,
        "with_known_occluders": ordered,
        "beyond_frame": leaving,
        "labels": len(categories.keys() - {"(none)"}),
        "bad_entries": len(dict.fromkeys(data.problems)),
        "occlusion_percent": occlusion,
        "area": _spread(areas),
        "objects_per_image": _spread(per_image),
        "categories": dict(categories.most_common()),
        "kinds": dict(kinds.most_common()),
        "sizes": dict(sizes.most_common(10)),
    }


def _spread(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    names = ("lowest", "quarter", "median", "three_quarters", "highest")
    return {name: float(value) for name, value in zip(names, np.percentile(values, [0, 25, 50, 75, 100]), strict=True)}
