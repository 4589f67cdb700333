"""Which projected objects become samples, and why the others do not (Zhan et al., section 3.2)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ...core.mask import Mask, Size
from ...core.options import Options
from ...core.regions import connected
from ...geometry.project import Projection
from ...geometry.scene import SceneGeometry

__all__ = ["SelectOptions", "components", "depth_order", "order_graph", "select"]


PAPER: dict[str, Any] = {
    "min_amodal": 1,
    "min_visible": 1,
    "max_occluded": 1.0,
    "max_components": None,
    "max_open_edges": 1.0,
    "structure": True,
}
"""What `preset = "paper"` sets: nothing but the rule area(amodal) > 1.2 area(visible), for objects of every category."""


class SelectOptions(Options):
    """The automatic selection; what it keeps goes to `amodal data review`. Each filter counts what it drops."""

    preset: Literal["own", "paper"] = Field(
        "own",
        description="paper: the rule of section 3.2 alone, all categories; what else is set here comes on top. own: the defaults below",
    )
    ratio: float = Field(
        1.2, ge=0, description="keep objects whose amodal area is more than this times their visible area; 0 keeps all"
    )
    min_amodal: int = Field(1000, ge=1, description="smallest amodal area in the frame, pixels")
    min_visible: int = Field(100, ge=0, description="smallest visible area, pixels")
    max_occluded: float = Field(0.95, ge=0, le=1, description="largest share of the object that may be occluded")
    max_components: int | None = Field(
        4, ge=1, description="most pieces of the visible mask, none: any number; specks below 1 % of it do not count"
    )
    structure: bool = Field(False, description="keep parts of the building too (floors, walls, ceilings)")
    max_open_edges: float = Field(
        0.5, ge=0, le=1, description="completeness: largest share of mesh edges with a face on one side only"
    )
    cut_off: bool = Field(True, description="keep objects that leave the frame")
    min_gap: float = Field(
        0.02, ge=0, description="an occluder is named if it hides more than this share of the object"
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """The preset's values, below those that are given."""
        paper = isinstance(values, dict) and values.get("preset") == "paper"
        return {**PAPER, **values} if paper else values


def select(scene: SceneGeometry, projection: Projection, options: SelectOptions) -> tuple[list[int], dict[int, str]]:
    """The ids of the objects to keep, and for every other projected object the reason, in a few words."""
    kept, reasons = list[int](), dict[int, str]()
    size = projection.labels.shape
    for identity, amodal in projection.amodal.items():
        instance = scene.instance(identity)
        reason = "part of the building" if instance.structure and not options.structure else ""
        reason = reason or flaw(projection.visible[identity], amodal, (size[0], size[1]), options)
        if not reason and instance.open_edges > options.max_open_edges:
            reason = "incomplete mesh"
        if reason:
            reasons[identity] = reason
        else:
            kept.append(identity)
    return kept, reasons


def flaw(visible: Mask, amodal: Mask, size: Size, options: SelectOptions) -> str:
    """What keeps a pair of masks from being a sample; empty if nothing does."""
    x0, y0, x1, y1 = amodal.box
    touches = x0 <= 0 or y0 <= 0 or x1 >= size[1] or y1 >= size[0]
    area = amodal.clip(size).area if touches else amodal.area
    if area < options.min_amodal:
        return "too small"
    if visible.area < max(1, options.min_visible) or visible.area < (1 - options.max_occluded) * area:
        return "too little visible"
    if area <= options.ratio * visible.area:
        return "not occluded enough"
    if touches and not options.cut_off:
        return "cut off by the frame"
    if options.max_components is not None and components(visible) > options.max_components:
        return "too many pieces"
    return ""


def components(mask: Mask) -> int:
    """The number of 8-connected pieces with at least 1 % of the mask's pixels."""
    return sum(part.area >= 0.01 * mask.area for part in connected(mask))


def order_graph(projection: Projection) -> dict[int, dict[int, int]]:
    """Who hides whom: object id to {occluder id: hidden pixels}; 0 stands for surfaces of no object."""
    return {identity: projection.occluders(identity) for identity in projection.amodal}


def depth_order(graph: dict[int, dict[int, int]]) -> dict[int, int]:
    """The depth order: 1 for objects that nothing hides, else one more than the largest order of their occluders.

    Of two that hide each other (interleaved shapes) the one is behind of which more pixels are hidden. Objects that hide each
    other in a circle share their order, as if they were one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = {identity: number for number, identity in enumerate(graph)}
    pairs = [
        (place[identity], place[other])
        for identity, row in graph.items()
        for other, count in row.items()
        if other in place and count > graph[other].get(identity, 0)
    ]
    rear, front = np.array(pairs, np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (rear, front)), shape=(len(graph), len(graph)))
    _, circle = connected_components(links, connection="strong")
    # Between circles there is no way back, so that this ends.
    rear, front = circle[rear], circle[front]
    rear, front = rear[rear != front], front[rear != front]
    order = np.ones(len(graph), np.int64)  # of each circle
    while True:
        after = np.ones_like(order)
        np.maximum.at(after, rear, order[front] + 1)
        if np.array_equal(after, order):
            return {identity: int(order[circle[number]]) for identity, number in place.items()}
        order = after
