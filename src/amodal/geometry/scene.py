"""`SceneGeometry`: a mesh whose faces belong to objects; `Instance` is one object. World units are metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError
from .mesh import Floats, Ints, Mesh

__all__ = ["Instance", "SceneGeometry", "assemble", "check_count", "distinct"]

MANY_FACES = 5_000_000
"""Scenes of so many faces are told to need memory. Measured for ten million: 2.3 GB with the reading of the file, and 1.6 GB
more for the ray caster of pictures."""


FARTHEST = 1e7
"""Metres from the origin; nothing that is farther away is a place in a scene."""


@dataclass(frozen=True)
class Instance:
    """One object of a scene.

    Attributes:
        id: 1 or more; 0 is every face that belongs to no object.
        name: unique in the scene.
        label: what it is, in the data set's own fine words ("dining chair").
        category: the coarse category ("chair"); the label where the data set has only one level.
        structure: floor, wall, ceiling and the like: hides other objects, but is never a sample itself.
        open_edges: share of its mesh's edges that have a face on one side only; 0 for a closed mesh, 1 for loose triangles.
    """

    id: int
    name: str
    label: str
    category: str = ""
    structure: bool = False
    open_edges: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneGeometry(Mesh):
    """All triangles of a scene, and which object each belongs to.

    Attributes:
        name: the scene's name.
        owner: (F,) id of the face's instance; 0: of none.
        instances: all objects, sorted by id.
        remarks: what the reader had to leave out or repair, one sentence each.
    """

    name: str
    owner: NDArray[np.int32]
    instances: tuple[Instance, ...]
    remarks: tuple[str, ...] = ()

    def instance(self, identity: int) -> Instance:
        """The instance with this id."""
        return next(each for each in self.instances if each.id == identity)

    def keep(self, good: NDArray[np.bool_]) -> SceneGeometry:
        """The scene with only the faces where `good` (F,)."""
        return replace(super().keep(good), owner=self.owner[good])


def assemble(
    name: str,
    mesh: Mesh,
    owner: NDArray[np.int32],
    instances: tuple[Instance, ...],
    *,
    remarks: Sequence[str] = (),
    max_faces: int = 30_000_000,
) -> SceneGeometry:
    """A checked scene: drops faces that cannot be projected and says so in `remarks`; objects of one name get `distinct` ones.

    For the arguments see `SceneGeometry`.

    Raises:
        DataError: no face, no object, or more than `max_faces` faces.
    """
    scene = SceneGeometry(
        mesh.vertices,
        mesh.faces,
        mesh.surface,
        mesh.up,
        name=name,
        owner=owner,
        instances=instances,
        remarks=tuple(remarks),
    )
    count = len(scene.faces)
    if count == 0:
        raise DataError("; ".join([f"scene {name} has no faces; is it a point cloud?", *remarks[:3]]))
    check_count(f"scene {name}", count, max_faces)
    if scene.faces.min() < 0 or scene.faces.max() >= len(scene.vertices):
        raise DataError(
            f"scene {name}: faces name vertices that are not there (of {len(scene.vertices):,}); is the file damaged?"
        )
    told = list(remarks)
    if count >= MANY_FACES:
        told.append(
            f"{count:,} faces need about {count * 240e-9:.1f} GB of memory, {count * 400e-9:.1f} GB where pictures are rendered"
        )
    finite = np.asarray((np.abs(scene.vertices) < FARTHEST).all(axis=1))  # False for NaN too
    good = np.asarray(finite[scene.faces].all(axis=1))
    if not good.all():
        told.append(
            f"{np.count_nonzero(~good):,} of {count:,} faces have NaN, infinite or absurdly far corners; left out"
        )
        scene = scene.keep(good)
    if len(scene.faces) == 0:
        raise DataError(f"scene {name}: all {count:,} faces have NaN, infinite or absurdly far corners")
    if not finite.all():  # no face has them any more; they would spoil the scene's box
        scene = replace(scene, vertices=np.where(finite[:, None], scene.vertices, scene.vertices[scene.faces[0, 0]]))
    there, faceless = measured(scene)
    return replace(scene, instances=there, remarks=(*told, *faceless))


def measured(scene: SceneGeometry) -> tuple[tuple[Instance, ...], list[str]]:
    """The objects that have faces, with distinct names and the share of open edges, and a remark if others have none.

    Raises:
        DataError: no object has faces.
    """
    present = np.zeros(max((each.id for each in scene.instances), default=0) + 1, bool)
    present[np.unique(scene.owner)] = True
    there = [each for each in scene.instances if present[each.id]]
    faceless = [each.name for each in scene.instances if not present[each.id]]
    if not there:
        raise DataError(f"scene {scene.name} has no labelled object; segment it first (every face belongs to none)")
    told = [f"{len(faceless)} objects have no faces (first: {faceless[0]}); left out"] if faceless else []
    shares = open_edge_shares(scene.faces, scene.owner, scene.vertices)
    names = distinct([each.name for each in there])
    found = [
        replace(each, name=title, open_edges=round(float(shares[each.id]), 4))
        for each, title in zip(there, names, strict=True)
    ]
    return tuple(found), told


def distinct(names: Sequence[str]) -> list[str]:
    """The names, none twice: of several that are equal the first stays, the others get _2, _3, ... that no other name has."""
    taken, found, last = set(names), list[str](), dict[str, int]()
    for name in names:
        title = name
        while name in last and title in taken:
            last[name] += 1
            title = f"{name}_{last[name]}"
        last.setdefault(name, 1)
        taken.add(title)
        found.append(title)
    return found


def check_count(what: str, count: int, max_faces: int) -> None:
    """Refuse scenes that are too large. Raises DataError."""
    if count > max_faces:
        raise DataError(
            f"{what} has {count:,} faces, more than max_faces = {max_faces:,}; simplify it or raise the limit"
        )


def open_edge_shares(faces: Ints, owner: NDArray[np.int32], vertices: Floats, at_once: int = 1 << 20) -> Floats:
    """Per instance id, the share of edges with a face on one side only: the completeness of its mesh.

    Vertices at the same place (to 10 micrometres) count as one: textures split them along seams. Objects are dealt with in
    batches of about `at_once` faces, so that large scans need little memory.
    """
    grid = np.rint(np.nan_to_num(vertices, posinf=0, neginf=0) * 1e5).astype(np.int64).view(np.uint64)
    place = mix(grid[:, 0] ^ mix(grid[:, 1] ^ mix(grid[:, 2])))
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner)
    ends = np.cumsum(counts)
    shares = np.zeros(len(counts))
    first = 0
    while first < len(counts):
        done = int(ends[first] - counts[first])
        last = max(first + 1, int(np.searchsorted(ends, done + at_once, side="right")))
        some = order[done : int(ends[last - 1])]
        shares[first:last] = open_edges(place[faces[some]], owner[some] - first, last - first)
        first = last
    return shares


def open_edges(corners: NDArray[np.uint64], owner: NDArray[np.int32], count: int) -> Floats:
    """`open_edge_shares` of owners 0 to `count` - 1; `corners` (F, 3) are numbers that stand for places."""
    # 1. A key (3, F) an edge: scrambled ends, the owner in the lowest bits. So keys can be sorted alone, without an index.
    bits = np.uint64((1 << int(count).bit_length()) - 1)
    whose = owner.astype(np.uint64)
    keys = np.empty((3, len(corners)), np.uint64)
    for k in range(3):
        a, b = corners[:, k], corners[:, k - 1]
        keys[k] = mix(np.minimum(a, b) ^ mix(np.maximum(a, b))) & ~bits | whose
    edges = keys.reshape(-1)
    edges.sort()
    # 2. An edge begins (3 F + 1,) where the key changes; it has a face on one side only if the next one begins at once.
    begins = np.ones(len(edges) + 1, bool)
    np.not_equal(edges[1:], edges[:-1], out=begins[1:-1])
    total, single = (
        np.bincount((edges[some] & bits).astype(np.int64), minlength=count)
        for some in (begins[:-1], begins[:-1] & begins[1:])
    )
    return np.asarray(single / np.maximum(total, 1))


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers, one to one (the finaliser of splitmix64)."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
