"""`TexturedMesh`: triangles with colour, as .glb on disk; and pictures of it from an orbit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import write_bytes
from ..image import Image

__all__ = ["TexturedMesh", "View", "orbit", "render"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """A surface in glTF's axes: x right, y up, z towards the viewer of the input picture.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int64, counter-clockwise seen from outside.
        uv: (V, 2) texture coordinates in [0, 1], v upwards; None with `colours`.
        texture: (h, w, 3) uint8; None with `colours`.
        colours: (V, 3) uint8; None with `texture`.
        notes: JSON-ready: how it was made; goes into the file.
    """

    vertices: Floats
    faces: Ints
    uv: Floats | None = None
    texture: Image | None = None
    colours: NDArray[np.uint8] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.vertices) < 3 or not len(self.faces):
            raise DataError(
                f"the mesh is empty ({len(self.vertices)} vertices, {len(self.faces)} faces); is there an object in the picture?"
            )
        if not np.isfinite(self.vertices).all() or self.faces.max() >= len(self.vertices):
            raise DataError(
                "the mesh is damaged: coordinates that are not finite, or faces of vertices that do not exist"
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TexturedMesh:
        """Read a .glb (or .obj, .ply) file, all its parts as one surface; textures are sampled at the vertices.

        Raises:
            DataError: absent, not a mesh, or empty.
            MissingExtraError: trimesh is not installed.
        """
        trimesh = _trimesh()
        file = Path(path)
        if not file.is_file():
            raise DataError(f"there is no mesh file {file}")
        try:
            loaded = trimesh.load(file, force="mesh")
        except Exception as error:  # a damaged file raises anything, by its format
            raise DataError(f"{file} is not a mesh that can be read (.glb, .obj, .ply): {error}") from error
        if not len(getattr(loaded, "faces", ())):
            raise DataError(f"{file} holds no triangles")
        visual = loaded.visual
        uv = getattr(visual, "uv", None)
        material = getattr(visual, "material", None)
        picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        vertices, faces = np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int64)
        if uv is not None and picture is not None:
            return cls(vertices, faces, np.asarray(uv, np.float64), np.asarray(picture.convert("RGB")))
        if hasattr(visual, "to_color"):  # a plain material
            visual = visual.to_color()
        colours = np.asarray(visual.vertex_colors)[:, :3]
        if len(colours) != len(vertices):
            colours = np.full((len(vertices), 3), 180, np.uint8)
        return cls(vertices, faces, colours=colours.astype(np.uint8))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a .glb file atomically; `notes` become the scene's extras."""
        trimesh = _trimesh()
        from PIL import Image as PILImage

        if self.texture is not None:
            material = trimesh.visual.material.PBRMaterial(
                baseColorTexture=PILImage.fromarray(self.texture), metallicFactor=0.0, roughnessFactor=1.0
            )
            visual = trimesh.visual.TextureVisuals(uv=self.uv, material=material)
        else:
            visual = trimesh.visual.ColorVisuals(vertex_colors=self.colours)
        body = trimesh.Trimesh(self.vertices, self.faces, visual=visual, process=False)
        scene = trimesh.Scene({"object": body}, metadata=dict(self.notes))
        write_bytes(path, bytes(scene.export(file_type="glb")), overwrite=overwrite)

    @cached_property
    def body(self) -> Any:
        """The same as a `trimesh.Trimesh`, for its ray caster."""
        return _trimesh().Trimesh(self.vertices, self.faces, process=False)

    def moved(self, matrix: Floats, scale: float = 1.0, shift: Any = (0, 0, 0)) -> TexturedMesh:
        """The mesh with vertices `scale * matrix @ v + shift`."""
        vertices = scale * self.vertices @ np.asarray(matrix, np.float64).T + np.asarray(shift, np.float64)
        return TexturedMesh(vertices, self.faces, self.uv, self.texture, self.colours, self.notes)

    def normalised(self) -> TexturedMesh:
        """Centred, the longest side of its box 1."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        side = float((high - low).max())
        if side <= 0:
            raise DataError("the mesh is a single point")
        return self.moved(np.eye(3), 1 / side, -(low + high) / 2 / side)

    def sample(self, count: int, seed: int = 0) -> Floats:
        """Points (count, 3) spread evenly over the surface."""
        random = np.random.default_rng(seed)
        corners = self.vertices[self.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        if area.sum() <= 0:
            raise DataError("the mesh has no area")
        chosen = corners[random.choice(len(area), count, p=area / area.sum())]
        first, second = np.sqrt(random.random((2, count, 1)))
        second = second**2
        mixed = (1 - first) * chosen[:, 0] + first * (1 - second) * chosen[:, 1] + first * second * chosen[:, 2]
        return np.asarray(mixed, np.float64)


@dataclass(frozen=True)
class View:
    """A camera that looks at the origin: `azimuth` to the right and `elevation` upwards from the z axis, in degrees.

    `distance` is in units of the mesh, `fov` the full angle of the picture in degrees.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = 2.6
    fov: float = 30.0

    def axes(self) -> Floats:
        """(3, 3): the columns are the camera's right, up and backward directions in the mesh's axes."""
        turn, lift = np.radians(self.azimuth), np.radians(self.elevation)
        back = np.array([np.sin(turn) * np.cos(lift), np.sin(lift), np.cos(turn) * np.cos(lift)])
        right = np.array([np.cos(turn), 0.0, -np.sin(turn)])
        return np.stack([right, np.cross(back, right), back], axis=1)


