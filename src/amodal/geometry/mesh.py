"""`Mesh`: triangles and their look, the one type of every surface; `Surface` and `Material` are the look."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import DataError
from ..core.extras import missing
from ..core.files import write_bytes
from ..core.image import Image
from .camera import Floats

__all__ = ["Floats", "Ints", "Material", "Mesh", "Surface", "join"]

Ints = NDArray[np.int64]
AnyMesh = TypeVar("AnyMesh", bound="Mesh")


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks: `texture` (h, w, 3) uint8 RGB or None, times `colour` (r, g, b) in [0, 1]."""

    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    texture: Image | None = None


@dataclass(frozen=True, eq=False)
class Surface:
    """The look of all faces of a mesh.

    Attributes:
        materials: what `material` counts in.
        material: (F,) index into `materials`.
        uv: (F, 3, 2) float32 texture coordinates of each face's corners, v upwards from the picture's bottom.
        colours: (V, 3) uint8 RGB per vertex, which the material's colour is multiplied with, or None.
        normals: (V, 3) float32 smooth normals, zero where a vertex has none, or None for flat shading.
    """

    materials: tuple[Material, ...]
    material: NDArray[np.int32]
    uv: NDArray[np.float32]
    colours: NDArray[np.uint8] | None = None
    normals: NDArray[np.float32] | None = None

    @classmethod
    def plain(cls, count: int, material: Material | None = None, colours: NDArray[np.uint8] | None = None) -> Surface:
        """`count` faces of one material without texture coordinates; grey by default."""
        kinds, none = np.zeros(count, np.int32), np.zeros((count, 3, 2), np.float32)
        return cls((material or Material(),), kinds, none, colours)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles.

    Attributes:
        vertices: (V, 3) float64, world axes; metres where the source has a scale.
        faces: (F, 3) indices into `vertices`, counter-clockwise seen from outside.
        surface: the look, or None: grey.
        up: the world's upward direction, a unit vector. Scenes are z-up; meshes of single objects have glTF's axes (x right,
            y up, z towards the viewer of the input picture).
        notes: JSON-ready: how the mesh was made; `save` writes it into the file.
    """

    vertices: Floats
    faces: Ints
    surface: Surface | None = None
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def textured(
        cls,
        vertices: ArrayLike,
        faces: ArrayLike,
        uv: ArrayLike,
        texture: Image,
        notes: Mapping[str, Any] | None = None,
    ) -> Mesh:
        """A y-up object with one texture; `uv` (V, 2) in [0, 1], v upwards. Raises DataError as `checked`."""
        corners, indices = np.asarray(uv, np.float32), np.asarray(faces, np.int64)
        mesh = cls(np.asarray(vertices, np.float64), indices, None, (0.0, 1.0, 0.0), dict(notes or {})).checked()
        kinds = np.zeros(len(indices), np.int32)
        return replace(mesh, surface=Surface((Material((1.0, 1.0, 1.0), texture),), kinds, corners[indices]))

    @classmethod
    def coloured(
        cls, vertices: ArrayLike, faces: ArrayLike, colours: NDArray[np.uint8], notes: Mapping[str, Any] | None = None
    ) -> Mesh:
        """A y-up object with a colour (V, 3) uint8 per vertex. Raises DataError as `checked`."""
        indices = np.asarray(faces, np.int64)
        surface = Surface.plain(len(indices), Material((1.0, 1.0, 1.0)), colours)
        return cls(np.asarray(vertices, np.float64), indices, surface, (0.0, 1.0, 0.0), dict(notes or {})).checked()

    def checked(self: AnyMesh) -> AnyMesh:
        """The mesh itself. Raises DataError if it is empty, or has vertices that are not finite or not there."""
        if len(self.vertices) < 3 or not len(self.faces):
            raise DataError(
                f"the mesh is empty ({len(self.vertices)} vertices, {len(self.faces)} faces); is there an object in the picture?"
            )
        if not np.isfinite(self.vertices).all() or self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise DataError(
                "the mesh is damaged: coordinates that are not finite, or faces of vertices that do not exist"
            )
        return self

    @property
    def dressed(self) -> Surface:
        """The look; grey where there is none."""
        return self.surface or Surface.plain(len(self.faces))

    @property
    def corners(self) -> Floats:
        """(F, 3, 3): the corners of each face."""
        return np.asarray(self.vertices[self.faces])

    @property
    def bounds(self) -> Floats:
        """The corners (2, 3) of the box around all faces."""
        used = self.vertices[np.unique(self.faces)]
        return np.stack([used.min(axis=0), used.max(axis=0)])

    def moved(
        self: AnyMesh,
        matrix: ArrayLike = ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        scale: float = 1.0,
        shift: ArrayLike = (0, 0, 0),
    ) -> AnyMesh:
        """The mesh with vertices `scale * matrix @ v + shift`; smooth normals turn along."""
        linear = np.asarray(matrix, np.float64)
        vertices = scale * self.vertices @ linear.T + np.asarray(shift, np.float64)
        surface = self.surface
        if surface is not None and surface.normals is not None:
            turned = surface.normals @ np.linalg.inv(linear)
            turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
            surface = replace(surface, normals=turned.astype(np.float32))
        return replace(self, vertices=vertices, surface=surface)

    def keep(self: AnyMesh, good: NDArray[np.bool_]) -> AnyMesh:
        """The mesh with only the faces where `good` (F,)."""
        surface = self.surface
        if surface is not None:
            surface = replace(surface, material=surface.material[good], uv=surface.uv[good])
        return replace(self, faces=self.faces[good], surface=surface)

    def normalised(self: AnyMesh) -> AnyMesh:
        """Centred, the longest side of its box 1."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        side = float((high - low).max())
        if side <= 0:
            raise DataError("the mesh is a single point")
        return self.moved(np.eye(3), 1 / side, -(low + high) / 2 / side)

    def sample(self, count: int, seed: int = 0) -> Floats:
        """Points (count, 3) spread evenly over the surface (trimesh). Raises DataError if it has no area."""
        body = as_trimesh(self)
        if not body.area > 0:
            raise DataError("the mesh has no area")
        return np.asarray(load_trimesh().sample.sample_surface(body, count, seed=seed)[0], np.float64)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a .glb file atomically; `notes` become the scene's extras.

        Raises:
            MissingExtraError: trimesh is not installed.
            OutputError: the file exists and may not be replaced.
        """
        surface = self.dressed
        parts = {f"object{number or ''}": number for number in np.unique(surface.material).tolist()}
        bodies = {title: as_trimesh(self, number) for title, number in parts.items()}
        scene = load_trimesh().Scene(bodies, metadata=dict(self.notes))
        write_bytes(path, bytes(scene.export(file_type="glb", tree_postprocessor=name_colours)), overwrite=overwrite)


def join(meshes: Sequence[Mesh]) -> tuple[Mesh, NDArray[np.int32]]:
    """All meshes as one, and per face (F,) the index of the mesh that it came from. Equal materials are kept once."""
    first = np.cumsum([0, *(len(each.vertices) for each in meshes)])
    part = np.repeat(np.arange(len(meshes), dtype=np.int32), [len(each.faces) for each in meshes])
    surfaces = [each.dressed for each in meshes]
    materials: list[Material] = []
    place: dict[int, int] = {}
    kinds = []
    for surface in surfaces:
        for material in surface.materials:
            if id(material) not in place:
                place[id(material)] = len(materials)
                materials.append(material)
        kinds.append(np.array([place[id(material)] for material in surface.materials], np.int32)[surface.material])
    colours = [surface.colours for surface in surfaces]
    normals = [surface.normals for surface in surfaces]
    sizes = [len(each.vertices) for each in meshes]
    look = Surface(
        tuple(materials),
        np.concatenate(kinds),
        np.concatenate([surface.uv for surface in surfaces]),
        None if all(each is None for each in colours) else np.concatenate(filled(colours, sizes, np.uint8(255))),
        None if all(each is None for each in normals) else np.concatenate(filled(normals, sizes, np.float32(0))),
    )
    vertices = np.concatenate([each.vertices for each in meshes])
    faces = np.concatenate([each.faces + shift for each, shift in zip(meshes, first, strict=False)])
    return Mesh(vertices, faces, look, meshes[0].up), part


def filled(arrays: Sequence[NDArray[Any] | None], sizes: Sequence[int], value: Any) -> list[NDArray[Any]]:
    """The arrays, and (size, 3) of `value` where there is none."""
    return [
        np.full((size, 3), value, type(value)) if each is None else each
        for each, size in zip(arrays, sizes, strict=True)
    ]


def as_trimesh(mesh: Mesh, number: int | None = None) -> Any:
    """The mesh as a `trimesh.Trimesh`, without its look; or the faces of one material with it."""
    trimesh = load_trimesh()
    if number is None:
        return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    from PIL import Image as PILImage

    surface = mesh.dressed
    chosen = np.flatnonzero(surface.material == number)
    faces, uv, material = mesh.faces[chosen], surface.uv[chosen], surface.materials[number]
    used, inverse = np.unique(faces, return_inverse=True)
    faces = inverse.reshape(-1, 3)
    if material.texture is None:
        tint = np.full((len(used), 3), 255, np.uint8) if surface.colours is None else surface.colours[used]
        painted = (tint / np.float32(255)) ** np.float32(2.2) * np.array(material.colour, np.float32)  # linear light
        return trimesh.Trimesh(mesh.vertices[used], faces, vertex_attributes={COLOURS: painted}, process=False)
    coordinates = np.zeros((len(used), 2), np.float32)
    coordinates[faces] = uv
    if not np.array_equal(
        coordinates[faces], uv
    ):  # a vertex on a seam has several: every corner is a vertex of its own
        used, coordinates, faces = used[faces.reshape(-1)], uv.reshape(-1, 2), np.arange(faces.size).reshape(-1, 3)
    look = trimesh.visual.material.PBRMaterial(
        baseColorTexture=PILImage.fromarray(material.texture),
        baseColorFactor=[*(round(255 * c) for c in material.colour), 255],
        metallicFactor=0.0,
        roughnessFactor=1.0,
    )
    visual = trimesh.visual.TextureVisuals(uv=coordinates, material=look)
    return trimesh.Trimesh(mesh.vertices[used], faces, visual=visual, process=False)


COLOURS = "_LINEAR"
"""The name under which trimesh writes linear colours; its own colours are bytes, too coarse for dark ones."""


def name_colours(tree: dict[str, Any]) -> None:
    """Give the colours of the vertices in a glTF file's JSON their proper name, in place."""
    for mesh in tree.get("meshes", []):
        for primitive in mesh["primitives"]:
            if COLOURS in primitive["attributes"]:
                primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop(COLOURS)


def load_trimesh() -> Any:
    """The package trimesh. Raises MissingExtraError if it is not installed."""
    try:
        import trimesh
    except ImportError as error:
        raise missing("reading meshes", error, "scenes") from error
    return trimesh
