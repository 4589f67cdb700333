"""Colours of a surface as a texture: every pair of triangles owns a small square of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...geometry.mesh import Mesh

__all__ = ["bake"]

SIDE = 6
"""Pixels along a square; two triangles share it, each with a margin of its own."""


def bake(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    colours: Callable[[NDArray[np.float64]], NDArray[np.uint8]],
) -> Mesh:
    """A textured mesh from a function of space.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        colours: points (N, 3) to (N, 3) uint8.

    Returns:
        the same triangles, each with its own three vertices, uv and texture.
    """
    columns = int(np.ceil(np.sqrt((len(faces) + 1) // 2)))
    rows = -(-((len(faces) + 1) // 2) // columns)
    number = np.arange(len(faces))
    square, upper = number // 2, number % 2
    corner = np.stack([square % columns, square // columns], axis=1) * SIDE  # (F, 2) pixels: x, y
    last = SIDE - 0.5
    low = np.array([[0.5, 0.5], [SIDE - 2.5, 0.5], [0.5, SIDE - 2.5]])
    high = np.array([[last, last], [2.5, last], [last, 2.5]])
    places = corner[:, None] + np.where(upper[:, None, None] == 1, high, low)  # (F, 3, 2): texel centres of the corners

    i, j = np.meshgrid(np.arange(SIDE), np.arange(SIDE))  # every texel belongs to one half
    centre = np.stack([i, j], axis=-1).reshape(-1, 2) + 0.5
    of_upper = centre.sum(axis=1) > SIDE
    width, height = columns * SIDE, rows * SIDE
    texture = np.zeros((height, width, 3), np.uint8)
    triangles = vertices[faces]
    for half, frame in ((0, low), (1, high)):
        texels = centre[of_upper == half]
        across, up = frame[1] - frame[0], frame[2] - frame[0]
        weight = np.linalg.solve(np.stack([across, up], axis=1), (texels - frame[0]).T).T.clip(0, 1)
        weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1)
        full = np.concatenate([1 - weight.sum(axis=1, keepdims=True), weight], axis=1)  # (T, 3)
        mine = upper == half
        points = np.einsum("tk,fkc->ftc", full, triangles[mine])
        at = (corner[mine][:, None] + (texels - 0.5)).astype(int)  # (F, T, 2)
        texture[at[..., 1], at[..., 0]] = colours(points.reshape(-1, 3)).reshape(*at.shape[:2], 3)
    uv = np.stack([places[..., 0] / width, 1 - places[..., 1] / height], axis=-1).reshape(-1, 2)
    return Mesh.textured(triangles.reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3), uv, texture)
