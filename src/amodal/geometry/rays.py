"""Ray casting with Embree (package embreex): first hits and occlusion, for light and for finding free space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.extras import missing
from .mesh import Floats, Ints

__all__ = ["Caster"]


class Caster:
    """A bounding volume hierarchy over triangles.

    Args:
        vertices: (V, 3), metres.
        faces: (F, 3) indices.

    Raises:
        MissingExtraError: embreex is not installed.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise missing("casting rays", error, "scenes") from error
        # Embree works in float32: coordinates are kept small by moving the scene's middle to the origin.
        self._middle = np.asarray((vertices.min(axis=0) + vertices.max(axis=0)) / 2)
        corners = vertices[faces] - self._middle
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.normals: Floats = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
        """(F, 3) unit normals by the order of the corners; a surface is seen from its front if they point to the viewer."""
        self._scene: Any = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, corners.astype(np.float32))

    def first(self, origins: Floats, directions: Floats) -> tuple[Floats, Ints]:
        """The nearest hit of each ray.

        Args:
            origins: (N, 3) metres.
            directions: (N, 3); distances are in units of their length.

        Returns:
            Distances (N,), infinite without a hit, and face indices (N,), -1 without a hit.
        """
        found = self._scene.run(*self._rays(origins, directions), query="INTERSECT", output=1)
        face = found["primID"].astype(np.int64)
        hit = face >= 0
        return np.where(hit, found["tfar"].astype(np.float64), np.inf), np.where(hit, face, -1)

    def blocked(self, origins: Floats, directions: Floats, reach: float | Floats) -> NDArray[np.bool_]:
        """Whether anything lies within `reach` (in units of the directions' length) on each ray: (N,) bool."""
        limits = np.broadcast_to(np.asarray(reach, np.float32), (len(origins),)).copy()
        hits = self._scene.run(*self._rays(origins, directions), dists=limits, query="OCCLUDED")
        return np.asarray(hits) >= 0

    def _rays(self, origins: Floats, directions: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        start = np.ascontiguousarray(origins - self._middle, np.float32)
        return start, np.ascontiguousarray(directions, np.float32)
