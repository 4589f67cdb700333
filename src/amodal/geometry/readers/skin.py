"""Skeletons of glTF files: the vertices of a mesh with a skin follow its joints, as the file's nodes place them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...core.errors import DataError
from ..camera import Floats
from .accessors import File, Primitive

__all__ = ["bend", "bones"]


def bones(file: File, number: int, poses: Mapping[int, Floats]) -> Floats:
    """What each joint of a skin does to the vertices that hang on it: (J, 4, 4), from the mesh's own axes to the world.

    Args:
        file: the file.
        number: of the skin.
        poses: the world transforms (4, 4) of the file's nodes by their number.

    Raises:
        DataError: joints or matrices are not there.
    """
    skin = file.row("skins", number)
    absent = [joint for joint in skin["joints"] if joint not in poses]
    if absent:
        raise DataError(f"its skeleton's joint {absent[0]} is no node of the scene")
    world = np.stack([poses[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" not in skin:
        return world
    binds = file.accessor(skin["inverseBindMatrices"]).astype(np.float64).reshape(-1, 4, 4)[: len(world)]
    if len(binds) < len(world):
        raise DataError(f"its skeleton has {len(world)} joints and {len(binds)} inverseBindMatrices")
    return np.asarray(world @ binds.transpose(0, 2, 1))  # matrices are written column by column


def bend(found: Primitive, joints: Floats) -> Primitive:
    """A primitive in the world: each vertex moved by the mean of its joints' transforms (J, 4, 4), by their weights.

    Raises:
        DataError: a vertex hangs on no joint, or on one that is not there.
    """
    points = found.attributes["POSITION"]
    blend, total = np.zeros((len(points), 4, 4)), np.zeros(len(points))
    for name in [each for each in found.attributes if each.startswith("JOINTS_")]:
        which = found.attributes[name].astype(np.int64)  # (V, 4)
        weights = np.asarray(found.attributes[name.replace("JOINTS", "WEIGHTS")], np.float64)
        if which.size and which.max() >= len(joints):
            raise DataError(f"its vertices hang on joint {which.max()}, and its skeleton has {len(joints)}")
        for k in range(which.shape[1]):
            blend += weights[:, k, None, None] * joints[which[:, k]]
            total += weights[:, k]
    if not (total > 0).all():
        raise DataError(f"{np.count_nonzero(~(total > 0)):,} of its vertices hang on no joint of its skeleton")
    blend /= total[:, None, None]
    moved = {"POSITION": np.einsum("vij,vj->vi", blend[:, :3, :3], points) + blend[:, :3, 3]}
    if "NORMAL" in found.attributes:
        moved["NORMAL"] = np.einsum("vij,vj->vi", blend[:, :3, :3], found.attributes["NORMAL"].astype(np.float64))
    return replace(found, attributes={**found.attributes, **moved})
