"""Reading PLY meshes (ASCII and binary) into NumPy arrays, with every property of vertices and faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ..scene import Floats, Ints, Material, Surface, check_count

__all__ = ["Ply", "read_ply", "vertex_coloured"]

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class Ply:
    """A mesh file: `vertices` (V, 3), `faces` (F, 3), the other properties by name, and the header's comments."""

    vertices: Floats
    faces: Ints
    vertex: dict[str, NDArray[Any]]
    face: dict[str, NDArray[Any]]
    comments: tuple[str, ...]

    @property
    def colours(self) -> NDArray[np.uint8] | None:
        """Vertex colours (V, 3) uint8 RGB, or None."""
        if not all(name in self.vertex for name in ("red", "green", "blue")):
            return None
        return np.stack([self.vertex[name] for name in ("red", "green", "blue")], axis=1).astype(np.uint8)

    def face_property(self, *names: str) -> NDArray[np.int64] | None:
        """The first face property of these names as int64, or None."""
        for name in names:
            if name in self.face:
                return self.face[name].astype(np.int64)
        return None


def vertex_coloured(ply: Ply) -> Surface | None:
    """The look of a mesh with colours at its vertices; None if it has none."""
    if ply.colours is None:
        return None
    count = len(ply.faces)
    none = np.zeros((count, 3, 2), np.float32)
    return Surface((Material((1.0, 1.0, 1.0)),), np.zeros(count, np.int32), none, ply.colours)


@dataclass
class Element:
    name: str
    count: int
    scalars: list[tuple[str, str]]
    items: tuple[str, str, str] | None = None
    """A list property: its name, type of the count, type of the items."""
    before: int = 0
    """How many scalars come before the list."""


def read_ply(path: Path, max_faces: int = 30_000_000) -> Ply:
    """Read a triangle mesh.

    Raises:
        DataError: not PLY, cut short, polygons with other than three corners, no vertices, or more than `max_faces` faces (told
            by the header, before the rest is read).
    """
    try:
        with path.open("rb") as file:
            content = file.read(1 << 16)
            end = content.find(b"end_header")
            if not content.startswith(b"ply") or end < 0 or b"\n" not in content[end:]:
                raise DataError(f"{path} is not a PLY file (no header)")
            start = content.index(b"\n", end) + 1
            form, elements, comments = parse_header(path, content[:end].decode("ascii", "replace"))
            check_count(path.name, sum(element.count for element in elements if element.name == "face"), max_faces)
            content += file.read()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    data: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        if form == "ascii":
            lines = content[start:].split(b"\n")
            for element in elements:
                data[element.name] = ascii_element(lines[: element.count], element)
                lines = lines[element.count :]
        else:
            for element in elements:
                data[element.name], start = binary_element(content, start, element, "<" if "little" in form else ">")
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} does not hold what its header promises ({error}); was it cut short?") from error
    vertex, face = data.get("vertex", {}), data.get("face", {})
    if not all(axis in vertex for axis in "xyz"):
        raise DataError(f"{path} has no vertices with x, y and z")
    points = np.stack([vertex.pop(axis) for axis in "xyz"], axis=1).astype(np.float64)
    faces = face.pop("vertex_indices", face.pop("vertex_index", np.zeros((0, 3), np.int64))).astype(np.int64)
    return Ply(points, faces.reshape(-1, 3), vertex, face, comments)


def parse_header(path: Path, header: str) -> tuple[str, list[Element], tuple[str, ...]]:
    """Format, elements and comments of a header."""
    form, elements, comments = "", list[Element](), []
    for line in header.splitlines()[1:]:
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "format":
                form = words[1]
            elif words[0] == "comment":
                comments.append(line.partition("comment")[2].strip())
            elif words[0] == "element":
                elements.append(Element(words[1], int(words[2]), []))
            elif words[0] == "property" and words[1] == "list":
                element = elements[-1]
                if element.items is not None:
                    raise DataError(f"{path}: element {element.name} has more than one list, which is not supported")
                element.items, element.before = (words[4], TYPES[words[2]], TYPES[words[3]]), len(element.scalars)
            elif words[0] == "property":
                elements[-1].scalars.append((words[2], TYPES[words[1]]))
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(f"{path}: cannot understand the header line {line!r}") from error
    if form not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise DataError(f"{path}: PLY format {form!r} is unknown")
    return form, elements, tuple(comments)


def ascii_element(lines: list[bytes], element: Element) -> dict[str, NDArray[Any]]:
    """The element's rows as arrays; a list must have three items in each row."""
    if len(lines) < element.count:
        raise ValueError(f"{len(lines)} of {element.count} rows of {element.name}")
    width = len(element.scalars) + (4 if element.items else 0)
    if element.count == 0:
        values = np.zeros((0, width))
    else:
        values = np.array(b" ".join(lines).split(), dtype=np.float64)
        if values.size != element.count * width:
            raise ValueError(f"rows of {element.name} must have {width} values each (triangles only)")
        values = values.reshape(element.count, width)
    found: dict[str, NDArray[Any]] = {}
    skip = 0
    if element.items:
        if not (values[:, element.before] == 3).all():
            raise ValueError("faces must be triangles")
        found[element.items[0]] = values[:, element.before + 1 : element.before + 4].astype(element.items[2])
    for place, (name, kind) in enumerate(element.scalars):
        skip = 4 if element.items and place >= element.before else 0
        found[name] = values[:, place + skip].astype(kind)
    return found


def binary_element(content: bytes, start: int, element: Element, order: str) -> tuple[dict[str, NDArray[Any]], int]:
    """The element's rows as arrays and where the next element starts; a list must have three items in each row."""
    fields: list[Any] = [(name, order + kind) for name, kind in element.scalars]
    if element.items:
        name, counter, kind = element.items
        fields[element.before : element.before] = [("list count", order + counter), (name, order + kind, (3,))]
    row = np.dtype(fields)
    if len(content) < start + element.count * row.itemsize:
        raise ValueError(f"{len(content) - start} of {element.count * row.itemsize} bytes of {element.name}")
    table = np.frombuffer(content, row, element.count, start)
    if element.items and not (table["list count"] == 3).all():
        raise ValueError("faces must be triangles")
    names = [each[0] for each in fields if each[0] != "list count"]
    return {name: table[name] for name in names}, start + element.count * row.itemsize
