"""A small ray caster for training pictures: textured triangle meshes, one light, exact visible and amodal masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
TEXTURE = 128
"""Side of every texture in the atlas."""


@dataclass(frozen=True)
class Mesh:
    """Triangles ready to be shaded.

    Attributes:
        triangles: (F, 3, 3) float32 corners, metres, z up.
        uv: (F, 3, 2) float32 texture coordinates; wrapped.
        texture: (F,) int index into `textures`.
        textures: (T, TEXTURE, TEXTURE, 3) uint8 RGB.
    """

    triangles: Floats
    uv: Floats
    texture: NDArray[np.int32]
    textures: NDArray[np.uint8]

    @property
    def bounds(self) -> Floats:
        """(2, 3) lowest and highest corner."""
        flat = self.triangles.reshape(-1, 3)
        return np.stack([flat.min(0), flat.max(0)])

    def moved(self, scale: float | Floats = 1.0, turn: float = 0.0, to: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
        """Scaled about the origin, turned about z (radians), then moved."""
        c, s = np.cos(turn), np.sin(turn)
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
        points = (self.triangles * np.float32(scale)) @ rotation.T + np.asarray(to, np.float32)
        return Mesh(points.astype(np.float32), self.uv, self.texture, self.textures)


def join(meshes: list[Mesh]) -> tuple[Mesh, NDArray[np.int32]]:
    """All meshes as one, and the index of the mesh that each face came from."""
    offsets = np.cumsum([0, *[len(m.textures) for m in meshes]])
    owner = np.concatenate([np.full(len(m.triangles), i, np.int32) for i, m in enumerate(meshes)])
    whole = Mesh(
        np.concatenate([m.triangles for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.texture + o for m, o in zip(meshes, offsets, strict=False)]).astype(np.int32),
        np.concatenate([m.textures for m in meshes]),
    )
    return whole, owner


@dataclass(frozen=True)
class Camera:
    """Pinhole camera, OpenCV axes (x right, y down, z forward), square pixels, principal point in the middle."""

    centre: Floats
    rotation: Floats
    focal: float
    size: tuple[int, int]

    @classmethod
    def looking(cls, centre: Any, at: Any, focal: float, size: tuple[int, int]) -> Camera:
        """Camera at `centre` looking at `at`, upright (z up). `rotation` rows are the camera's axes in the world."""
        centre, at = np.asarray(centre, np.float32), np.asarray(at, np.float32)
        z = (at - centre) / np.linalg.norm(at - centre)
        x = np.cross(z, np.array([0, 0, 1], np.float32))
        x /= max(1e-6, float(np.linalg.norm(x)))
        return cls(centre, np.stack([x, np.cross(z, x), z]).astype(np.float32), focal, size)

    def rays(self, window: tuple[int, int, int, int] | None = None) -> Floats:
        """(h, w, 3) unit directions of the pixels of `window` (x0, y0, x1, y1), all by default."""
        h, w = self.size
        x0, y0, x1, y1 = window or (0, 0, w, h)
        x = (np.arange(x0, x1, dtype=np.float32) + 0.5 - w / 2) / self.focal
        y = (np.arange(y0, y1, dtype=np.float32) + 0.5 - h / 2) / self.focal
        d = np.stack([*np.broadcast_arrays(x[None], y[:, None]), np.ones((len(y), len(x)), np.float32)], -1)
        d = d @ self.rotation
        return np.asarray(d / np.linalg.norm(d, axis=-1, keepdims=True), np.float32)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """World points (N, 3) to pixels (N, 2) and depths (N,)."""
        p = (points - self.centre) @ self.rotation.T
        depth = np.maximum(p[:, 2], 1e-3)
        return p[:, :2] / depth[:, None] * self.focal + np.array([self.size[1], self.size[0]], np.float32) / 2, p[:, 2]


def trace(triangles: Floats, centre: Floats, directions: Floats) -> dict[str, NDArray[Any]]:
    """First hits of rays from one point: `primID` (-1 where nothing), `u`, `v`, `tfar`, `Ng`, each (N, ...)."""
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(triangles, np.float32))
    flat = np.ascontiguousarray(directions.reshape(-1, 3), np.float32)
    origins = np.ascontiguousarray(np.broadcast_to(centre, flat.shape), np.float32)
    result: dict[str, NDArray[Any]] = scene.run(origins, flat, output=1)
    return result


def shade(
    mesh: Mesh, hit: dict[str, NDArray[Any]], directions: Floats, light: Floats, ambient: float, sky: Floats
) -> NDArray[np.uint8]:
    """(N, 3) uint8 colours of hits: texture times ambient plus Lambert's law, two-sided; `sky` where nothing is hit."""
    flat = directions.reshape(-1, 3)
    found = hit["primID"] >= 0
    face = np.where(found, hit["primID"], 0)
    u, v = hit["u"][:, None], hit["v"][:, None]
    uv = mesh.uv[face]
    at = (uv[:, 0] * (1 - u - v) + uv[:, 1] * u + uv[:, 2] * v) % 1.0
    cell = np.minimum((at * TEXTURE).astype(np.int32), TEXTURE - 1)
    colour = mesh.textures[mesh.texture[face], cell[:, 1], cell[:, 0]].astype(np.float32)
    normal = hit["Ng"] / np.maximum(np.linalg.norm(hit["Ng"], axis=1, keepdims=True), 1e-9)
    normal = np.where(((normal * flat).sum(1) > 0)[:, None], -normal, normal)
    lambert = np.abs(normal @ light) * 0.35 + np.maximum(normal @ light, 0) * 0.65
    colour *= (ambient + (1 - ambient) * lambert)[:, None]
    return np.clip(np.where(found[:, None], colour, sky), 0, 255).astype(np.uint8)


def silhouette(mesh: Mesh, camera: Camera) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """The mesh's own projection inside the frame: tight bits and their origin (x, y); empty bits if out of sight."""
    pixel, depth = camera.project(mesh.triangles.reshape(-1, 3))
    h, w = camera.size
    if (depth < 0.05).any():
        window = (0, 0, w, h)
    else:
        low, high = np.floor(pixel.min(0)).astype(int), np.ceil(pixel.max(0)).astype(int)
        window = (max(0, low[0]), max(0, low[1]), min(w, high[0]), min(h, high[1]))
    if window[0] >= window[2] or window[1] >= window[3]:
        return np.zeros((0, 0), bool), (0, 0)
    rays = camera.rays(window)
    hit = trace(mesh.triangles, camera.centre, rays)["primID"].reshape(rays.shape[:2]) >= 0
    if not hit.any():
        return np.zeros((0, 0), bool), (0, 0)
    ys, xs = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
    return hit[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], (window[0] + int(xs[0]), window[1] + int(ys[0]))
