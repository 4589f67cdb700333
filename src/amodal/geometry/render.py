"""Pictures of meshes: `Renderer.render` lights a scene as a photograph is, `Renderer.paint` shows own colours under one light.

The surfaces come from the same projection as the masks, at twice the resolution for smooth edges; light is traced with Embree
at half the resolution and smoothed along surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.image import Image
from ..core.options import build_options
from .camera import Camera
from .light import CHUNK, Lighting, LightMap, RenderOptions, facing
from .mesh import Floats, Ints, Mesh
from .project import Points, nearest_faces, surface_points
from .rays import Caster
from .texture import Atlas, to_srgb

__all__ = ["Light", "RenderOptions", "Renderer"]

BACKGROUND = (0.86, 0.9, 0.95)
"""Linear light where there is no surface: an overcast sky."""


@dataclass(frozen=True, eq=False)
class Light:
    """One distant light: a unit `direction` (3,) to it, the `ambient` share in [0, 1] that comes from everywhere, and whether
    it `casts` shadows (which needs Embree)."""

    direction: Floats
    ambient: float = 0.5
    casts: bool = True


class Renderer:
    """Renders views of one mesh. Holds its textures, lamps and ray caster, each made when first needed.

    Args:
        mesh: what to render; without a surface it is grey.
        options: quality and light of `render`.
        caster: a ray caster over the mesh's faces, if there is one already.
    """

    def __init__(self, mesh: Mesh, options: RenderOptions | None = None, caster: Caster | None = None) -> None:
        self.mesh = mesh
        self.options = options or build_options(RenderOptions, None)
        self.surface = mesh.dressed
        self.atlas = Atlas(self.surface.materials)
        if caster is not None:
            self.caster = caster

    @cached_property
    def caster(self) -> Caster:
        """Casts rays at the mesh."""
        return Caster(self.mesh.vertices, self.mesh.faces)

    @cached_property
    def lighting(self) -> Lighting:
        """The lamps or the sun."""
        return Lighting(self.mesh, self.caster, self.options)

    def render(self, camera: Camera, seed: int = 0) -> Image:
        """The picture (H, W, 3) uint8 RGB that `camera` takes; the same seed gives the same picture."""
        rng = np.random.default_rng(seed)
        height, width = camera.size
        factor = self.options.supersample
        fine = camera.scaled(factor)
        # 1. The nearest face of every sample, and the light at half the resolution.
        faces, _ = nearest_faces(self.mesh, fine)  # (factor H, factor W)
        light = self.lighting.map(camera.scaled(0.5), rng)
        # 2. A pixel all of whose samples see one face is shaded once, at its centre; the others sample by sample.
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
            # (N,) points; `lit` (N,) is the smoothed light at their places in the half-size map.
            points = surface_points(self.mesh, camera, face[some], index[some])
            row, column = np.divmod(points.index, camera.size[1])
            lit = light.at((column + 0.5) / camera.size[1], (row + 0.5) / camera.size[0], points, self.caster.normals)
            colour[some] = self.albedo(points, camera) * lit[:, None]
        return colour

    def paint(
        self,
        camera: Camera,
        light: Light | None = None,
        background: ArrayLike = (255, 255, 255),
        faces: Ints | None = None,
    ) -> tuple[Image, NDArray[np.bool_]]:
        """The mesh in its own colours, one sample a pixel: unlit, or under one distant light.

        Args:
            camera: the view.
            light: shades surfaces on both sides (Lambert's law, brighter on the light's side) and casts shadows.
            background: sRGB (3,) in [0, 255] where there is no surface.
            faces: (H, W) the nearest faces, as `Projection.faces`, where they are known already.

        Returns:
            (H, W, 3) uint8 RGB, and (H, W) bool where the mesh is.
        """
        # faces (H, W), seen (P,) places of the flattened picture with a surface, picture (H W, 3).
        faces = nearest_faces(self.mesh, camera)[0] if faces is None else faces
        seen = np.flatnonzero(faces.reshape(-1) >= 0)
        picture = np.empty((faces.size, 3), np.uint8)
        picture[:] = np.clip(np.rint(np.asarray(background, np.float64)), 0, 255).astype(np.uint8)
        for first in range(0, len(seen), CHUNK):
            index = seen[first : first + CHUNK]
            points = surface_points(self.mesh, camera, faces.reshape(-1)[index], index)
            colour = self.albedo(points, camera)  # (N, 3) linear
            if light is not None:
                # The shade is a share of the sRGB value: pictures keep the contrast of painted ones.
                colour *= self.shaded(points, camera, light)[:, None] ** np.float32(2.2)
            picture[index] = np.rint(to_srgb(colour))
        return picture.reshape(*faces.shape, 3), faces >= 0

    def shaded(self, points: Points, camera: Camera, light: Light) -> NDArray[np.float32]:
        """The share (N,) in [0, 1] of its own brightness that each point shows under a distant light."""
        # 1. Unit rays (N, 3) through pixel centres; unit normals (N, 3) of the faces, turned towards the camera.
        row, column = np.divmod(points.index, camera.size[1])
        rays = camera.rays(np.stack([column + 0.5, row + 0.5], axis=1))
        corners = self.mesh.vertices[self.mesh.faces[points.face]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
        normal = facing(normal, rays)
        # 2. Lambert's law, (N,); surfaces that look away from the light keep a little of it, so that their shape shows.
        cosine = normal @ light.direction
        lit = np.maximum(cosine, 0)
        # 3. Shadow rays from just above the surface: the lift grows with depth, as rounding does.
        if light.casts and (up := np.flatnonzero(lit > 0)).size:
            start = (camera.position + rays * points.depth[:, None] + normal * (1e-4 + 1e-3 * points.depth[:, None]))[
                up
            ]
            lit[up] *= ~self.caster.blocked(start, np.tile(light.direction, (len(up), 1)), 50.0)
        return np.asarray(light.ambient + (1 - light.ambient) * (0.35 * np.abs(cosine) + 0.65 * lit), np.float32)

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
        # uv (N, 3 corners, 2) to (N, 2) by barycentric weights; colour (N, 3) from the texture's level that fits the pixel.
        corners = surface.uv[points.face]
        uv = np.einsum("nk,nkc->nc", points.corner_weights, corners).astype(np.float32)
        colour = self.atlas.sample(surface.material[points.face], uv, self.footprint(points, camera))
        if surface.colours is not None:
            # Colours of vertices are sRGB: mixed as light.
            tints = (surface.colours[self.mesh.faces[points.face]] / 255.0) ** 2.2
            colour *= np.einsum("nk,nkc->nc", points.corner_weights, tints).astype(np.float32)
        return colour

    def footprint(self, points: Points, camera: Camera) -> NDArray[np.float32]:
        """The pixel's width in texture coordinates: the texture's scale on the face times depth over focal length."""
        # Each face once (F,): area in metres^2, texture in parts of the texture^2, scale their root.
        face, inverse = np.unique(points.face, return_inverse=True)
        corners = self.mesh.vertices[self.mesh.faces[face]]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        uv = self.surface.uv[face].astype(np.float64)
        first, second = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        texture = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        scale = np.sqrt(texture / np.maximum(area, 1e-12))[inverse.reshape(-1)]
        return np.asarray(scale * points.depth / camera.matrix[0, 0], np.float32)


def exposure(radiance: NDArray[np.float32]) -> float:
    """The factor that brings the picture's typical brightness to a middle grey."""
    luminance = radiance @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return float(0.45 / max(1e-3, float(np.exp(np.log(np.maximum(luminance, 1e-3)).mean()))))
