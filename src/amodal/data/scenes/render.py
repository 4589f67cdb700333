"""Pictures of scenes: textured, lit by lamps under the ceiling (or a sun), with soft shadows and ambient occlusion.

The surfaces come from the same projection as the masks, at twice the resolution for smooth edges; light is traced with Embree
at half the resolution and smoothed along surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...image import Image
from ...options import Options, build_options
from .cameras import floor_below
from .project import nearest_faces
from .rays import Caster
from .scene import Camera, Floats, Ints, Material, SceneGeometry, Surface
from .texture import Atlas, to_srgb

__all__ = ["RenderOptions", "Renderer"]

CHUNK = 1 << 16
BACKGROUND = (0.86, 0.9, 0.95)
"""Linear light where there is no surface: an overcast sky."""


class RenderOptions(Options):
    """How pictures are rendered."""

    supersample: int = Field(2, ge=1, le=4, description="samples per pixel and direction")
    shadow_rays: int = Field(4, ge=0, le=64, description="rays to the lamps per pixel")
    ambient_rays: int = Field(8, ge=0, le=64, description="rays for ambient occlusion per pixel")
    ambient_reach: float = Field(1.5, gt=0, description="how far a surface takes ambient light away, metres")
    ambient: float = Field(0.45, ge=0, le=1, description="share of the light that comes from everywhere")
    noise: float = Field(1.2, ge=0, le=20, description="standard deviation of the sensor's noise, in 255ths")


@dataclass(frozen=True)
class Points:
    """Surface points seen by pixels: all arrays have one row per pixel that sees a surface."""

    index: Ints
    """Which pixel of the flattened picture."""
    face: Ints
    corner_weights: Floats
    """(N, 3) barycentric coordinates."""
    depth: Floats


class Renderer:
    """Renders views of one scene. Holds its textures, lamps and ray caster.

    Args:
        scene: what to render; without a surface it is grey.
        options: quality and light.
        caster: a ray caster over the scene's faces, if there is one already.
    """

    def __init__(
        self, scene: SceneGeometry, options: RenderOptions | None = None, caster: Caster | None = None
    ) -> None:
        self.scene = scene
        self.options = options or build_options(RenderOptions, None)
        self.caster = caster or Caster(scene.vertices, scene.faces)
        count = len(scene.faces)
        plain = Surface((Material(),), np.zeros(count, np.int32), np.zeros((count, 3, 2), np.float32))
        self.surface = scene.surface or plain
        self.atlas = Atlas(self.surface.materials)
        self.lamps, self.sun = lamps(scene, self.caster)

    def render(self, camera: Camera, seed: int = 0) -> Image:
        """The picture (H, W, 3) uint8 RGB that `camera` takes; the same seed gives the same picture."""
        rng = np.random.default_rng(seed)
        height, width = camera.size
        factor = self.options.supersample
        fine = camera.scaled(factor)
        faces, _ = nearest_faces(self.scene, fine)
        light = self.light(camera.scaled(0.5), rng)
        # A pixel all of whose samples see one face is shaded once, at its centre; the others sample by sample.
        samples = faces.reshape(height, factor, width, factor).transpose(0, 2, 1, 3).reshape(height * width, -1)
        plain = (samples == samples[:, :1]).all(axis=1)
        radiance = np.empty((height * width, 3), np.float32)
        radiance[:] = BACKGROUND
        whole = np.flatnonzero(plain & (samples[:, 0] >= 0))
        radiance[whole] = self.shade(camera, whole, samples[whole, 0], light)
        mixed = np.flatnonzero(~plain)
        row, column = np.divmod(mixed, width)
        total = np.zeros((len(mixed), 3), np.float32)
        for place in range(factor * factor):
            index = (row * factor + place // factor) * fine.size[1] + column * factor + place % factor
            colour = np.tile(np.array(BACKGROUND, np.float32), (len(mixed), 1))
            hit = np.flatnonzero(samples[mixed, place] >= 0)
            colour[hit] = self.shade(fine, index[hit], samples[mixed[hit], place], light)
            total += colour
        radiance[mixed] = total / (factor * factor)
        return self.develop(radiance.reshape(height, width, 3), rng)

    def shade(self, camera: Camera, index: Ints, face: Ints, light: LightMap) -> NDArray[np.float32]:
        """The light (N, 3) that pixels `index` of the flattened picture get from their faces."""
        colour = np.empty((len(index), 3), np.float32)
        for first in range(0, len(index), CHUNK):
            some = slice(first, first + CHUNK)
            points = surface_points(self.scene, camera, face[some], index[some])
            row, column = np.divmod(points.index, camera.size[1])
            lit = light.at((column + 0.5) / camera.size[1], (row + 0.5) / camera.size[0], points, self.caster.normals)
            colour[some] = self.albedo(points, camera) * lit[:, None]
        return colour

    def develop(self, radiance: NDArray[np.float32], rng: np.random.Generator) -> Image:
        """Exposure, highlights, noise and sRGB."""
        exposed = radiance * np.float32(exposure(radiance))
        curved = (
            exposed * (1 + exposed / 4) / (1 + exposed)
        )  # rolls off highlights (Reinhard's extended curve, white at 2)
        noise = rng.standard_normal(curved.shape, np.float32) * np.float32(self.options.noise)
        return np.asarray(np.clip(np.rint(to_srgb(curved) + noise), 0, 255), np.uint8)

    def albedo(self, points: Points, camera: Camera) -> NDArray[np.float32]:
        """The surface's own linear colour (N, 3)."""
        surface = self.surface
        corners = surface.uv[points.face]
        uv = np.einsum("nk,nkc->nc", points.corner_weights, corners).astype(np.float32)
        colour = self.atlas.sample(surface.material[points.face], uv, self.footprint(points, camera))
        if surface.colours is not None:
            tints = (surface.colours[self.scene.faces[points.face]] / 255.0) ** 2.2
            colour *= np.einsum("nk,nkc->nc", points.corner_weights, tints).astype(np.float32)
        return colour

    def footprint(self, points: Points, camera: Camera) -> NDArray[np.float32]:
        """The pixel's width in texture coordinates: the texture's scale on the face times depth over focal length."""
        face, inverse = np.unique(points.face, return_inverse=True)
        corners = self.scene.vertices[self.scene.faces[face]]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        uv = self.surface.uv[face].astype(np.float64)
        first, second = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        texture = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        scale = np.sqrt(texture / np.maximum(area, 1e-12))[inverse.reshape(-1)]
        return np.asarray(scale * points.depth / camera.matrix[0, 0], np.float32)

    def light(self, camera: Camera, rng: np.random.Generator) -> LightMap:
        """The light that falls on the surface that each pixel of `camera` sees, smoothed along surfaces."""
        options = self.options
        faces, depth = nearest_faces(self.scene, camera)
        size = camera.size
        ambient, direct = np.ones(size[0] * size[1], np.float32), np.ones(size[0] * size[1], np.float32)
        normals = np.zeros((size[0] * size[1], 3), np.float32)
        seen = np.flatnonzero(faces.reshape(-1) >= 0)
        for first in range(0, len(seen), CHUNK):
            points = surface_points(
                self.scene, camera, faces.reshape(-1)[seen[first : first + CHUNK]], seen[first : first + CHUNK]
            )
            row, column = np.divmod(points.index, size[1])
            rays = camera.rays(np.stack([column + 0.5, row + 0.5], axis=1))
            place = camera.position + rays * points.depth[:, None]
            normal = facing(self.caster.normals[points.face], rays)
            smooth = facing(self.smooth(points, normal), rays)
            start = place + normal * (1e-4 + 1e-4 * points.depth[:, None])
            ambient[points.index] = self.openness(start, normal, rng) if options.ambient_rays else 1.0
            direct[points.index] = self.direct(start, smooth, rng)
            normals[points.index] = smooth
        upward = normals @ np.array(self.scene.up, np.float32)
        total = options.ambient * ambient * (0.75 + 0.25 * upward) + (1 - options.ambient) * direct
        directions = normals.reshape(*size, 3)
        return LightMap(smooth_along(total.reshape(size), directions, depth), directions, depth)

    def smooth(self, points: Points, flat: Floats) -> Floats:
        """Interpolated normals (N, 3) where the file has them, else the flat ones."""
        if self.surface.normals is None:
            return flat
        corners = self.surface.normals[self.scene.faces[points.face]]
        mixed = np.einsum("nk,nkc->nc", points.corner_weights, corners)
        length = np.linalg.norm(mixed, axis=1, keepdims=True)
        return np.where(length > 0.1, mixed / np.maximum(length, 1e-9), flat)

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


