"""Polygons to triangles: convex ones as fans, concave ones by ear clipping (package mapbox_earcut)."""

from __future__ import annotations

import numpy as np

from ...core.extras import missing
from ..mesh import Floats, Ints

__all__ = ["triangulate"]


def triangulate(points: Floats, corners: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Split polygons into triangles of the same area, whatever their shape.

    Args:
        points: (V, 3) the vertices.
        corners: (N,) vertex indices of all polygons, one polygon after the other.
        counts: (P,) corners per polygon; polygons with fewer than three have no triangles.

    Returns:
        triangles (T, 3) as places in `corners`, in the polygons' order, and the polygon (T,) each belongs to.

    Raises:
        MissingExtraError: there is a concave polygon, and mapbox_earcut is not installed.
    """
    if (counts == 3).all():  # most meshes: nothing to split, and no memory for it
        return np.arange(len(corners)).reshape(-1, 3), np.arange(len(counts))
    first = np.cumsum(counts) - counts
    whose = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    step = np.arange(len(whose)) - np.searchsorted(whose, whose)  # 0, 1, ... within each polygon
    triangles = first[whose][:, None] + np.stack([np.zeros_like(step), step + 1, step + 2], axis=1)
    for count in np.unique(counts[counts > 3]).tolist():
        alike = np.flatnonzero(counts == count)
        places = first[alike][:, None] + np.arange(count)  # (M, count)
        rings = points[corners[places]]
        rings = rings - rings[:, :1]
        # Newell's normal (M, 3): the polygon's plane; a corner that turns against it is a reflex one.
        following = np.roll(rings, -1, axis=1)
        normal = np.cross(rings, following).sum(axis=1)
        turns = np.einsum("mni,mi->mn", np.cross(following - rings, np.roll(following, -1, axis=1) - following), normal)
        slack = 1e-9 * np.einsum("mi,mi->m", normal, normal)[:, None]
        for which in np.flatnonzero((turns < -slack).any(axis=1)):
            ears = clip_ears(rings[which], normal[which])
            if len(ears):
                mine = slice(*np.searchsorted(whose, [alike[which], alike[which] + 1]))
                wanted = np.full((count - 2, 3), places[which, 0])  # triangles without area where ears are fewer
                wanted[: len(ears)] = places[which][ears]
                triangles[mine] = wanted
    return triangles, whose


def clip_ears(ring: Floats, normal: Floats) -> Ints:
    """The triangles (at most n - 2, 3) of a polygon (n, 3) as its corner numbers; none if it has no area or crosses itself."""
    try:
        from mapbox_earcut import triangulate_float64
    except ImportError as error:
        raise missing("a concave polygon", error, "scenes") from error
    length = np.linalg.norm(normal)
    if not np.isfinite(ring).all() or not length > 0:
        return np.zeros((0, 3), np.int64)
    across = np.eye(3)[np.argmin(np.abs(normal))]
    right = np.cross(across, normal) / np.linalg.norm(np.cross(across, normal))
    flat = np.ascontiguousarray(ring @ np.stack([right, np.cross(normal / length, right)], axis=1))
    found = triangulate_float64(flat, np.array([len(flat)], np.uint32)).astype(np.int64).reshape(-1, 3)
    a, b, c = flat[found[:, 0]], flat[found[:, 1]], flat[found[:, 2]]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return np.asarray(np.where((area < 0)[:, None], found[:, ::-1], found))  # the polygon's own orientation
