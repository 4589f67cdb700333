"""PLY meshes (ASCII and binary) with every property of vertices and faces.

Read by own code, since trimesh drops the properties of faces where it splits polygons, and stops at lists of several lengths;
objects of Matterport3D and BOP are told apart by just those.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import MALFORMED, DataError
from ...core.files import open_regular, read_bytes
from ..mesh import Floats, Ints, Mesh
from ..scene import assemble, check_count
from . import LARGEST_FILE, UP, ReaderOptions, Source, fixed, name_instances
from .accessors import faces_of
from .ply_look import Columns, Polygons, look
from .polygons import triangulate

__all__ = ["Ply", "read", "read_ply"]

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
HEADER = re.compile(
    rb"ply[ \t]*(?P<end>\r\n|\n|\r)(?P<lines>(.*?(?P=end))??)end_header[ \t]*(\r(?=\n))?(?P=end)", re.DOTALL
)
"""Lines end as the first one does: a byte after the last one may be data."""


@dataclass(frozen=True)
class Ply:
    """A mesh file.

    Attributes:
        mesh: its triangles, and their look if the file has one.
        polygon: (F,) the file's own face that each triangle is a part of.
        polygons: how many faces the file has.
        face: the other properties of the file's faces by name.
        remarks: what had to be left out.
    """

    mesh: Mesh
    polygon: Ints
    polygons: int
    face: Columns
    remarks: tuple[str, ...] = ()

    def face_property(self, *names: str) -> NDArray[np.int64] | None:
        """Per triangle the first face property of these names as int64, or None."""
        for name in names:
            if name in self.face and not isinstance(self.face[name], tuple):
                return np.asarray(self.face[name].astype(np.int64)[self.polygon])
        return None


@dataclass
class Element:
    """What the header says of one kind of row: its properties are (name, type, type of the list's count or "")."""

    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A file with one object, named as the file."""
    ply = read_ply(path, options.max_faces)
    mesh = ply.mesh.moved(scale=options.scale)
    owner, instances = np.ones(len(mesh.faces), np.int32), name_instances([path.stem], options.structure)
    mesh = Mesh(mesh.vertices, mesh.faces, mesh.surface, UP[options.up])
    return fixed(assemble(name, mesh, owner, instances, remarks=ply.remarks, max_faces=options.max_faces))


def read_ply(path: Path, max_faces: int = 30_000_000) -> Ply:
    """Read a mesh; polygons are split into triangles.

    Raises:
        DataError: not PLY, cut short, no vertices, or more than `max_faces` faces (told by the header, before the rest is read).
    """
    with open_regular(path, DataError) as file:
        head = file.read(1 << 16)
    header = HEADER.match(head)
    if header is None:
        raise DataError(f"{path} is not a PLY file (no header)")
    form, elements, comments = parse_header(path, header["lines"].decode("ascii", "replace"))
    for element in elements:
        check_count(path.name, element.count if element.name == "face" else 0, max_faces)
    content, start = read_bytes(path, DataError, limit=LARGEST_FILE), header.end()
    data: dict[str, Columns] = {}
    try:
        if form == "ascii":
            lines = [line for line in content[start:].replace(b"\r", b"\n").split(b"\n") if line.strip()]
            for element in elements:
                data[element.name] = ascii_element(lines[: element.count], element)
                lines = lines[element.count :]
        else:
            for element in elements:
                data[element.name], start = binary_element(content, start, element, "<" if "little" in form else ">")
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise DataError(f"{path} does not hold what its header promises ({error}); was it cut short?") from error
    return build(path, data, comments, max_faces)


def build(path: Path, data: dict[str, Columns], comments: list[str], max_faces: int) -> Ply:
    """The mesh of the file's columns."""
    vertex, face = data.get("vertex", {}), data.get("face", {})
    if not all(axis in vertex and not isinstance(vertex[axis], tuple) for axis in "xyz"):
        raise DataError(f"{path} has no vertices with x, y and z")
    points = np.stack([vertex[axis] for axis in "xyz"], axis=1).astype(np.float64)
    corners, counts = indices(face)
    if "tristrips" in data and not counts.size:  # in place of faces; a file that has both is told of
        strips = strip_faces(*indices(data.pop("tristrips")))
        face, corners, counts = {}, strips.reshape(-1), np.full(len(strips), 3)
    if corners.size and not 0 <= corners.min() <= corners.max() < len(points):
        raise DataError(f"{path}: faces name vertices that are not there (of {len(points):,}); is the file damaged?")
    check_count(path.name, int(np.maximum(counts - 2, 0).sum()), max_faces)
    remarks = []
    if (counts < 3).any():
        remarks.append(f"{path.name}: {np.count_nonzero(counts < 3):,} faces have fewer than three corners; left out")
    other = [kind for kind in ("tristrips", "multi_patch") if kind in data]
    remarks += [f"{path.name}: elements of kind {kind} are not read; export plain faces" for kind in other]
    places, polygon = triangulate(points, corners, counts)
    faces = corners.reshape(-1, 3) if (counts == 3).all() else corners[places]
    surface = look(path, vertex, face, comments, Polygons(faces, places, polygon, counts), remarks)
    return Ply(Mesh(points, faces, surface), polygon, len(counts), face, tuple(remarks))


def indices(element: Columns) -> tuple[Ints, Ints]:
    """The list of vertices of an element's rows, taken out of it: the numbers (N,), and the counts of the rows."""
    name = next((each for each in ("vertex_indices", "vertex_index") if isinstance(element.get(each), tuple)), "")
    corners, counts = element.pop(name) if name else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    return corners.astype(np.int64, copy=False), counts.astype(np.int64, copy=False)


def strip_faces(corners: Ints, counts: Ints) -> Ints:
    """The triangles (F, 3) of strips, which end with their row or at -1, but for those that name a corner twice."""
    runs = np.split(corners, np.cumsum(counts)[:-1]) if counts.size else []
    strips = [strip[strip != -1] for run in runs for strip in np.split(run, np.flatnonzero(run == -1))]
    faces = np.concatenate([np.zeros((0, 3), np.int64), *(faces_of(strip, 5) for strip in strips)])
    return np.asarray(faces[(np.diff(np.sort(faces, axis=1), axis=1) > 0).all(axis=1)])


def parse_header(path: Path, header: str) -> tuple[str, list[Element], list[str]]:
    """Format, elements and comments of a header."""
    form, elements, comments = "", list[Element](), list[str]()
    for line in re.split("[\r\n]+", header):
        words = line.split()
        try:
            if words and words[0] == "format":
                form = words[1]
            elif words and words[0] == "comment":
                comments.append(line.partition("comment")[2].strip())
            elif words and words[0] == "element":
                elements.append(Element(words[1], int(words[2])))
                if elements[-1].count < 0:
                    raise ValueError("a negative count")
            elif words and words[0] == "property" and words[1] == "list":
                elements[-1].properties.append((words[4], TYPES[words[3]], TYPES[words[2]]))
            elif words and words[0] == "property":
                elements[-1].properties.append((words[2], TYPES[words[1]], ""))
        except MALFORMED as error:
            raise DataError(f"{path}: cannot understand the header line {line[:80]!r}") from error
    if form not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise DataError(f"{path}: PLY format {form!r} is unknown")
    return form, elements, comments


def ascii_element(lines: list[bytes], element: Element) -> Columns:
    """The element's rows as columns."""
    if len(lines) < element.count:
        raise ValueError(f"{len(lines)} of {element.count} rows of {element.name}")
    values = np.array(b" ".join(lines).split(), dtype=np.float64)
    sizes = np.array([len(line.split()) for line in lines], np.int64)
    # Column by column: `at` (N,) is where each row is read next.
    at, ends = np.cumsum(sizes) - sizes, np.cumsum(sizes)
    found: Columns = {}
    for name, kind, counter in element.properties:
        if (at >= ends).any():
            raise ValueError(f"rows of {element.name} end before {name}")
        if not counter:
            found[name], at = convert(values[at], kind), at + 1
            continue
        counts = convert(values[at], "i8")
        if (counts < 0).any() or (at + 1 + counts > ends).any():
            raise ValueError(f"rows of {element.name} end within {name}")
        found[name] = (convert(values[spread(at + 1, counts)], kind), counts)
        at = at + 1 + counts
    if (at != ends).any():
        raise ValueError(f"rows of {element.name} have more values than the header says")
    return found


def convert(values: Floats, kind: str) -> NDArray[Any]:
    """Numbers as the header's type. Raises ValueError where they do not fit."""
    if not kind.startswith("f") and values.size:
        limits = np.iinfo(kind)
        if not (values == np.rint(values)).all() or values.min() < limits.min or values.max() > limits.max:
            raise ValueError(f"numbers that are no {np.dtype(kind).name}")
    with np.errstate(over="ignore"):
        return np.asarray(values.astype(kind))


def spread(start: Ints, counts: Ints) -> Ints:
    """start[0], start[0] + 1, ... (counts[0] of them), start[1], ..."""
    return np.asarray(np.arange(int(counts.sum())) + np.repeat(start - (np.cumsum(counts) - counts), counts))


def binary_element(content: bytes, start: int, element: Element, order: str) -> tuple[Columns, int]:
    """The element's rows as columns, and where the next element starts.

    Rows whose lists are all as long as those of the first row are read at once, others one by one.
    """
    scalars = sum(np.dtype(counter or kind).itemsize for _, kind, counter in element.properties)
    if element.count * scalars > len(content) - start:
        raise ValueError(f"{len(content) - start} of at least {element.count * scalars} bytes of {element.name}")
    if element.count == 0:
        return {
            n: (np.zeros(0, k), np.zeros(0, np.int64)) if c else np.zeros(0, k) for n, k, c in element.properties
        }, start
    fields: list[Any] = []
    at = start
    for number, (_, kind, counter) in enumerate(element.properties):
        size = 1
        if counter:
            size = int(np.frombuffer(content, order + counter, 1, at)[0])
            fields.append((f"count{number}", order + counter))
            at += np.dtype(counter).itemsize
        at += size * np.dtype(kind).itemsize
        if size < 0 or at > len(content):
            raise ValueError(f"the first row of {element.name} is longer than the file")
        fields.append((f"value{number}", order + kind, (size,)) if counter else (f"value{number}", order + kind))
    row = np.dtype(fields)
    if element.count * row.itemsize <= len(content) - start:
        table = np.frombuffer(content, row, element.count, start)
        lists = [k for k, each in enumerate(element.properties) if each[2]]
        if all((table[f"count{k}"] == table[f"count{k}"][0]).all() for k in lists):
            found: Columns = {}
            for k, (name, _, counter) in enumerate(element.properties):
                column = table[f"value{k}"]
                found[name] = (column.reshape(-1), table[f"count{k}"].astype(np.int64)) if counter else column
            return found, start + element.count * row.itemsize
    return rows(content, start, element, order)


def rows(content: bytes, start: int, element: Element, order: str) -> tuple[Columns, int]:
    """`binary_element` row by row."""
    places: list[list[int]] = [[] for _ in element.properties]
    counts: list[list[int]] = [[] for _ in element.properties]
    readers = [struct.Struct(order + np.dtype(counter or "u1").char) for _, _, counter in element.properties]
    sizes = [np.dtype(kind).itemsize for _, kind, _ in element.properties]
    at = start
    for _ in range(element.count):
        for k, (_, _, counter) in enumerate(element.properties):
            count = 1
            if counter:
                count = readers[k].unpack_from(content, at)[0]
                at += readers[k].size
            places[k].append(at)
            counts[k].append(count)
            at += count * sizes[k]
            if count < 0 or at > len(content):
                raise ValueError(f"a row of {element.name} is longer than the file")
    data = np.frombuffer(content, np.uint8)
    found: Columns = {}
    for k, (name, kind, counter) in enumerate(element.properties):
        number = np.array(counts[k], np.int64)
        bytes_of = data[spread(np.array(places[k], np.int64), number * sizes[k])]
        values = bytes_of.view(order + kind)
        found[name] = (values, number) if counter else values
    return found, at