def surface_points(scene: SceneGeometry, camera: Camera, face: Ints, index: Ints) -> Points:
    """Barycentric coordinates and depth where the centre rays of pixels `index` meet their faces."""
    some, inverse = np.unique(face, return_inverse=True)
    matrix = camera.matrix @ camera.cam_from_world[:3]
    corners = scene.vertices[scene.faces[some]] @ matrix[:, :3].T + matrix[:, 3]
    edges = np.cross(corners[:, [1, 2, 0]], corners[:, [2, 0, 1]])
    volume = np.einsum("fi,fi->f", corners[:, 0], edges[:, 0])
    edges = (edges / volume[:, None, None])[inverse.reshape(-1)]
    row, column = np.divmod(index, camera.size[1])
    weights = edges[..., 0] * (column + 0.5)[:, None] + edges[..., 1] * (row + 0.5)[:, None] + edges[..., 2]
    nearness = weights.sum(axis=1)
    return Points(index, face, weights / nearness[:, None], 1 / nearness)


def facing(normal: Floats, rays: Floats) -> Floats:
    """Normals turned towards the viewer: surfaces are lit on both sides."""
    away = np.einsum("ni,ni->n", normal, rays) > 0
    return np.where(away[:, None], -normal, normal)


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


def exposure(radiance: NDArray[np.float32]) -> float:
    """The factor that brings the picture's typical brightness to a middle grey."""
    luminance = radiance @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return float(0.45 / max(1e-3, float(np.exp(np.log(np.maximum(luminance, 1e-3)).mean()))))


def lamps(scene: SceneGeometry, caster: Caster) -> tuple[Floats, Floats | None]:
    """Lamp positions (n, 3) under the ceiling, about every 4 m, where there is a room; else the direction (3,) to a sun."""
    up = np.array(scene.up)
    low, high = scene.bounds
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
