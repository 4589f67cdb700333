"""The light that falls on surfaces: lamps under the ceiling or a sun, soft shadows, ambient occlusion; traced with Embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..core.options import Options
from .camera import Camera
from .cameras import floor_below
from .mesh import Floats, Mesh
from .project import Points, nearest_faces, surface_points
from .rays import Caster

__all__ = ["CHUNK", "LightMap", "Lighting", "RenderOptions", "facing", "smooth_normals"]

CHUNK = 1 << 16
"""Points dealt with at once."""


class RenderOptions(Options):
    """How pictures are rendered."""

    supersample: int = Field(2, ge=1, le=4, description="samples per pixel and direction")
    shadow_rays: int = Field(4, ge=0, le=64, description="rays to the lamps per pixel")
    ambient_rays: int = Field(8, ge=0, le=64, description="rays for ambient occlusion per pixel")
    ambient_reach: float = Field(1.5, gt=0, description="how far a surface takes ambient light away, metres")
    ambient: float = Field(0.45, ge=0, le=1, description="share of the light that comes from everywhere")
    noise: float = Field(1.2, ge=0, le=20, description="standard deviation of the sensor's noise, in 255ths")


@dataclass(frozen=True)
class LightMap:
    """Light per pixel, to be read between pixels along surfaces: (H, W) light, (H, W, 3) normals, (H, W) depth."""

    light: NDArray[np.float32]
    normals: NDArray[np.float32]
    depth: NDArray[np.float32]

    def at(self, x: Floats, y: Floats, points: Points, face_normals: Floats) -> NDArray[np.float32]:
        """Light (N,) at positions in [0, 1]: of the four points around, by nearness and by how alike the surfaces are."""
        height, width = self.light.shape
        x, y = x * width - 0.5, y * height - 0.5
        left, top = np.floor(x), np.floor(y)
        normal = face_normals[points.face].astype(np.float32)
        total, weights = np.zeros(len(x), np.float32), np.full(len(x), 1e-9, np.float32)
        for dx in (0, 1):
            for dy in (0, 1):
                column = np.clip(left + dx, 0, width - 1).astype(np.int64)
                row = np.clip(top + dy, 0, height - 1).astype(np.int64)
                near = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top)) + 0.01
                alike = np.abs(np.einsum("ni,ni->n", self.normals[row, column], normal)) ** 8 + 1e-3
                apart = np.abs(self.depth[row, column] / points.depth - 1)
                weight = (near * alike / (1e-2 + apart)).astype(np.float32)
                total += weight * self.light[row, column]
                weights += weight
        return total / weights


class Lighting:
    """The lamps of a scene, or the sun over it, and what their light does.

    Args:
        mesh: the scene.
        caster: a ray caster over its faces.
        options: quality and light.

    Attributes:
        lamps: (n, 3) positions, metres; none where there is a sun.
        sun: (3,) direction to it, or None.
    """

    def __init__(self, mesh: Mesh, caster: Caster, options: RenderOptions) -> None:
        self.mesh, self.caster, self.options = mesh, caster, options
        self.lamps, self.sun = lamps(mesh, caster)

    def map(self, camera: Camera, rng: np.random.Generator) -> LightMap:
        """The light that falls on the surface that each pixel of `camera` sees, smoothed along surfaces."""
        options = self.options
        faces, depth = nearest_faces(self.mesh, camera)  # (H, W) each
        size = camera.size
        # Per pixel (H W,): the open share of the sky, the lamps' light, and the normal (H W, 3).
        ambient, direct = np.ones(size[0] * size[1], np.float32), np.ones(size[0] * size[1], np.float32)
        normals = np.zeros((size[0] * size[1], 3), np.float32)
        seen = np.flatnonzero(faces.reshape(-1) >= 0)
        for first in range(0, len(seen), CHUNK):
            points = surface_points(
                self.mesh, camera, faces.reshape(-1)[seen[first : first + CHUNK]], seen[first : first + CHUNK]
            )
            # The places (N, 3) that the pixels see, their normals turned to the viewer, and ray starts just above them.
            row, column = np.divmod(points.index, size[1])
            rays = camera.rays(np.stack([column + 0.5, row + 0.5], axis=1))
            place = camera.position + rays * points.depth[:, None]
            normal = facing(self.caster.normals[points.face], rays)
            smooth = facing(smooth_normals(self.mesh, points, normal), rays)
            start = place + normal * (1e-4 + 1e-4 * points.depth[:, None])
            ambient[points.index] = self.openness(start, normal, rng) if options.ambient_rays else 1.0
            direct[points.index] = self.direct(start, smooth, rng)
            normals[points.index] = smooth
        upward = normals @ np.array(self.mesh.up, np.float32)
        total = options.ambient * ambient * (0.75 + 0.25 * upward) + (1 - options.ambient) * direct
        directions = normals.reshape(*size, 3)
        return LightMap(smooth_along(total.reshape(size), directions, depth), directions, depth)

    def openness(self, start: Floats, normal: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
        """Ambient light (N,): the cosine-weighted share of near directions in which nothing is in the way."""
        count = self.options.ambient_rays
        open_rays = np.zeros(len(start), np.float32)
        for k in range(count):
            turn, lift = rng.random(len(start)) * 2 * np.pi, (k + rng.random(len(start))) / count
            sphere = np.stack(
                [
                    np.sqrt(1 - (2 * lift - 1) ** 2) * np.cos(turn),
                    np.sqrt(1 - (2 * lift - 1) ** 2) * np.sin(turn),
                    2 * lift - 1,
                ],
                axis=1,
            )
            toward = normal + sphere  # a point of the sphere that touches the surface: cosine-distributed
            toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-6)
            open_rays += ~self.caster.blocked(start, toward, self.options.ambient_reach)
        return np.asarray(open_rays / np.float32(count))

    def direct(self, start: Floats, normal: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
        """Light (N,) from the lamps, or from the sun, through soft shadows.

        The lamps' light is summed exactly; only the share of it that arrives is estimated with few rays.
        """
        count = len(start)
        if self.sun is not None:
            full = 1.6 * np.maximum(normal @ self.sun, 0)
        else:
            full = sum((self.strength(lamp - start, normal) for lamp in self.lamps), np.zeros(count))
        arrived, sent = np.full(count, 1e-9), np.full(count, 1e-9)
        for k in range(self.options.shadow_rays):
            if self.sun is not None:
                toward, reach = self.sun + rng.normal(0, 0.03, start.shape), 50.0
                weight = np.ones(count)
            else:
                which = (
                    k * len(self.lamps) // self.options.shadow_rays + rng.integers(len(self.lamps), size=count)
                ) % len(self.lamps)
                toward, reach = self.lamps[which] + rng.uniform(-0.25, 0.25, start.shape) - start, 0.98
                weight = self.strength(toward, normal)
            sent += weight
            arrived += weight * ~self.caster.blocked(start, toward, reach)
        return np.asarray(full * arrived / sent, np.float32)

    def strength(self, toward: Floats, normal: Floats) -> Floats:
        """Unhindered light (N,) of a lamp at `toward` (N, 3) from surfaces of unit `normal`: inverse square, softened near the lamp."""
        square = np.einsum("ni,ni->n", toward, toward)
        cosine = np.einsum("ni,ni->n", normal, toward) / np.sqrt(np.maximum(square, 1e-12))
        return np.asarray(np.maximum(cosine, 0) * 12.0 / ((4.0 + square) * len(self.lamps)))


def smooth_along(
    light: NDArray[np.float32], normals: NDArray[np.float32], depth: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Average over 7 x 7 pixels of the same surface (alike in normal and depth): takes away the noise of few rays."""
    radius = 3
    total, weights = light.copy(), np.ones_like(light)
    padded = [
        np.pad(each, ((radius, radius), (radius, radius), *((0, 0),) * (each.ndim - 2)), mode="edge")
        for each in (light, normals, depth)
    ]
    height, width = light.shape
    slack = 0.02 * np.maximum(depth, 0.1)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx == 0 and dy == 0:
                continue
            rows, columns = slice(radius + dy, radius + dy + height), slice(radius + dx, radius + dx + width)
            value, normal, far = (each[rows, columns] for each in padded)
            alike = np.einsum("hwi,hwi->hw", normal, normals) > 0.95
            weight = (alike & (np.abs(far - depth) < slack * max(abs(dx), abs(dy)))).astype(np.float32)
            total += weight * value
            weights += weight
    return np.asarray(total / weights)


