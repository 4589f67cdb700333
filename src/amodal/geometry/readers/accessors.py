"""The data of a glTF file: buffers, accessors and primitives as arrays. Every size is checked before anything is allocated."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError
from ...core.extras import missing
from ...core.files import parse_json, read_bytes
from ..mesh import Ints
from . import LARGEST_FILE

__all__ = ["File", "Primitive", "faces_of"]

COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MOST_ZEROS = 5_000_000
"""Rows of a sparse accessor without a buffer, which a file of a few bytes can ask for."""
DRACO = "KHR_draco_mesh_compression"


@dataclass(frozen=True)
class Primitive:
    """Triangles of one material: vertex attributes (V, ...) by glTF's names, and faces (F, 3)."""

    attributes: dict[str, NDArray[Any]]
    faces: Ints


@dataclass
class File:
    """A `.gltf` or `.glb`: its JSON, and the bytes behind it."""

    path: Path
    content: dict[str, Any]
    chunk: bytes = b""
    known: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> File:
        """Read the JSON. Raises DataError if it is no glTF 2.0."""
        data, chunk = read_bytes(path, DataError, limit=LARGEST_FILE), b""
        if data[:4] == b"glTF":
            if len(data) < 20 or int.from_bytes(data[4:8], "little") != 2:
                raise DataError(f"cannot read {path} (version or header); is it whole, and glTF 2.0?")
            size = int.from_bytes(data[12:16], "little")
            if int.from_bytes(data[8:12], "little") > len(data) or 20 + size > len(data):
                raise DataError(f"cannot read {path} (it ends early); is it whole, and glTF 2.0?")
            rest, data = data[20 + size :], data[20 : 20 + size]
            if len(rest) >= 8:
                chunk = rest[8 : 8 + struct.unpack("<I", rest[:4])[0]]
        try:
            content = parse_json(data, path, DataError)
        except DataError as error:
            raise DataError(f"cannot read {path} (damaged JSON); is it whole, and glTF 2.0?") from error
        if not isinstance(content, dict):
            raise DataError(f"cannot read {path} (no JSON object); is it whole, and glTF 2.0?")
        return cls(path, content, chunk)

    def rows(self, kind: str) -> list[Any]:
        """The list of this name ("nodes", "meshes", ...); empty if there is none. Raises DataError if it is no list of objects."""
        found = self.content.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise DataError(f"{self.path}: {kind} must be a list of objects")
        return found

    def row(self, kind: str, number: Any) -> dict[str, Any]:
        """One entry of a list. Raises DataError if it is not there."""
        found = self.rows(kind)
        if not isinstance(number, int) or not 0 <= number < len(found):
            raise DataError(f"{kind}[{number}] is named and not there")
        entry: dict[str, Any] = found[number]
        return entry

    def buffer(self, number: int) -> bytes:
        """The bytes of a buffer: in the file, in its text, or beside it."""
        if number not in self.known:
            row = self.row("buffers", number)
            uri, size = row.get("uri"), whole(row.get("byteLength"), "byteLength")
            packing = next((name for name in row.get("extensions", {}) if "meshopt_compression" in name), "")
            if uri is None and packing:
                raise DataError(f"it is packed by {packing}, which is not read; export it without")
            if uri is None and number:
                raise DataError(f"buffer {number} has no address (uri); the first one alone may lie in the file itself")
            data = self.chunk if uri is None else self.fetch(uri)
            if len(data) < size:
                raise DataError(f"buffer {number} has {len(data):,} bytes of the {size:,} that it promises")
            self.known[number] = data
        return self.known[number]

    def fetch(self, uri: Any) -> bytes:
        """The bytes that an address names: within the text, or in a file below the folder of this one."""
        if not isinstance(uri, str):
            raise DataError("an address (uri) that is no text")
        if uri[:5].lower() == "data:":
            head, _, text = uri.partition(",")
            data = unquote_to_bytes(text)
            if not head.lower().endswith(";base64"):
                return data
            try:
                return base64.b64decode(data, validate=False)
            except (binascii.Error, ValueError) as error:
                raise DataError("a data address that is not base64") from error
        return read_bytes(self.path.parent / unquote(uri), DataError, limit=LARGEST_FILE)

    def view(self, number: Any) -> tuple[memoryview, int]:
        """The bytes of a buffer view, and its stride (0: packed)."""
        row = self.row("bufferViews", number)
        data = self.buffer(whole(row.get("buffer"), "buffer"))
        start, size = whole(row.get("byteOffset", 0), "byteOffset"), whole(row.get("byteLength"), "byteLength")
        if start + size > len(data):
            raise DataError(f"bufferView {number} leaves its buffer; is the file cut short?")
        return memoryview(data)[start : start + size], whole(row.get("byteStride", 0), "byteStride")

    def accessor(self, number: Any) -> NDArray[Any]:
        """The values (N, width) or (N,) of an accessor; normalised integers as floats in [0, 1] or [-1, 1]."""
        row = self.row("accessors", number)
        component, width = COMPONENTS.get(row.get("componentType", 0)), WIDTHS.get(str(row.get("type")))
        count = whole(row.get("count"), "count")
        if component is None or width is None:
            raise DataError(f"accessor {number} has the unknown type {row.get('componentType')} {row.get('type')}")
        sparse = row.get("sparse")
        if "bufferView" in row:
            offset = whole(row.get("byteOffset", 0), "byteOffset")
            values = self.block(row["bufferView"], offset, component, count, width)
        elif sparse and count <= MOST_ZEROS:
            values = np.zeros((count, width), component)
        else:
            raise DataError(f"accessor {number} has no data")
        if sparse:
            some = whole(sparse["count"], "count")
            where, what = sparse["indices"], sparse["values"]
            kind = COMPONENTS.get(where.get("componentType", 0), "u1")
            places = self.block(where["bufferView"], whole(where.get("byteOffset", 0), "byteOffset"), kind, some, 1)[
                :, 0
            ]
            if places.size and places.max() >= count:
                raise DataError(f"accessor {number} has sparse values beyond its end")
            values = values.copy()
            values[places] = self.block(
                what["bufferView"], whole(what.get("byteOffset", 0), "byteOffset"), component, some, width
            )
        if row.get("normalized") and values.dtype.kind in "iu":
            values = np.maximum(values.astype(np.float64) / np.iinfo(values.dtype).max, -1.0)
        return values[:, 0] if width == 1 else values

    def block(self, view: Any, offset: int, component: str, count: int, width: int) -> NDArray[Any]:
        """(count, width) numbers from a buffer view."""
        data, stride = self.view(view)
        size = np.dtype(component).itemsize
        stride = stride or size * width
        if count and offset + (count - 1) * stride + size * width > len(data):
            raise DataError(f"bufferView {view} is too short for {count:,} values")
        if not count:
            return np.zeros((0, width), component)
        raw: NDArray[Any] = np.ndarray((count, width), component, data, offset, (stride, size))
        return np.array(raw) if stride != size * width else raw

    def primitive(self, row: dict[str, Any], weights: list[float]) -> Primitive | None:
        """The triangles of a primitive, morph targets added by their weights; None for points and lines."""
        mode = row.get("mode", 4)
        if mode in (0, 1, 2, 3):
            return None
        if mode not in (4, 5, 6):
            raise DataError(f"primitive mode {mode} is unknown")
        read = ("POSITION", "NORMAL", "COLOR_0")
        several = ("TEXCOORD_", "JOINTS_", "WEIGHTS_")
        names = {name for name in row["attributes"] if name in read or str(name).startswith(several)}
        if DRACO in row.get("extensions", {}):
            packed, indices = self.draco(row["extensions"][DRACO], row)
            mode = 4  # Draco holds triangles, whatever the primitive was before
        else:
            packed, indices = {}, None
            if "indices" in row:
                indices = self.accessor(row["indices"]).reshape(-1).astype(np.int64)
        attributes = packed | {name: self.accessor(row["attributes"][name]) for name in names - set(packed)}
        if "POSITION" not in attributes:
            raise DataError("a mesh without POSITION")
        points = attributes["POSITION"] = np.asarray(attributes["POSITION"], np.float64).reshape(-1, 3)
        for target, weight in zip(row.get("targets", []), weights, strict=False):
            if weight and "POSITION" in target:
                points = attributes["POSITION"] = points + float(weight) * self.accessor(target["POSITION"])
        if indices is None:
            indices = np.arange(len(points))
        if indices.size and indices.max() >= len(points):
            raise DataError(f"faces name vertices that are not there (of {len(points):,})")
        if any(len(values) != len(points) for values in attributes.values()):
            raise DataError("its attributes have several lengths")
        return Primitive(attributes, faces_of(indices, mode))

    def draco(self, extension: dict[str, Any], row: dict[str, Any]) -> tuple[dict[str, NDArray[Any]], Ints]:
        """Attributes and indices of a primitive packed by Draco."""
        try:
            import DracoPy
        except ImportError as error:
            raise missing("what Draco packed", error, "scenes") from error
        data = bytes(self.view(extension["bufferView"])[0])
        try:
            mesh = DracoPy.decode(data)
            by_id = {each["unique_id"]: each["data"] for each in mesh.attributes}
            faces = np.asarray(mesh.faces, np.int64)
        except Exception as error:  # a damaged file raises anything
            raise DataError(f"its Draco data cannot be unpacked ({str(error)[:80]})") from error
        found = {}
        for name, number in extension["attributes"].items():
            values = np.asarray(by_id[number])
            accessor = self.row("accessors", row["attributes"][name])
            if accessor.get("normalized") and values.dtype.kind in "iu":
                values = np.maximum(values.astype(np.float64) / np.iinfo(values.dtype).max, -1.0)
            found[name] = values
        return found, faces.reshape(-1)


def faces_of(indices: Ints, mode: int) -> Ints:
    """Triangles (F, 3) of a list (mode 4), a strip (5) or a fan (6) of vertices."""
    if mode == 4:
        if len(indices) % 3:
            raise DataError(f"{len(indices):,} corners are no whole number of triangles")
        return indices.reshape(-1, 3)
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == 6:
        first = np.full(len(indices) - 2, indices[0])
        return np.stack([first, indices[1:-1], indices[2:]], axis=1)
    faces = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
    faces[1::2] = faces[1::2, [1, 0, 2]]  # every other triangle of a strip is turned
    return faces


def whole(value: Any, what: str) -> int:
    """A count or an offset. Raises DataError if it is no whole number from 0 to 2^40."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
        raise DataError(f"{what} is {str(value)[:40]!r}; it must be a whole number, not negative")
    return value
