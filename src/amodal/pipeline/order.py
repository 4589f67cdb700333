"""Who hides whom: the pairwise occlusion order of the objects of a picture, recovered from their masks.

An order is an (N, N) int8 matrix, antisymmetric: `order[i, j]` is 1 where object i lies in front of (hides) object j, -1 where
it lies behind j, 0 where they do not touch or neither hides the other. The rules are those of Zhan et al., "Self-Supervised
Scene De-occlusion", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.crop import Crop
from ..core.errors import MaskError
from ..core.mask import Mask, grown, overlap
from ..core.regions import convex_hull
from ..plugins.protocols import Progress, no_progress

if TYPE_CHECKING:
    from ..data import Sample

__all__ = [
    "Completer",
    "Order",
    "OrderCount",
    "ancestors",
    "cycles",
    "dilate",
    "front_to_back",
    "layers",
    "order_accuracy",
    "order_by_area",
    "order_by_completion",
    "order_by_hull",
    "order_by_y",
    "order_from_masks",
    "order_of_samples",
    "to_dot",
    "touching",
    "touching_pairs",
]

Order = NDArray[np.int8]

Completer = Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float32]]
"""Visible crops (N, S, S), 0 or the object's value, and the crops of what may hide them (N, S, S) bool to amodal probabilities
(N, S, S) float32."""

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def touching(a: Mask, b: Mask) -> bool:
    """Whether the masks overlap or have pixels side by side (diagonal neighbours do not count)."""
    if not a or not b:
        return False
    box = overlap(grown(a.box, 1), grown(b.box, 1))
    if box[0] >= box[2] or box[1] >= box[3]:
        return False
    import cv2

    near = cv2.dilate(a.crop(box).astype(np.uint8), CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return bool((near.astype(bool) & b.crop(box)).any())


def touching_pairs(masks: Sequence[Mask]) -> list[tuple[int, int]]:
    """All (i, j) with i < j whose masks touch."""
    return [(i, j) for i in range(len(masks)) for j in range(i + 1, len(masks)) if touching(masks[i], masks[j])]


def order_by_area(visible: Sequence[Mask], front: Literal["smaller", "larger"] = "smaller") -> Order:
    """Of two that touch, the smaller one (the rule for COCO-A) or the larger one (for KINS) is in front."""
    if front not in ("smaller", "larger"):
        raise MaskError(f"front must be 'smaller' or 'larger', got {front!r}")
    if front == "smaller":
        return _by_rank(visible, [-mask.area for mask in visible], equal=-1)
    return _by_rank(visible, [mask.area for mask in visible])


def order_by_y(visible: Sequence[Mask]) -> Order:
    """Of two that touch, the one whose centre of mass lies lower in the picture is in front."""
    return _by_rank(
        visible, [float(np.nonzero(mask.bits)[0].mean()) + mask.origin[1] if mask else 0 for mask in visible]
    )


def order_by_hull(visible: Sequence[Mask]) -> Order:
    """Of two that touch, the one is behind whose convex hull, without itself, covers more of the other's visible pixels."""
    added = [convex_hull(mask) - mask if mask else mask for mask in visible]

    def occluded(pairs: Sequence[tuple[int, int]]) -> list[float]:
        return [added[i].overlap(visible[j]) for i, j in pairs]

    return _by_occlusion(len(visible), touching_pairs(visible), occluded)


