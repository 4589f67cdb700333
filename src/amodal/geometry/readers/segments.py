"""Meshes whose objects are groups of segments, as Matterport3D and ScanNet keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import MALFORMED, DataError
from ...core.files import read_json
from ..mesh import Ints
from ..scene import Instance, SceneGeometry, assemble
from . import UP, ReaderOptions, is_structure
from .ply import Ply

__all__ = ["UNKNOWN", "Labels", "labelled_mesh", "read_groups"]

UNKNOWN = "unlabeled"
"""The label of objects that no file gives one; such objects count as structure."""

Labels = dict[int, tuple[int, str]]
"""Instance id to the object's number in the data set and its label, empty where it has none."""


def read_groups(groups: Path, segments: Path, count: int, what: str) -> tuple[NDArray[np.int32], Labels]:
    """Owner per item of the mesh (0: none), and the labels, from segments and groups of segments.

    Args:
        groups: JSON with `segGroups`.
        segments: JSON with `segIndices`, one per item.
        count: items of the mesh.
        what: what the items are: "faces" or "vertices".

    Raises:
        DataError: malformed, or made for another mesh.
    """
    try:
        segment = np.asarray(read_json(segments, DataError)["segIndices"], np.int64)
        listed = read_json(groups, DataError)["segGroups"]
    except MALFORMED as error:
        raise DataError(f"{segments} needs segIndices and {groups} segGroups") from error
    if len(segment) != count:
        raise DataError(f"{segments} has {len(segment):,} labels, the mesh {count:,} {what}; they must belong together")
    return group_owner(segment, listed)


def group_owner(segment: Ints, groups: list[dict[str, object]]) -> tuple[NDArray[np.int32], Labels]:
    """Owner per item of `segment`, and the labels."""
    owner_of = np.zeros(int(segment.max(initial=0)) + 1, np.int32)
    labels: Labels = {}
    for place, group in enumerate(groups, 1):
        members = np.asarray(group.get("segments", []), np.int64)
        members = members[(members >= 0) & (members < len(owner_of))]
        owner_of[members] = place
        number = group.get("objectId", group.get("id", place))
        labels[place] = (int(str(number)), str(group.get("label") or ""))
    return np.where(segment >= 0, owner_of[np.maximum(segment, 0)], 0).astype(np.int32), labels


def labelled_mesh(
    name: str,
    ply: Ply,
    owner: NDArray[np.int32],
    objects: Mapping[int, tuple[int, str, str]],
    options: ReaderOptions,
    remarks: tuple[str, ...] = (),
) -> SceneGeometry:
    """The scene of a mesh.

    Args:
        name: the scene's name.
        ply: the mesh.
        owner: (F,) instance id per triangle, 0: none.
        objects: instance id to the object's number, label and category; `UNKNOWN` is said of empty ones.
        options: the reader's.
        remarks: what the user should know.
    """
    instances = []
    for identity, (number, known, coarse) in objects.items():
        label, category = known or coarse or UNKNOWN, coarse or known or UNKNOWN
        structure = is_structure((label, category), options.structure)
        instances.append(Instance(identity, f"{number}_{label.replace(' ', '_')}", label, category, structure))
    mesh = replace(ply.mesh.moved(scale=options.scale), up=UP[options.up])
    told = (*remarks, *ply.remarks)
    return assemble(name, mesh, owner, tuple(instances), remarks=told, max_faces=options.max_faces)
