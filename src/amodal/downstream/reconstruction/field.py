"""A voxel field of density and colour: rendered along rays, fitted by gradients, and turned into a textured mesh.

The field fills the cube [-0.5, 0.5]^3 of the upright object's axes (x right, y up, z towards the input's camera).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import DataError
from ...geometry.camera import Camera
from ...geometry.mesh import Mesh
from .bake import bake

__all__ = ["VoxelField", "rays", "visual_hull"]

HALF = 0.5
SOLID = 6.0
"""Density of cells that are surely inside (and, negative, outside); 0 is the surface: half the light passes a cell."""


class VoxelField(nn.Module):
    """Density and colour on a grid of `cells` cubed corners, with trilinear interpolation.

    `grid` is (1, 4, n, n, n), axes z, y, x: the density before its softplus, and the colours before their sigmoid. A cell of
    density 0 lets half of the light through.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.pitch = 2 * HALF / (cells - 1)
        grid = torch.zeros(1, 4, cells, cells, cells)
        grid[:, 0] = -SOLID
        self.grid = nn.Parameter(grid)

    def fill(self, inside: Tensor, colour: Tensor | None = None) -> None:
        """Start from an occupancy (n, n, n) in [0, 1], axes z, y, x, its edge softened by one cell, and one colour (3,) in [0, 1]."""
        soft = F.avg_pool3d(F.pad(inside[None, None].float(), (1,) * 6, mode="replicate"), 3, stride=1)
        with torch.no_grad():
            self.grid[:, :1] = SOLID * (2 * soft.to(self.grid) - 1)
            if colour is not None:
                self.grid[:, 1:] = torch.logit(colour.to(self.grid), eps=0.05).view(1, 3, 1, 1, 1)

    def render(self, origins: Tensor, directions: Tensor, background: float = 1.0) -> tuple[Tensor, Tensor]:
        """Volume rendering (Max 1995) of R rays.

        Args:
            origins: (R, 3).
            directions: (R, 3) of length 1.
            background: what is seen behind the field, in [0, 1].

        Returns:
            colours (R, 3) and opacities (R,), both in [0, 1].
        """
        count = 2 * self.cells
        near, far = through_cube(origins, directions)  # (R,)
        step = (far - near) / count
        depth = near[:, None] + (torch.arange(count, device=near.device) + 0.5) * step[:, None]  # (R, K)
        points = origins[:, None] + depth[..., None] * directions[:, None]  # (R, K, 3)
        density, colour = self.at(points)
        thickness = density * step[:, None]
        passed = torch.exp(-(thickness.cumsum(1) - thickness))  # before each sample
        weight = passed * (1 - torch.exp(-thickness))
        opacity = weight.sum(1)
        return (weight[..., None] * colour).sum(1) + background * (1 - opacity)[:, None], opacity

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (...) per unit of length and colour (..., 3) in [0, 1] at points (..., 3)."""
        place = (points / HALF).reshape(1, -1, 1, 1, 3)
        values = F.grid_sample(self.grid, place, padding_mode="border", align_corners=True).view(4, -1)
        density = F.softplus(values[0]) / self.pitch
        return density.view(points.shape[:-1]), values[1:].T.sigmoid().view(*points.shape[:-1], 3)

    def roughness(self) -> Tensor:
        """Mean squared difference of neighbouring cells, of colours ten times that of densities, which have edges."""
        weight = torch.tensor([0.1, 1, 1, 1], device=self.grid.device).view(1, 4, 1, 1, 1)
        return sum((weight * torch.diff(self.grid, dim=axis) ** 2).mean() for axis in (2, 3, 4))  # type: ignore[return-value]

    def picture(self, camera: Camera) -> tuple[Tensor, Tensor]:
        """The field from a camera: colours (H, W, 3) on white and opacity (H, W)."""
        origins, directions = rays(camera, self.grid.device)
        colour, opacity = self.render(origins, directions)
        return colour.view(*camera.size, 3), opacity.view(camera.size)

    def mesh(self) -> Mesh:
        """The surface where a cell lets half of the light through, textured; specks are left out. Raises DataError if none."""
        from scipy.ndimage import label
        from skimage.measure import marching_cubes

        values = self.grid.detach()[0, 0].float().cpu().numpy()
        parts, count = label(values > 0)
        if not count:
            raise DataError("the field has no surface: nothing in it is solid; are the views or the cut-out empty?")
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        kept = np.isin(parts, np.flatnonzero(sizes >= 0.05 * sizes.max())) | (values <= 0)
        padded = np.pad(np.where(kept, values, -SOLID), 1, constant_values=-SOLID)
        corners, faces, _, _ = marching_cubes(padded, 0.0)
        vertices = (corners[:, ::-1].astype(np.float64) - 1) * self.pitch - HALF
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        if np.einsum("nk,nk->n", a, np.cross(b, c)).sum() < 0:  # inside out
            faces = faces[:, ::-1]
        return bake(vertices, faces.astype(np.int64), self.colours)

    def colours(self, points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """(N, 3) uint8 at points (N, 3)."""
        with torch.no_grad():
            _, colour = self.at(torch.from_numpy(points).to(self.grid))
        return np.asarray(np.rint(colour.float().cpu().numpy() * 255), np.uint8)


def through_cube(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the cube: (R,) distances, equal for rays that miss it."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    one, two = (-HALF - origins) / safe, (HALF - origins) / safe
    near = torch.minimum(one, two).amax(1).clamp(min=0)
    far = torch.maximum(one, two).amin(1)
    return near, torch.maximum(near, far)


def rays(camera: Camera, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The origins and directions (H * W, 3) of a camera's pixels, row by row; directions have length 1."""
    height, width = camera.size
    row, column = np.divmod(np.arange(height * width), width)
    directions = torch.tensor(camera.rays(np.stack([column + 0.5, row + 0.5], axis=1)), dtype=torch.float32)
    origin = torch.tensor(camera.position, dtype=torch.float32, device=device)
    directions = F.normalize(directions.to(device), dim=1)
    return origin.expand_as(directions), directions


def visual_hull(masks: Tensor, cameras: Sequence[Camera], cells: int) -> Tensor:
    """The share of the masks (N, S, S) in which each cell is seen inside: (n, n, n) in [0, 1], axes z, y, x."""
    line = np.linspace(-HALF, HALF, cells)
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    seen = torch.zeros(len(points), device=masks.device)
    for mask, camera in zip(masks, cameras, strict=True):
        pixels, _ = camera.locate(points)
        place = torch.tensor(pixels / np.array(camera.size[::-1]) * 2 - 1, dtype=torch.float32).view(1, -1, 1, 2)
        values = F.grid_sample(mask[None, None].float(), place.to(masks.device), align_corners=False)
        seen += (values.view(-1) > 0.5).float()
    return (seen / len(masks)).view(cells, cells, cells)