def order_by_completion(
    visible: Sequence[Mask],
    complete: Completer,
    *,
    size: int = 256,
    threshold: float = 0.1,
    widen: int = 0,
    enlarge: float = 3.0,
    margin: float = 1.1,
    batch: int = 8,
    values: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> Order:
    """Of two that touch, the one is behind that a network completes further under the other.

    Each object of each pair is completed with the other as eraser; what it gains under it, in image pixels, is compared.

    Args:
        visible: visible masks, possibly with gaps between them.
        complete: the network; PCNet-M in the paper.
        size: side of its crops.
        threshold: on its probability.
        widen: pixels by which masks grow before they are compared, so that gaps between predicted masks are bridged
            (3 to 5 for those).
        enlarge: of the crop, see `Crop.around`.
        margin: of the crop.
        batch: pairs that pass the network together.
        values: what the mask channel holds on each object; None: 1.
        progress: progress, by pairs.
    """
    wide = [dilate(mask, widen) for mask in visible]
    pairs = touching_pairs(wide)
    crops = [Crop.around(mask.box, size, enlarge=enlarge, margin=margin) if mask else None for mask in wide]

    def occluded(wanted: Sequence[tuple[int, int]]) -> list[float]:
        gains: list[float] = []
        for start in range(0, len(wanted), batch):
            # Per pair (i, j), in the crop of i: what i shows, and j as the eraser, (B, S, S) bool each.
            chosen = [(crops[i], i, j) for i, j in wanted[start : start + batch]]
            erasers = np.stack([crop.bits(wide[j]) for crop, _, j in chosen if crop])
            given = np.stack([crop.bits(wide[i]) for crop, i, _ in chosen if crop]) & ~erasers
            value = np.array([values[i] if values else 1 for _, i, _ in chosen], np.float32)[:, None, None]
            # What i gains under j, in crop pixels; its square with the side's ratio makes image pixels of them.
            gained = (complete(given * value, erasers) > threshold) & ~given & erasers
            for (crop, _, _), bits in zip(chosen, gained, strict=True):
                gains.append(int(bits.sum()) * ((crop.side if crop else 0) / size) ** 2)
            progress("pair", len(gains), len(wanted))
        return gains

    return _by_occlusion(len(visible), pairs, occluded)


def order_from_masks(visible: Sequence[Mask], amodal: Sequence[Mask]) -> Order:
    """The order that whole objects tell, true or predicted: of two that touch, the one is behind of which more pixels coincide
    with the other's visible ones. 0 where none does; where both have equally many, the first is in front.

    This is deocclusion's true order for data sets that annotate none; where visible masks overlap, both sides count that.

    Raises:
        MaskError: not as many amodal as visible masks.
    """
    if len(visible) != len(amodal):
        raise MaskError(f"{len(visible)} visible and {len(amodal)} amodal masks; one of each per object is needed")

    def occluded(pairs: Sequence[tuple[int, int]]) -> list[float]:
        return [amodal[i].overlap(visible[j]) for i, j in pairs]

    return _by_occlusion(len(visible), touching_pairs(visible), occluded, equal=1)


def order_of_samples(samples: Sequence[Sample]) -> Order:
    """The true order of one picture's objects: as annotated (`occluders`), or from the masks where none of it is annotated, and
    between two that hide each other.

    A depth order without a word of who hides whom is an annotation only where nothing is hidden: files that lack COCO-A's
    `depth_constraint` may still number their regions.
    """
    ordered = any(sample.order is not None for sample in samples) and not any(sample.occluded for sample in samples)
    visible, amodal = [sample.visible for sample in samples], [sample.amodal for sample in samples]
    if not ordered and not any(sample.occluders for sample in samples):
        return order_from_masks(visible, amodal)
    place = {sample.id: number for number, sample in enumerate(samples)}
    hides = np.zeros((len(samples), len(samples)), np.int8)
    for rear, sample in enumerate(samples):
        hides[[place[name] for name in sample.occluders if name in place], rear] = 1
    order: Order = hides - hides.T
    for i, j in np.argwhere(np.triu(hides & hides.T, 1)).tolist():
        order[i, j] = order_from_masks([visible[i], visible[j]], [amodal[i], amodal[j]])[0, 1]
        order[j, i] = -order[i, j]
    return order


class OrderCount(NamedTuple):
    """Pairs of a picture's objects, each once: deocclusion's `acc_occpair` is right / known, its `acc_allpair` right_all / all."""

    right: int
    known: int
    right_all: int
    all: int


def order_accuracy(predicted: Order, truth: Order) -> OrderCount:
    """How many pairs with a true order are ordered right, and how many of all pairs (where none hides the other: 0)."""
    # The upper triangle has each pair once.
    known, pairs = np.triu(truth != 0, 1), np.triu(np.ones_like(truth, bool), 1)
    right = (predicted == truth) & pairs
    return OrderCount(*(int(np.count_nonzero(part)) for part in (right & known, known, right, pairs)))


def dilate(mask: Mask, pixels: int) -> Mask:
    """The mask grown by a (2 pixels + 1) square."""
    if not pixels or not mask:
        return mask
    import cv2

    # Room to grow on every side; the origin moves along.
    padded = np.pad(mask.bits.astype(np.uint8), pixels)
    grown = cv2.dilate(padded, np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8))
    return Mask.from_array(grown.astype(bool), (mask.origin[0] - pixels, mask.origin[1] - pixels))