def facing(normal: Floats, rays: Floats) -> Floats:
    """Normals turned towards the viewer: surfaces are lit on both sides."""
    away = np.einsum("ni,ni->n", normal, rays) > 0
    return np.where(away[:, None], -normal, normal)


def smooth_normals(mesh: Mesh, points: Points, flat: Floats) -> Floats:
    """Interpolated normals (N, 3) where the mesh has them, else the flat ones (N, 3)."""
    if mesh.surface is None or mesh.surface.normals is None:
        return flat
    mixed = np.einsum("nk,nkc->nc", points.corner_weights, mesh.surface.normals[mesh.faces[points.face]])
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.where(length > 0.1, mixed / np.maximum(length, 1e-9), flat)


def lamps(mesh: Mesh, caster: Caster) -> tuple[Floats, Floats | None]:
    """Lamp positions (n, 3) under the ceiling, about every 4 m, where there is a room; else the direction (3,) to a sun."""
    up = np.array(mesh.up)
    low, high = mesh.bounds
    side = np.eye(3)[[k for k in range(3) if abs(up[k]) < 0.5]]
    found = []
    spans = np.abs(side @ (high - low))
    grid = [(np.arange(n) + 0.5) / n for n in np.clip(np.round(spans / 4), 1, 8).astype(int)]
    top = max(float(low @ up), float(high @ up))
    for a in grid[0]:
        for b in grid[1]:
            place = low + side[0] * (a * (high - low) @ side[0]) + side[1] * (b * (high - low) @ side[1])
            floor = floor_below(place + (top - 0.05 - place @ up) * up, up, caster)
            if floor is None:
                continue
            eye = place + (floor + 1.5 - place @ up) * up
            rise = float(caster.first(eye[None], up[None])[0][0])
            rise = min(rise, top - floor - 1.5, 3.0)
            if rise > 0.5:
                found.append(eye + (rise - 0.3) * up)
    room = top - min(float(low @ up), float(high @ up)) >= 2.0
    if len(found) < 2 or not room:
        toward = up + 0.6 * side[0] + 0.35 * side[1]
        return np.zeros((0, 3)), np.asarray(toward / np.linalg.norm(toward))
    places = np.array(found)
    heights = places @ up
    return places + (np.median(heights) - heights)[:, None] * up, None
