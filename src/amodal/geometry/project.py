"""Projection: the visible and amodal masks of all objects of a scene in one pass (Zhan et al., equations 1 and 2).

Every triangle is cut into spans, one per pixel row: the pixels whose centre ray meets it. A span says both things at once. Amodal
masks are the union of an object's spans, without any depth; visible masks are the nearest span at each pixel. Both come from the same
exact test (float64 edge functions, equal and opposite on shared edges, so that no ray slips through), hence visible is a part of
amodal by construction, and the cost grows with the pixels that surfaces cover, not with objects times pixels.
Triangles behind or across the camera plane need no clipping (homogeneous edge functions: Olano and Greer, 1997).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core.mask import Box, Mask, Size
from .camera import Camera
from .mesh import Floats, Ints, Mesh
from .scene import SceneGeometry

__all__ = ["Points", "Projection", "Spans", "nearest_faces", "project", "spans", "surface_points"]

FACES_AT_ONCE = 1 << 18
SPANS_AT_ONCE = 1 << 19
FRAGMENTS_AT_ONCE = 1 << 20
CELLS_AT_ONCE = 1 << 23
HALF_OPEN = np.array([1e-7, 2e-7])
"""Rays pass this many pixels to the right of and below pixel centres: of an edge that runs through centres the left and upper
side has them, so that areas are not biased, and two surfaces side by side share no pixel."""


@dataclass(frozen=True)
class Spans:
    """Pixels whose centre rays meet triangles: pixels start <= x < stop of row y; 1 / z-depth = slope * (x + 0.5) + offset."""

    face: Ints
    y: NDArray[np.int32]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    slope: Floats
    offset: Floats


@dataclass(frozen=True)
class Projection:
    """What one camera sees of a scene.

    Attributes:
        labels: (H, W) int32: id of the instance that is seen, the one of the nearest surface unless `with_seen` knows better; 0
            where there is none or it belongs to none.
        faces: (H, W) int64: index of the nearest face, -1 where there is none.
        depth: (H, W) float32: z-depth of the nearest surface in metres, 0 where there is none.
        amodal: per instance id the projection of the object alone (equation 2); may leave the frame if so asked. Every
            object with at least one pixel is there.
    """

    labels: NDArray[np.int32]
    faces: Ints
    depth: NDArray[np.float32]
    amodal: dict[int, Mask] = field(repr=False)

    @cached_property
    def visible(self) -> dict[int, Mask]:
        """Per instance id the pixels where it is seen (equation 1: nearest); empty masks for objects wholly hidden."""
        found = {}
        size = self.labels.shape
        for identity, mask in self.amodal.items():
            x0, y0, x1, y1 = mask.box
            x0, y0, x1, y1 = max(0, x0), max(0, y0), min(size[1], x1), min(size[0], y1)
            found[identity] = Mask.from_array(self.labels[y0 : max(y0, y1), x0 : max(x0, x1)] == identity, (x0, y0))
        return found

    def with_seen(self, masks: Mapping[int, Mask]) -> Projection:
        """The projection with visible masks of the data set's own in place of the computed ones.

        Pixels of an object that its mask does not have are hidden by something without a surface here: their label is 0, unless
        another object's mask has them. A pixel that several masks have is of the nearest surface among them, else of the
        lowest id. Objects without a mask keep what no mask has.

        Args:
            masks: instance id to visible mask; what lies outside of the object's amodal mask does not count.
        """
        if not masks:
            return self
        size = (self.labels.shape[0], self.labels.shape[1])
        known = {key: mask & self.amodal[key] for key, mask in sorted(masks.items()) if key in self.amodal}
        labels = np.where(np.isin(self.labels, list(known)), 0, self.labels)
        taken = np.zeros(size, bool)
        for key, mask in known.items():
            sure = mask.to_array(size) & (self.labels == key)
            labels[sure], taken = key, taken | sure
        for key, mask in known.items():
            rest = mask.to_array(size) & ~taken
            labels[rest], taken = key, taken | rest
        return replace(self, labels=labels)

    def occluders(self, identity: int) -> dict[int, int]:
        """Which surfaces hide this object inside the frame: instance id to number of hidden pixels (0: of no object)."""
        height, width = self.labels.shape
        amodal = self.amodal[identity]
        x0, y0, x1, y1 = amodal.box
        box: Box = (max(0, x0), max(0, y0), max(0, min(width, x1)), max(0, min(height, y1)))
        if box[0] >= box[2] or box[1] >= box[3]:
            return {}
        seen = self.labels[box[1] : box[3], box[0] : box[2]]
        hiding = seen[amodal.crop(box) & (seen != identity)]
        ids, counts = np.unique(hiding, return_counts=True)
        return {int(key): int(count) for key, count in zip(ids, counts, strict=True)}


@dataclass(frozen=True)
class Points:
    """Surface points seen by pixels: all arrays have one row (N,) per pixel that sees a surface."""

    index: Ints
    """Which pixel of the flattened picture."""
    face: Ints
    corner_weights: Floats
    """(N, 3) barycentric coordinates."""
    depth: Floats


def project(scene: SceneGeometry, camera: Camera, beyond: float = 0.0) -> Projection:
    """All visible and amodal masks of `scene` seen by `camera`.

    Args:
        scene: triangles and whose they are.
        camera: the view.
        beyond: how far amodal masks go on outside of the frame, as a share of its width and height on each side; 0 cuts
            them at the frame.
    """
    height, width = camera.size
    margin_x, margin_y = round(beyond * width), round(beyond * height)
    view: Box = (-margin_x, -margin_y, width + margin_x, height + margin_y)
    nearest = np.zeros(height * width, np.uint64)  # per pixel depth and face in one number, see `paint`
    kept = [np.zeros((4, 0), np.int32)]  # per span (owner, y, start, stop)
    for part in spans(scene.vertices, scene.faces, camera, view):
        paint(nearest, part, (height, width))
        kept.append(np.stack([scene.owner[part.face], part.y, part.start, part.stop]))
    amodal = cover(np.concatenate(kept, axis=1))
    faces, depth = unpack(nearest, (height, width))
    labels = np.where(faces >= 0, scene.owner[faces], 0).astype(np.int32)
    return Projection(labels, faces, depth, amodal)


def nearest_faces(mesh: Mesh, camera: Camera) -> tuple[Ints, NDArray[np.float32]]:
    """`faces` and `depth` of `project` alone, of any mesh."""
    height, width = camera.size
    nearest = np.zeros(height * width, np.uint64)
    for part in spans(mesh.vertices, mesh.faces, camera, (0, 0, width, height)):
        paint(nearest, part, (height, width))
    return unpack(nearest, (height, width))


def surface_points(mesh: Mesh, camera: Camera, face: Ints, index: Ints) -> Points:
    """Barycentric coordinates and depth where the centre rays of pixels `index` meet their faces."""
    # 1. Each face once: corners (F, 3, 3) in homogeneous image coordinates, edge functions (F, 3, 3) as in `spans`.
    some, inverse = np.unique(face, return_inverse=True)
    matrix = camera.matrix @ camera.cam_from_world[:3]
    corners = mesh.vertices[mesh.faces[some]] @ matrix[:, :3].T + matrix[:, 3]
    edges = np.cross(corners[:, [1, 2, 0]], corners[:, [2, 0, 1]])
    volume = np.einsum("fi,fi->f", corners[:, 0], edges[:, 0])
    edges = (edges / volume[:, None, None])[inverse.reshape(-1)]
    # 2. At each pixel (N,) the three edge functions are the barycentric weights over the depth; their sum is 1 / z.
    row, column = np.divmod(index, camera.size[1])
    weights = edges[..., 0] * (column + 0.5)[:, None] + edges[..., 1] * (row + 0.5)[:, None] + edges[..., 2]
    nearness = weights.sum(axis=1)
    return Points(index, face, weights / nearness[:, None], 1 / nearness)


def unpack(nearest: NDArray[np.uint64], size: Size) -> tuple[Ints, NDArray[np.float32]]:
    """Face index and z-depth per pixel from what `paint` keeps."""
    # Lower 32 bits: 2^32 - 1 - face; upper 32 bits: 1 / z as float32. Zero means that no surface was painted.
    faces = np.where(nearest > 0, 0xFFFFFFFF - (nearest & np.uint64(0xFFFFFFFF)).astype(np.int64), -1).reshape(size)
    inverse = (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32).reshape(size)
    return faces, np.divide(1, inverse, out=np.zeros_like(inverse), where=faces >= 0)


def spans(vertices: Floats, faces: Ints, camera: Camera, view: Box) -> Iterator[Spans]:
    """The spans of all triangles inside the half-open box `view` (x0, y0, x1, y1), in chunks of bounded memory."""
    # 1. World to homogeneous image coordinates: points (V, 3) are (x z, y z, z).
    matrix = camera.matrix @ camera.cam_from_world[:3]
    points = vertices @ matrix[:, :3].T + matrix[:, 3]
    points[:, :2] -= HALF_OPEN * points[:, 2:]
    for first in range(0, len(faces), FACES_AT_ONCE):
        chunk = faces[first : first + FACES_AT_ONCE]
        corners = points[chunk]  # (C, 3 corners, 3)
        # 2. Leave out what lies behind the camera or beside the view; low, high (F,) are the rows of the F others.
        index, low, high = rows(corners, view)
        if index.size == 0:
            continue
        corners = corners[index]  # (F, 3, 3)
        # 3. Edge functions (F, 3 edges, 3): e_k . (x, y, 1) is positive on the inner side of the edge opposite to corner k.
        edges = np.cross(corners[:, [1, 2, 0]], corners[:, [2, 0, 1]])
        # 4. 1 / z is linear in the image: plane (F, 3) . (x, y, 1); the volume (F,) of camera and triangle gives the sign.
        volume = np.einsum("fi,fi->f", corners[:, 0], edges[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            plane = edges.sum(axis=1) / volume[:, None]
        edges *= np.sign(volume)[:, None, None]
        edges[..., 2] += rounding(corners, view)
        solid = (volume != 0) & np.isfinite(plane).all(axis=1)
        if not solid.all():
            edges, plane, low, high, index = edges[solid], plane[solid], low[solid], high[solid], index[solid]
        # 5. Cut into rows, about SPANS_AT_ONCE at a time.
        ends = np.cumsum(high - low)
        start = 0
        while start < len(index):
            stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + SPANS_AT_ONCE)))
            some = slice(start, stop)
            yield scan(edges[some], plane[some], low[some], high[some], index[some] + first, view)
            start = stop


def rounding(corners: Floats, view: Box) -> Floats:
    """How wrong rounding can make each edge function (F, 3): rays that pass this near to an edge or corner count as hits.

    Opposite signs on shared edges keep rays from slipping through edges; this keeps them from slipping through corners.
    """
    first, second = np.abs(corners[:, [1, 2, 0]]), np.abs(corners[:, [2, 0, 1]])
    products = first[..., [1, 2, 0]] * second[..., [2, 0, 1]] + first[..., [2, 0, 1]] * second[..., [1, 2, 0]]
    reach = np.array([max(abs(view[0]), abs(view[2])), max(abs(view[1]), abs(view[3])), 1.0])
    return np.asarray(8 * np.finfo(np.float64).eps * (products @ reach))


def rows(corners: Floats, view: Box) -> tuple[Ints, Ints, Ints]:
    """Which triangles may meet pixel centres of `view`, and their rows low <= y < high."""
    # corners (C, 3, 3) are (x z, y z, z); u, v (C, 3) are pixels, meaningful where z > 0.
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    front = (z > 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = x / z, y / z
    # The tiny margin guards against rounding; rows too many only give empty spans.
    slack = 1e-6
    whole = front == 3
    left, right = u.min(axis=1), u.max(axis=1)
    top, bottom = v.min(axis=1), v.max(axis=1)
    # Triangles across the camera plane reach beyond their corners: any column, and the rows of what lies in front.
    crossing = np.flatnonzero((front > 0) & ~whole)
    if crossing.size:
        left[crossing], right[crossing] = -np.inf, np.inf
        top[crossing], bottom[crossing] = crossing_rows(corners[crossing])
    with np.errstate(invalid="ignore"):
        # A row y is met where its centre y + 0.5 lies between top and bottom; likewise for columns.
        low = np.clip(np.ceil(top - 0.5 - slack), view[1], view[3])
        high = np.clip(np.floor(bottom - 0.5 + slack) + 1, view[1], view[3])
        inside = np.floor(right - 0.5 + slack) >= np.maximum(np.ceil(left - 0.5 - slack), view[0])
        index = np.flatnonzero((front > 0) & inside & (left < view[2]) & (high > low))
    return index, low[index].astype(np.int64), high[index].astype(np.int64)


def crossing_rows(corners: Floats) -> tuple[Floats, Floats]:
    """The range of image rows of triangles that cross the camera plane: corners in front, and where edges meet the plane."""
    # y, z (C, 3): corners; edge k runs from corner k to the next one and may cut the plane z = near.
    y, z = corners[..., 1], corners[..., 2]
    near = 1e-9
    other_y, other_z = y[:, [1, 2, 0]], z[:, [1, 2, 0]]
    cuts = (z > near) != (other_z > near)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (near - z) / (other_z - z)
        cut_rows = (y + share * (other_y - y)) / near
        corner_rows = y / z
    # (C, 6) rows: three corners and three cuts, NaN where there is none.
    candidates = np.concatenate([np.where(z > near, corner_rows, np.nan), np.where(cuts, cut_rows, np.nan)], axis=1)
    empty = np.isnan(candidates).all(axis=1)
    candidates[empty] = 0
    return np.asarray(np.nanmin(candidates, axis=1)), np.asarray(np.nanmax(candidates, axis=1))


def scan(edges: Floats, plane: Floats, low: Ints, high: Ints, face: Ints, view: Box) -> Spans:
    """Cut triangles into spans: in a row each edge function is linear in x, so its sign bounds x from one side."""
    count = high - low
    # One entry (N,) per triangle and row: which triangle, which row, and the x of the first and last centre inside.
    index = np.repeat(np.arange(len(face)), count)
    y = np.arange(len(index)) - np.repeat(np.cumsum(count) - count - low, count)
    centre = y + 0.5
    begin = np.full(len(index), view[0] - 0.5)
    end = np.full(len(index), view[2] - 0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Edge k in a row: gain * (x + 0.5) + rest >= 0 bounds x from the left (gain > 0) or from the right (gain < 0).
        for k in range(3):
            gain = edges[index, k, 0]
            rest = edges[index, k, 1] * centre + edges[index, k, 2]
            root = -rest / gain - 0.5
            np.maximum(begin, root, out=begin, where=gain > 0)
            np.minimum(end, root, out=end, where=gain < 0)
            end[(gain == 0) & (rest < 0)] = -np.inf
        start = np.ceil(begin)
        stop = np.minimum(np.floor(end) + 1, view[2])
    some = np.flatnonzero(stop > start)
    index, y = index[some], y[some]
    return Spans(
        face[index],
        y.astype(np.int32),
        start[some].astype(np.int32),
        stop[some].astype(np.int32),
        plane[index, 0],
        plane[index, 1] * (y + 0.5) + plane[index, 2],
    )


def paint(nearest: NDArray[np.uint64], part: Spans, size: Size) -> None:
    """Keep the nearest surface of each pixel: the upper half of `nearest` is 1 / depth as float32 bits, the lower the face.

    Positive floats sort like their bits, so one maximum finds both; of equal depths the first face wins.
    """
    # 1. Spans inside the frame (S,), and how many pixels each has.
    height, width = size
    start, stop = np.maximum(part.start, 0).astype(np.int64), np.minimum(part.stop, width).astype(np.int64)
    some = np.flatnonzero((part.y >= 0) & (part.y < height) & (stop > start))
    length = (stop - start)[some]
    ends = np.cumsum(length)
    first = 0
    # 2. Spans to pixels (P,), about FRAGMENTS_AT_ONCE at a time: `spread` tells each pixel its span.
    while first < len(some):
        last = max(first + 1, int(np.searchsorted(ends, (ends[first - 1] if first else 0) + FRAGMENTS_AT_ONCE)))
        which, count = some[first:last], length[first:last]
        spread = np.repeat(np.arange(len(which)), count)
        x = np.arange(len(spread)) - np.repeat(np.cumsum(count) - count - start[which], count)
        inverse = part.slope[which][spread] * (x + 0.5) + part.offset[which][spread]
        # 3. One uint64 key a pixel; the largest key at a place is the nearest surface.
        bits = np.maximum(inverse, 1e-30).astype(np.float32).view(np.uint32).astype(np.uint64)
        key = (bits << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - part.face[which].astype(np.uint64))[spread]
        np.maximum.at(nearest, (part.y[which].astype(np.int64) * width)[spread] + x, key)
        first = last


def cover(table: NDArray[np.int32]) -> dict[int, Mask]:
    """The union of each object's spans. `table` (4, N): owner, y, start, stop.

    Each object has a canvas of its own box; a span adds 1 where it starts and takes 1 where it stops, and the running sum
    is positive on covered pixels. Canvases are dealt with in batches of bounded memory.
    """
    # 1. Spans sorted by object; first (K,) is where each of the K objects begins.
    table = table[:, table[0] > 0]
    if table.shape[1] == 0:
        return {}
    table = table[:, np.argsort(table[0], kind="stable")]
    owner, y, start, stop = table
    ids, first = np.unique(owner, return_index=True)
    # 2. Boxes (K,) of the objects, and their canvases: one column more than the box, for the stops at its right edge.
    x0, x1 = np.minimum.reduceat(start, first).astype(np.int64), np.maximum.reduceat(stop, first).astype(np.int64)
    y0, y1 = np.minimum.reduceat(y, first).astype(np.int64), np.maximum.reduceat(y, first).astype(np.int64) + 1
    pitch = x1 - x0 + 1
    cells = (y1 - y0) * pitch
    bounds = np.append(first, len(owner))
    masks: dict[int, Mask] = {}
    at = 0
    while at < len(ids):
        to = max(at + 1, int(np.searchsorted(np.cumsum(cells[at:]), CELLS_AT_ONCE, side="right")) + at)
        # 3. The canvases of some objects lie one after the other in a flat array; base (L,) is x = 0 of a span's row.
        offsets = np.cumsum(cells[at:to]) - cells[at:to]
        lines = slice(bounds[at], bounds[to])
        local = np.repeat(np.arange(to - at), np.diff(bounds[at : to + 1]))
        base = (offsets - y0[at:to] * pitch[at:to] - x0[at:to])[local] + y[lines] * pitch[at:to][local]
        total = int(cells[at:to].sum())
        # 4. +1 at starts, -1 at stops; the running sum counts the spans over each cell, and every row ends at 0.
        steps = np.zeros(total, np.int32)
        np.add.at(steps, base + start[lines], np.int32(1))
        np.subtract.at(steps, base + stop[lines], np.int32(1))
        covered = np.cumsum(steps, out=steps) > 0
        for k in range(at, to):
            block = covered[offsets[k - at] : offsets[k - at] + cells[k]].reshape(-1, pitch[k])
            masks[int(ids[k])] = Mask.from_array(block[:, :-1], (int(x0[k]), int(y0[k])))
        at = to
    return masks