def ancestors(order: Order, index: int) -> list[int]:
    """All that lie in front of an object, directly or through others; cycles are followed once, the object itself is not listed."""
    seen: set[int] = set()
    queue = [index]
    while queue:
        for front in np.flatnonzero(order[queue.pop()] == -1).tolist():
            if front not in seen:
                seen.add(front)
                queue.append(front)
    return sorted(seen - {index})


def cycles(order: Order) -> list[list[int]]:
    """Groups of objects that hide each other in a ring, so that no depth order of them exists."""
    above = [set(ancestors(order, i)) for i in range(len(order))]
    groups: dict[tuple[int, ...], None] = {}
    for i, fronts in enumerate(above):
        # j hides i and i hides j, perhaps through others: one ring.
        ring = tuple(sorted({i} | {j for j in fronts if i in above[j]}))
        if len(ring) > 1:
            groups[ring] = None
    return [list(ring) for ring in groups]


def layers(order: Order) -> list[list[int]]:
    """Objects by depth, front to back: each lies behind something of the layer before. Rings share a layer."""
    above = [set(ancestors(order, i)) for i in range(len(order))]
    # Without the members of its own ring, so that a depth exists; those with fewest in front come first.
    strictly = [{j for j in fronts if i not in above[j]} for i, fronts in enumerate(above)]
    depth = [0] * len(order)
    for i in sorted(range(len(order)), key=lambda i: len(strictly[i])):
        depth[i] = 1 + max((depth[j] for j in strictly[i]), default=-1)
    return [[i for i in range(len(order)) if depth[i] == level] for level in range(max(depth, default=-1) + 1)]


def front_to_back(visible: Sequence[Mask], amodal: Sequence[Mask]) -> list[int]:
    """One object after the other, nearest first: i is before j where visible pixels of i lie inside the whole j.

    Pairs are weighed by the number of such pixels; a ring is broken where the fewest pixels disagree.
    """
    count = len(visible)
    weight = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if i != j:
                weight[i, j] = visible[i].overlap(amodal[j])
    # net[i, j]: by how many pixels i is rather before j than behind it. The one with least before it is taken, again and again.
    net = np.maximum(weight - weight.T, 0)
    left = list(range(count))
    sequence = []
    while left:
        behind = {i: sum(net[j, i] for j in left) for i in left}
        nearest = min(left, key=lambda i: (behind[i], i))
        sequence.append(nearest)
        left.remove(nearest)
    return sequence


def to_dot(order: Order, names: Sequence[str]) -> str:
    """The order as a Graphviz digraph: an arrow from each object to what it hides."""
    quoted = ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names]
    lines = [f"  {name};" for name in quoted]
    lines += [f"  {quoted[i]} -> {quoted[j]};" for i, j in np.argwhere(order == 1).tolist()]
    return "digraph occlusion {\n" + "\n".join(lines) + "\n}\n"


def _by_rank(visible: Sequence[Mask], rank: Sequence[float], equal: int = 1) -> Order:
    """The higher rank in front; `equal` is the sign for the first of two that are equal."""
    order = np.zeros((len(visible), len(visible)), np.int8)
    for i, j in touching_pairs(visible):
        order[i, j] = np.sign(rank[i] - rank[j]) or equal
        order[j, i] = -order[i, j]
    return order


def _by_occlusion(count: int, pairs: Sequence[tuple[int, int]], occluded: Any, equal: int = 0) -> Order:
    """Order from how much of the first of a pair would lie under the second: the larger amount is behind.

    `equal` is the sign for the first of two that have equal amounts above 0.
    """
    order = np.zeros((count, count), np.int8)
    # Both directions in one call: networks then run in full batches.
    both = [pair for i, j in pairs for pair in ((i, j), (j, i))]
    amount = dict(zip(both, occluded(both), strict=True)) if both else {}
    for i, j in pairs:
        order[i, j] = int(np.sign(amount[j, i] - amount[i, j])) or (equal if amount[i, j] else 0)
        order[j, i] = -order[i, j]
    return order
