"""`Lifter`: the protocol of image-to-3D models, and the fallback without weights that inflates a silhouette."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.errors import DataError
from ...core.options import Options
from ...geometry.mesh import Mesh
from ...plugins.protocols import Plugin, Progress, no_progress
from ..cutout import bleed, check_cutout

__all__ = ["Inflate", "Lifter"]


class Lifter(Plugin):
    """The cut-out of a whole object to a mesh. Others (TripoSR, ...) plug in through the entry points `amodal.lifters`."""

    @abstractmethod
    def lift(
        self, rgba: NDArray[np.uint8], seed: int = 0, progress: Progress = no_progress, keep: Path | None = None
    ) -> Mesh:
        """Lift a cut-out.

        Args:
            rgba: (h, w, 4) uint8, straight alpha, as `Completion.rgba`.
            seed: same seed, same mesh.
            progress: called once per network evaluation.
            keep: file in which a long optimisation keeps its state; with the same input, options and seed it goes on from
                there. Quick lifters leave it alone.

        Returns:
            the mesh in the axes of `Mesh`: the input picture is its view from azimuth 0.

        Raises:
            DataError: there is no object in the picture.
        """


RIM = 0.05
"""Half the thickness at the silhouette, in cells."""


class InflateOptions(Options):
    """Options of the silhouette lifter."""

    resolution: int = Field(96, ge=8, le=512, description="cells along the longer side")
    thickness: float = Field(1.0, gt=0, le=4, description="depth to that of a ball over the same disc")


class Inflate(Lifter):
    """Inflates the cut-out like a cushion: no weights and no knowledge of the object; its back mirrors its front.

    The height is the square root of the solution u of laplace(u) = -4 inside the silhouette with 0 on it, which lifts a disc
    to exactly a ball (Repousse; Joshi and Carr 2008).
    """

    name: ClassVar[str] = "inflate"
    summary: ClassVar[str] = (
        "the silhouette inflated like a cushion, the back a mirror of the front; no weights, a stand-in"
    )
    Options: ClassVar[type[Options]] = InflateOptions
    license: ClassVar[str] = "Apache-2.0"
    extra: ClassVar[str] = "scenes"

    def lift(
        self, rgba: NDArray[np.uint8], seed: int = 0, progress: Progress = no_progress, keep: Path | None = None
    ) -> Mesh:
        import cv2

        alpha = check_cutout(rgba)
        height, width = alpha.shape
        scale = self.options.resolution / max(height, width)
        cells = (max(2, round(width * scale)), max(2, round(height * scale)))
        solid = cv2.resize(alpha.astype(np.float32), cells, interpolation=cv2.INTER_AREA) > 0.5
        if not solid.any():
            raise DataError("the object is too thin to be lifted; use a larger picture or the option resolution=256")
        solid = join_corners(np.pad(solid, 1))
        height = np.sqrt(inflate(solid)) * self.options.thickness
        progress("step", 1, 1)
        vertices, faces, places = shell(solid, height)
        uv = np.stack([places[:, 0] / cells[0], 1 - places[:, 1] / cells[1]], axis=1).clip(0, 1)
        notes = {
            "lifter": "inflate",
            "note": "a silhouette inflated without knowledge of the object; the back is mirrored",
        }
        return Mesh.textured(vertices, faces, uv, bleed(rgba[..., :3], alpha), notes).normalised()


def inflate(solid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """u with laplace(u) = -4 at the grid's inner corners and 0 on all others: (h + 1, w + 1) float64 for (h, w) cells.

    A corner is inner if its four cells are solid; `solid` must be empty along its border.
    """
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import spsolve

    inner = np.zeros((solid.shape[0] + 1, solid.shape[1] + 1), bool)
    inner[1:-1, 1:-1] = solid[:-1, :-1] & solid[1:, :-1] & solid[:-1, 1:] & solid[1:, 1:]
    field = np.zeros(inner.shape)
    number = np.full(inner.shape, -1, np.int32)  # SuperLU knows no wider indices
    count = int(inner.sum())
    if not count:
        return field
    number[inner] = order = np.arange(count, dtype=np.int32)
    # 4 on the diagonal, -1 for each of a corner's inner neighbours.
    rows, columns = [order], [order]
    for step in (1, -1):
        for axis in (0, 1):
            other = np.roll(number, step, axis=axis)
            both = inner & (other >= 0)
            rows.append(number[both])
            columns.append(other[both])
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = csc_array((np.where(row == column, 4.0, -1.0), (row, column)), shape=(count, count))
    field[inner] = np.maximum(spsolve(matrix, np.full(count, 4.0)), 0)
    return field


def shell(solid: NDArray[np.bool_], height: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Front and back surface over the solid cells with a thin rim between them: closed.

    Args:
        solid: (h, w) bool cells, empty along the border.
        height: (h + 1, w + 1) at the corners.

    Returns:
        vertices (V, 3) with y up, faces (F, 3), and the corner (column, row) of each vertex, in cells without the border.
    """
    rows, columns = np.nonzero(solid)
    corners = [(rows, columns), (rows + 1, columns), (rows + 1, columns + 1), (rows, columns + 1)]
    used = np.zeros(height.shape, bool)
    for corner in corners:
        used[corner] = True
    count = int(used.sum())
    front = np.full(height.shape, -1)
    front[used] = np.arange(count)
    place = np.tile(np.argwhere(used)[:, ::-1] - 1.0, (2, 1))
    z = height[used] + RIM
    vertices = np.stack([place[:, 0], -place[:, 1], np.concatenate([z, -z])], axis=1)
    a, b, c, d = (front[corner] for corner in corners)
    faces = [np.stack(each, axis=1) for each in ((a, b, c), (a, c, d))]
    faces += [face[:, ::-1] + count for face in faces]
    neighbours = ((0, -1, a, b), (1, 0, b, c), (0, 1, c, d), (-1, 0, d, a))
    for down, right, first, second in neighbours:
        edge = ~solid[rows + down, columns + right]
        p, q = first[edge], second[edge]
        faces += [np.stack([q, p, p + count], axis=1), np.stack([q, p + count, q + count], axis=1)]
    return vertices, np.concatenate(faces), place


def join_corners(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that touch only at a corner get a third cell between them, so that the surface has no pinched edges."""
    out = solid.copy()
    while True:
        a, b, c, d = out[:-1, :-1], out[:-1, 1:], out[1:, :-1], out[1:, 1:]
        falling, rising = a & d & ~b & ~c, b & c & ~a & ~d
        if not (falling.any() or rising.any()):
            return np.asarray(out)
        b[falling] = True
        a[rising] = True
