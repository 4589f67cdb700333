"""Wavefront OBJ scenes: a file, or a folder of files; named objects (`o`, else `g`, else the file) are instances.

Read by own code, since trimesh splits polygons into fans whatever their shape, loses names with blanks, and does not know indices
that count back from the end.
"""

from __future__ import annotations

from array import array
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import AmodalError, DataError
from ..mesh import Ints, Material, Mesh, Surface
from ..scene import SceneGeometry, assemble, check_count
from . import UP, ReaderOptions, Source, files_of, fixed, name_instances
from .mtl import Paint, lines_of, numbers, read_materials
from .polygons import triangulate

__all__ = ["read"]

HARMLESS = {"vn", "vp", "s", "g", "o", "l", "p", "mg", "lod", "bevel", "c_interp", "d_interp", "usemap", "maplib"}
HARMLESS |= {"shadow_obj", "trace_obj"}
"""Keywords without a surface of their own; what is neither these nor read is told."""


class Builder:
    """Collects polygons from one or more files, in flat arrays: lists of Python's numbers would take ten times the memory."""

    def __init__(self, max_faces: int) -> None:
        self.max_faces = max_faces
        self.points, self.uv = array("d"), array("f", (0.0, 0.0))
        self.corners, self.textures = array("q"), array("q")
        """Vertex and texture index of each polygon's corners, one polygon after the other."""
        self.counts, self.owner, self.material = array("q"), array("i"), array("i")
        self.triangles = 0
        self.files = 0
        self.names: dict[tuple[int, str], int] = {}
        self.paints = [Paint()]
        self.tinted, self.tints = array("q"), array("f")
        """Which vertices have colours of their own, and those, in [0, 1]."""
        self.longer = 0
        """Vertices of the present file with numbers whose meaning is not known."""
        self.remarks: list[str] = []

    def instance(self, name: str) -> int:
        """The id of the object of this name in the present file: other files' objects are others, whatever their names."""
        return self.names.setdefault((self.files, name), len(self.names) + 1)

    def vertex(self, words: list[str]) -> None:
        """One `v` line: x, y, z, and then nothing, a weight, or red, green and blue. Raises ValueError for what is no number."""
        x, y, z = map(float, words[:3])
        if len(words) == 6:
            self.tints.extend(map(float, words[3:]))
            self.tinted.append(len(self.points) // 3)
        elif len(words) > 4:
            self.longer += 1
        self.points.extend((x, y, z))

    def polygon(self, words: list[str], first: tuple[int, int], owner: int, material: int) -> None:
        """One `f` line. Raises ValueError for corners that are not there, DataError if there are too many faces."""
        for word in words:
            fields = word.split("/")
            vertex, texture = int(fields[0]), int(fields[1]) if len(fields) > 1 and fields[1] else 0
            place = first[0] + vertex - 1 if vertex > 0 else len(self.points) // 3 + vertex
            uv = 0 if texture == 0 else first[1] + texture - 1 if texture > 0 else len(self.uv) // 2 + texture
            if not vertex or place < 0 or not 0 <= uv < len(self.uv) // 2:
                raise ValueError(word)
            self.corners.append(place)
            self.textures.append(uv)
        self.counts.append(len(words))
        self.owner.append(owner)
        self.material.append(material)
        self.triangles += max(0, len(words) - 2)
        if self.triangles > self.max_faces:
            check_count("the scene (read so far)", self.triangles, self.max_faces)


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scene file or folder; cameras are listed or sampled."""
    return fixed(load(path, name, options))


def load(path: Path, name: str, options: ReaderOptions) -> SceneGeometry:
    """Read one file, or all `*.obj` of a folder."""
    files = files_of(path, ".obj") if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no *.obj file")
    builder = Builder(options.max_faces)
    for file in files:
        parse(file, builder)
    points, corners = np.array(builder.points).reshape(-1, 3), np.array(builder.corners, np.int64)
    counts = np.array(builder.counts, np.int64)
    if (counts < 3).any():
        builder.remarks.append(f"{np.count_nonzero(counts < 3):,} faces have fewer than three corners; left out")
    places, polygon = triangulate(points, corners, counts)
    faces = corners[places]
    surface = look(builder, faces, np.array(builder.material, np.int32)[polygon], places)
    mesh = Mesh(points * options.scale, faces, surface, UP[options.up])
    owner, instances = (
        np.array(builder.owner, np.int32)[polygon],
        name_instances([title for _, title in builder.names], options.structure),
    )
    return assemble(name, mesh, owner, instances, remarks=builder.remarks, max_faces=options.max_faces)


def look(builder: Builder, faces: Ints, material: NDArray[np.int32], places: Ints) -> Surface:
    """The surface of triangles (F, 3), of their materials (F,) and their corners' places among those of all polygons (F, 3).

    Colours of vertices stand for what has no material, and tint what has one, but not textures, which are shown as they are: a
    vertex that faces with and without a texture share is white.
    """
    paints = builder.paints
    uv = np.array(builder.uv, np.float32).reshape(-1, 2)[np.array(builder.textures, np.int64)[places]]
    scale, offset = (np.array([getattr(each, key) for each in paints], np.float32) for key in ("scale", "offset"))
    if (scale != 1).any() or offset.any():
        uv = uv * scale[material][:, None] + offset[material][:, None]
    materials = tuple(each.material for each in paints)
    if not builder.tinted:
        return Surface(materials, material, uv)
    count, tinted = len(builder.points) // 3, np.array(builder.tinted, np.int64)
    colours, known = np.full((count, 3), 255, np.uint8), np.zeros(count, bool)
    colours[tinted] = np.rint(np.array(builder.tints, np.float32).reshape(-1, 3) * 255).astype(np.uint8)
    known[tinted] = True
    textured = np.array([each.texture is not None for each in materials])[material]
    colours[faces[textured].reshape(-1)] = 255
    material = np.where((material == 0) & known[faces].all(axis=1), len(materials), material).astype(np.int32)
    return Surface((*materials, Material((1.0, 1.0, 1.0))), material, uv, colours)


def parse(path: Path, builder: Builder) -> None:
    """Add one file's polygons. Faces without a name are in the group "default", as the format says, or else the file's."""
    builder.files, builder.longer, tinted = builder.files + 1, 0, len(builder.tinted)
    kinds = Counter(keyword for _, keyword, rest in lines_of(path) if keyword in ("o", "g") and rest)
    key = next((each for each in "og" if kinds[each]), "")
    nameless, owner = "default" if key == "g" else path.stem, None
    material, first = 0, (len(builder.points) // 3, len(builder.uv) // 2)
    corners = len(builder.corners)
    table: dict[str, int] = {}
    unknown: Counter[str] = Counter()
    for number, keyword, rest in lines_of(path):
        try:
            if keyword == "v":
                builder.vertex(numbers(rest))
            elif keyword == "vt":
                u, v, *_ = [*map(float, numbers(rest)), 0.0]
                builder.uv.extend((u, v))
            elif keyword == "f":
                owner = builder.instance(nameless) if owner is None else owner
                builder.polygon(numbers(rest), first, owner, material)
            elif keyword == key and rest:
                owner = builder.instance(rest)
            elif keyword == key == "g":
                owner = None
            elif keyword == "usemtl":
                material = table.get(rest, 0)
            elif keyword == "mtllib":
                names = [rest] if (path.parent / rest).is_file() else rest.split() or [rest]
                for each in names:
                    table.update(read_materials(path.parent / each.replace("\\", "/"), builder.paints, builder.remarks))
            elif keyword not in HARMLESS or (keyword == "o" and not rest):
                unknown[keyword[:40]] += 1
        except AmodalError:
            raise
        except (ValueError, IndexError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: cannot understand {f'{keyword} {rest}'[:60]!r}") from error
    check_corners(path, builder, corners, first)
    check_tints(path, builder, tinted)
    for keyword, count in unknown.most_common(5):
        builder.remarks.append(f"{path.name}: {count:,} lines of kind {keyword!r} are not understood; left out")


def check_corners(path: Path, builder: Builder, corners: int, first: tuple[int, int]) -> None:
    """Refuse faces of a file, whose corners begin with number `corners`, that name vertices which it does not have.

    Raises:
        DataError: the vertices or texture coordinates, which begin with `first`, are fewer or are another file's.
    """
    points, uv = len(builder.points) // 3, np.array(builder.textures[corners:], np.int64)
    named = np.array(builder.corners[corners:], np.int64)
    if named.size and not first[0] <= named.min() <= named.max() < points:
        raise DataError(
            f"{path}: faces name vertices that are not there (of {points - first[0]:,}); is the file damaged?"
        )
    if ((uv > 0) & (uv < first[1])).any():  # 0 stands for none
        raise DataError(f"{path}: faces name texture coordinates that are not there; is the file damaged?")


def check_tints(path: Path, builder: Builder, first: int) -> None:
    """Drop the colours of the vertices of one file, which begin with this one, unless all lie within 0 and 1; tell it."""
    tints = np.array(builder.tints, np.float32)[3 * first :]
    if not ((tints >= 0) & (tints <= 1)).all():
        del builder.tinted[first:], builder.tints[3 * first :]
        builder.remarks.append(f"{path.name}: colours of vertices must be within 0 and 1, and are not; left out")
    if builder.longer:
        builder.remarks.append(
            f"{path.name}: {builder.longer:,} vertices have 5, or more than 6 numbers; x, y and z are read"
        )
