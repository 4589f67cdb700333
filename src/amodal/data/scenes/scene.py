"""The three types of a scene: `SceneGeometry` (triangles and whose they are), `Instance` (one object), `Camera` (one view).

World units are metres. Cameras are OpenCV: x right, y down, z forward, transforms named `cam_from_world`. Image coordinates are
continuous: pixel (i, j) covers [j, j+1) x [i, i+1), so the ray of a pixel passes its centre (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DataError
from ...mask import Size

__all__ = [
    "OPENCV_FROM_OPENGL",
    "Camera",
    "Floats",
    "Instance",
    "Ints",
    "Material",
    "SceneGeometry",
    "Surface",
    "assemble",
    "check_count",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST = 16_384
"""Pixels a side of the largest pictures."""

MANY_FACES = 5_000_000
"""Scenes of so many faces are told to need memory. Measured for ten million: 2.3 GB with the reading of the file, and 1.6 GB
more for the ray caster of pictures."""

OPENCV_FROM_OPENGL: Floats = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns a camera that looks along -z with y up (OpenGL, glTF, Matterport's .conf) into one that looks along z with y down."""


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


@dataclass(frozen=True)
class Material:
    """How a surface looks: `texture` (h, w, 3) uint8 RGB or None, times `colour` (r, g, b) in [0, 1]."""

    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    texture: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Surface:
    """The look of all faces of a scene.

    Attributes:
        materials: what `material` counts in.
        material: (F,) index into `materials`.
        uv: (F, 3, 2) float32 texture coordinates of each face's corners, v upwards from the picture's bottom.
        colours: (V, 3) uint8 RGB per vertex, instead of materials, or None.
        normals: (V, 3) float32 smooth normals, or None for flat shading.
    """

    materials: tuple[Material, ...]
    material: NDArray[np.int32]
    uv: NDArray[np.float32]
    colours: NDArray[np.uint8] | None = None
    normals: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class SceneGeometry:
    """All triangles of a scene, and which object each belongs to.

    Attributes:
        name: the scene's name.
        vertices: (V, 3) float64, metres, world axes.
        faces: (F, 3) indices into `vertices`.
        owner: (F,) id of the face's instance; 0: of none.
        instances: all objects, sorted by id.
        surface: the look, or None (then pictures are grey).
        up: the world's upward direction, a unit vector.
        remarks: what the reader had to leave out or repair, one sentence each.
    """

    name: str
    vertices: Floats
    faces: Ints
    owner: NDArray[np.int32]
    instances: tuple[Instance, ...]
    surface: Surface | None = None
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    remarks: tuple[str, ...] = field(default=())

    @property
    def bounds(self) -> Floats:
        """The corners (2, 3) of the box around all faces, metres."""
        used = self.vertices[np.unique(self.faces)]
        return np.stack([used.min(axis=0), used.max(axis=0)])

    def instance(self, identity: int) -> Instance:
        """The instance with this id."""
        return next(each for each in self.instances if each.id == identity)


