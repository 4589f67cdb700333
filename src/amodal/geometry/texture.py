"""Texture lookup for many pixels at once: all materials of a scene in one array, with smaller copies against aliasing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mesh import Material

__all__ = ["Atlas"]

LEVELS = 12


class Atlas:
    """All textures with their mip levels; colours come back linear."""

    def __init__(self, materials: tuple[Material, ...]) -> None:
        import cv2

        blocks: list[NDArray[np.uint8]] = []
        self._start = np.zeros((len(materials), LEVELS), np.int64)
        self._size = np.ones((len(materials), LEVELS, 2), np.int64)
        self._tint = np.array([each.colour for each in materials], np.float32).clip(0, 1)
        known: dict[int, int] = {}
        count = 0
        for place, material in enumerate(materials):
            texture = material.texture
            if texture is None:
                texture = np.full((1, 1, 3), 255, np.uint8)
            elif id(texture) in known:
                self._start[place], self._size[place] = self._start[known[id(texture)]], self._size[known[id(texture)]]
                continue
            else:
                known[id(texture)] = place
            for level in range(LEVELS):
                self._start[place, level], self._size[place, level] = count, texture.shape[:2]
                if level == 0 or texture.shape != blocks[-1].shape:
                    blocks.append(texture)
                    count += texture.shape[0] * texture.shape[1]
                else:
                    self._start[place, level] = count - texture.shape[0] * texture.shape[1]
                smaller = (max(1, texture.shape[1] // 2), max(1, texture.shape[0] // 2))
                texture = cv2.resize(texture, smaller, interpolation=cv2.INTER_AREA).reshape(smaller[1], smaller[0], 3)
        self._texels = to_linear(np.concatenate([block.reshape(-1, 3) for block in blocks]))

    def sample(
        self, material: NDArray[np.int32], uv: NDArray[np.float32], footprint: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Linear colours (N, 3) in [0, 1], bilinear, wrapped around.

        Args:
            material: (N,) indices.
            uv: (N, 2), v upwards.
            footprint: (N,) the pixel's width in texture coordinates; picks the mip level.
        """
        base = self._size[material, 0].max(axis=1)
        level = np.clip(np.round(np.log2(np.maximum(footprint * base, 1e-9))), 0, LEVELS - 1).astype(np.int64)
        start, size = self._start[material, level], self._size[material, level]
        x = uv[:, 0] * size[:, 1] - 0.5
        y = (1 - uv[:, 1]) * size[:, 0] - 0.5
        left, top = np.floor(x), np.floor(y)
        across, down = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
        column, row = left.astype(np.int64), top.astype(np.int64)
        columns = [np.mod(column, size[:, 1]), np.mod(column + 1, size[:, 1])]
        colour = np.zeros((len(uv), 3), np.float32)
        for dy, weight_y in ((0, 1 - down), (1, down)):
            line = start + np.mod(row + dy, size[:, 0]) * size[:, 1]
            colour += weight_y * (
                self._texels[line + columns[0]] * (1 - across) + self._texels[line + columns[1]] * across
            )
        return np.asarray(colour * self._tint[material])


def to_linear(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """sRGB bytes to linear light in [0, 1]."""
    return np.asarray(((np.arange(256) / 255.0) ** 2.2).astype(np.float32)[values])


def to_srgb(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light in [0, 1] to sRGB in [0, 255]."""
    return np.asarray(np.clip(values, 0, 1) ** np.float32(1 / 2.2) * 255)