def orbit(count: int, elevation: float = 15.0, start: float = 0.0) -> list[View]:
    """`count` views around the object at one height, the first at azimuth `start`."""
    return [View(start + 360 * k / count, elevation) for k in range(count)]


def render(mesh: TexturedMesh, view: View, size: int = 256) -> tuple[Image, NDArray[np.bool_]]:
    """The mesh in its own colours, unlit, on white.

    Returns:
        (size, size, 3) uint8 RGB, and (size, size) bool where the mesh is.
    """
    trimesh = _trimesh()
    axes = view.axes()
    half = np.tan(np.radians(view.fov) / 2)
    span = (np.arange(size) + 0.5) / size * 2 - 1
    across, down = np.meshgrid(span * half, span * half)
    rays = (np.stack([across, -down, -np.ones_like(across)], axis=-1).reshape(-1, 3)) @ axes.T
    origins = np.broadcast_to(axes[:, 2] * view.distance, rays.shape)
    face, ray, place = mesh.body.ray.intersects_id(origins, rays, multiple_hits=False, return_locations=True)
    picture = np.full((size * size, 3), 255, np.uint8)
    hit = np.zeros(size * size, bool)
    if len(ray):
        weights = trimesh.triangles.points_to_barycentric(mesh.vertices[mesh.faces[face]], place)
        picture[ray] = _colour(mesh, mesh.faces[face], np.clip(weights, 0, 1))
        hit[ray] = True
    return picture.reshape(size, size, 3), hit.reshape(size, size)


def _colour(mesh: TexturedMesh, corners: Ints, weights: Floats) -> NDArray[np.uint8]:
    if mesh.texture is None or mesh.uv is None:
        assert mesh.colours is not None
        return np.asarray(np.rint(np.einsum("nk,nkc->nc", weights, mesh.colours[corners].astype(float))), np.uint8)
    u, v = np.einsum("nk,nkc->nc", weights, mesh.uv[corners]).T % 1.000001
    height, width = mesh.texture.shape[:2]
    rows = np.clip(((1 - v) * height).astype(int), 0, height - 1)
    return np.asarray(mesh.texture[rows, np.clip((u * width).astype(int), 0, width - 1)])


def _trimesh() -> Any:
    from ..errors import MissingExtraError

    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError('meshes need the package trimesh; run: pip install "amodal[scenes]"') from error
    return trimesh