@dataclass(frozen=True)
class Camera:
    """One view: a pinhole camera.

    Attributes:
        name: unique in its scene.
        size: the picture's (H, W).
        matrix: (3, 3) intrinsics in pixels, for continuous image coordinates (the first pixel's centre is (0.5, 0.5)).
        cam_from_world: (4, 4) rigid transform, OpenCV axes, metres.
        image: the photograph that belongs to it, or None.
        distortion: (k1, k2, p1, p2, k3) of the photograph's lens; it is undone when the photograph is read.
    """

    name: str
    size: Size
    matrix: Floats
    cam_from_world: Floats
    image: Path | None = None
    distortion: tuple[float, ...] = ()

    @classmethod
    def make(
        cls,
        name: str,
        size: Size,
        matrix: ArrayLike,
        world_from_camera: ArrayLike,
        *,
        convention: str = "opencv",
        image: Path | None = None,
    ) -> Camera:
        """A checked camera from its pose in the world.

        Args:
            name: for messages and file names.
            size: (H, W) in pixels.
            matrix: (3, 3) or larger (the upper left is taken), continuous image coordinates, origin top-left.
            world_from_camera: (4, 4) rigid pose.
            convention: the camera's axes: "opencv" (x right, y down, z forward) or "opengl" (x right, y up, looks along -z).
            image: its photograph.

        Raises:
            DataError: zero focal length, singular or non-rigid pose, lost tracking, empty picture, unknown convention.
        """
        intrinsics = np.asarray(matrix, np.float64)[:3, :3]
        pose = np.asarray(world_from_camera, np.float64)
        check_camera(name, size, intrinsics, pose)
        if convention not in ("opencv", "opengl"):
            raise DataError(f"camera {name}: convention is {convention!r}; it must be opencv or opengl")
        if convention == "opengl":
            pose = pose @ OPENCV_FROM_OPENGL
        return cls(name, (int(size[0]), int(size[1])), intrinsics, invert_rigid(pose), image)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready and exact."""
        arrays = {"matrix": self.matrix.tolist(), "cam_from_world": self.cam_from_world.tolist()}
        image = None if self.image is None else str(self.image)
        return {
            "name": self.name,
            "size": list(self.size),
            **arrays,
            "image": image,
            "distortion": list(self.distortion),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Camera:
        """The inverse of `to_dict`."""
        size, image = (int(content["size"][0]), int(content["size"][1])), content["image"]
        arrays = np.array(content["matrix"]), np.array(content["cam_from_world"])
        return cls(content["name"], size, *arrays, image and Path(image), tuple(content["distortion"]))

    @property
    def position(self) -> Floats:
        """The camera's place in the world (3,), metres."""
        return np.asarray(-self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3])

    @property
    def world_from_cam(self) -> Floats:
        """The inverse pose (4, 4)."""
        return invert_rigid(self.cam_from_world)

    def rays(self, points: ArrayLike) -> Floats:
        """World directions (N, 3), z-depth 1 (not unit length), through image points (N, 2) of (x, y)."""
        pixels = np.asarray(points, np.float64)
        homogeneous = np.column_stack([pixels, np.ones(len(pixels))])
        return np.asarray(homogeneous @ np.linalg.inv(self.matrix).T @ self.cam_from_world[:3, :3])

    def scaled(self, factor: float) -> Camera:
        """The same view with `factor` times as many pixels a side."""
        height, width = round(self.size[0] * factor), round(self.size[1] * factor)
        scale = np.diag([width / self.size[1], height / self.size[0], 1.0])
        return replace(self, size=(height, width), matrix=scale @ self.matrix)


def check_camera(name: str, size: Size, matrix: Floats, pose: Floats) -> None:
    """Refuse what cannot be projected. Raises DataError with the reason."""
    if matrix.shape != (3, 3) or pose.shape != (4, 4):
        raise DataError(f"camera {name}: needs a 3x3 matrix and a 4x4 pose, got {matrix.shape} and {pose.shape}")
    if not np.isfinite(pose).all():
        raise DataError(f"camera {name}: the pose is not finite (lost tracking); the view is left out")
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise DataError(f"camera {name}: focal length ({matrix[0, 0]:g}, {matrix[1, 1]:g}) must be above 0 pixels")
    if not 1 <= min(size) <= max(size) <= LARGEST:
        raise DataError(f"camera {name}: picture of {size[1]} x {size[0]} pixels; 1 to {LARGEST:,} a side can be made")
    rotation = pose[:3, :3]
    determinant = np.linalg.det(rotation)
    if abs(determinant) < 1e-6:
        raise DataError(f"camera {name}: the pose is singular (determinant {determinant:.2g}); a rotation has 1")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or determinant < 0:
        raise DataError(
            f"camera {name}: the pose is no rotation (determinant {determinant:.3g}); scale or mirroring in it?"
        )


def invert_rigid(pose: Floats) -> Floats:
    """The inverse of a rigid transform (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def assemble(name: str, geometry: SceneGeometry | dict[str, Any], max_faces: int = 30_000_000) -> SceneGeometry:
    """A checked scene: drops faces that cannot be projected and says so in `remarks`.

    Raises:
        DataError: no face, no object, or more than `max_faces` faces.
    """
    scene = geometry if isinstance(geometry, SceneGeometry) else SceneGeometry(name=name, **geometry)
    count = len(scene.faces)
    if count == 0:
        raise DataError(f"scene {name} has no faces; is it a point cloud?")
    check_count(f"scene {name}", count, max_faces)
    if scene.faces.min() < 0 or scene.faces.max() >= len(scene.vertices):
        raise DataError(
            f"scene {name}: faces name vertices that are not there (of {len(scene.vertices):,}); is the file damaged?"
        )
    remarks = list(scene.remarks)
    if count >= MANY_FACES:
        remarks.append(
            f"{count:,} faces need about {count * 240e-9:.1f} GB of memory, {count * 400e-9:.1f} GB where pictures are rendered"
        )
    finite = np.asarray(np.isfinite(scene.vertices).all(axis=1))
    good = np.asarray(finite[scene.faces].all(axis=1))
    if not good.all():
        remarks.append(f"{np.count_nonzero(~good):,} of {count:,} faces have NaN or infinite corners; left out")
        scene = keep_faces(scene, good)
    if len(scene.faces) == 0:
        raise DataError(f"scene {name}: all {count:,} faces have NaN or infinite corners")
    if not finite.all():  # no face has them any more; they would spoil the scene's box
        scene = replace(scene, vertices=np.where(finite[:, None], scene.vertices, scene.vertices[scene.faces[0, 0]]))
    present = np.zeros(max((each.id for each in scene.instances), default=0) + 1, bool)
    present[np.unique(scene.owner)] = True
    faceless = [each.name for each in scene.instances if not present[each.id]]
    if faceless:
        remarks.append(f"{len(faceless)} objects have no faces (first: {faceless[0]}); left out")
    instances = tuple(each for each in scene.instances if present[each.id])
    if not instances:
        raise DataError(f"scene {name} has no labelled object; segment it first (every face belongs to none)")
    measured = open_edge_shares(scene.faces, scene.owner, scene.vertices)
    instances = tuple(replace(each, open_edges=round(float(measured[each.id]), 4)) for each in instances)
    return replace(scene, instances=instances, remarks=tuple(remarks))


def check_count(what: str, count: int, max_faces: int) -> None:
    """Refuse scenes that are too large. Raises DataError."""
    if count > max_faces:
        raise DataError(
            f"{what} has {count:,} faces, more than max_faces = {max_faces:,}; simplify it or raise the limit"
        )


def keep_faces(scene: SceneGeometry, good: NDArray[np.bool_]) -> SceneGeometry:
    """The scene with only the faces where `good` (F,)."""
    surface = scene.surface
    if surface is not None:
        surface = replace(surface, material=surface.material[good], uv=surface.uv[good])
    return replace(scene, faces=scene.faces[good], owner=scene.owner[good], surface=surface)


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
        shares[first:last] = open_edges(place[faces[some]], owner[some] - first, last - first, at_once)
        first = last
    return shares


def open_edges(corners: NDArray[np.uint64], owner: NDArray[np.int32], count: int, at_once: int) -> Floats:
    """`open_edge_shares` of owners 0 to `count` - 1; `corners` (F, 3) are numbers that stand for places."""
    salt = mix(owner.astype(np.uint64))
    sides = ((corners[:, k], corners[:, k - 1]) for k in range(3))
    keys = np.concatenate([mix(np.minimum(a, b) ^ mix(np.maximum(a, b) ^ salt)) for a, b in sides])
    whose = np.tile(owner, 3)
    total, single = np.zeros(count), np.zeros(count)
    parts = np.uint64(1 + len(corners) // (2 * at_once))
    for part in range(
        int(parts)
    ):  # an object of millions of faces in parts: sorting takes six times the memory of the edges
        chosen = keys % parts == part if parts > 1 else slice(None)
        _, first, faces = np.unique(keys[chosen], return_index=True, return_counts=True)
        mine = whose[chosen][first]
        total += np.bincount(mine, minlength=count)
        single += np.bincount(mine, weights=faces == 1, minlength=count)
    return np.asarray(single / np.maximum(total, 1))


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers, one to one (the finaliser of splitmix64)."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
