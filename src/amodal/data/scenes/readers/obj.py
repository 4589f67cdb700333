"""Wavefront OBJ scenes: a file, or a folder of files; named objects (`o`, else `g`, else the file) are instances."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import AmodalError, DataError
from ..scene import Material, SceneGeometry, Surface, assemble, check_count
from . import ReaderOptions, Source, name_instances
from .gltf import UP, fixed

__all__ = ["read"]


class Builder:
    """Collects triangles from one or more files, in flat arrays: lists of Python's numbers would take ten times the memory."""

    def __init__(self, max_faces: int) -> None:
        self.max_faces = max_faces
        self.points = array("d")
        self.uv = array("f", (0.0, 0.0))
        self.faces = array("q")
        self.corners = array("q")
        self.owner = array("i")
        self.material = array("i")
        self.names: list[str] = []
        self.materials: list[Material] = [Material()]
        self.remarks: list[str] = []

    def add(self, corners: list[tuple[int, int]], owner: int, material: int) -> None:
        """A polygon of (vertex, texture) indices, split into a fan. Raises DataError if there are too many faces."""
        for k in range(1, len(corners) - 1):
            triangle = (corners[0], corners[k], corners[k + 1])
            self.faces.extend(vertex for vertex, _ in triangle)
            self.corners.extend(texture for _, texture in triangle)
            self.owner.append(owner)
            self.material.append(material)
        if len(self.owner) > self.max_faces:
            check_count("the scene (read so far)", len(self.owner), self.max_faces)

    def instance(self, name: str) -> int:
        """The id of the object of this name."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name) + 1


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scene file or folder; cameras are listed or sampled."""
    return fixed(load(path, name, options))


def load(path: Path, name: str, options: ReaderOptions) -> SceneGeometry:
    """Read one file, or all `*.obj` of a folder."""
    files = sorted(path.glob("*.obj")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no *.obj file")
    builder = Builder(options.max_faces)
    for file in files:
        parse(file, builder)
    corners = np.array(builder.corners).reshape(-1, 3)
    uv = np.array(builder.uv, np.float32).reshape(-1, 2)[corners]
    surface = Surface(tuple(builder.materials), np.array(builder.material, np.int32), uv)
    return assemble(
        name,
        {
            "vertices": np.array(builder.points).reshape(-1, 3) * options.scale,
            "faces": np.array(builder.faces).reshape(-1, 3),
            "owner": np.array(builder.owner, np.int32),
            "instances": name_instances(builder.names, options.structure),
            "surface": surface,
            "up": UP[options.up],
            "remarks": tuple(builder.remarks),
        },
        options.max_faces,
    )


def parse(path: Path, builder: Builder) -> None:
    """Add one file's triangles; polygons are split into fans."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    key = "o" if "\no " in "\n" + text else "g"
    named = f"\n{key} " in "\n" + text
    owner = 0 if named else builder.instance(path.stem)
    material, first, first_uv = 0, len(builder.points) // 3, len(builder.uv) // 2
    table: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "v":
                x, y, z = map(float, words[1:4])
                builder.points.extend((x, y, z))
            elif words[0] == "vt":
                builder.uv.extend((float(words[1]), float(words[2])))
            elif words[0] == key and len(words) > 1:
                owner = builder.instance(" ".join(words[1:]))
            elif words[0] == "usemtl":
                material = table.get(" ".join(words[1:]), 0)
            elif words[0] == "mtllib":
                table.update(read_materials(path.parent / " ".join(words[1:]), builder))
            elif words[0] == "f":
                corners = [corner(word, builder, first, first_uv) for word in words[1:]]
                builder.add(corners, owner, material)
        except AmodalError:
            raise
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {number}: cannot understand {line.strip()[:60]!r}") from error


def corner(word: str, builder: Builder, first: int, first_uv: int) -> tuple[int, int]:
    """Vertex and texture index of `v`, `v/vt`, `v/vt/vn` or `v//vn`; indices count from 1, or back from the end."""
    fields = word.split("/")
    vertex = int(fields[0])
    place = first + vertex - 1 if vertex > 0 else len(builder.points) // 3 + vertex
    texture = int(fields[1]) if len(fields) > 1 and fields[1] else 0
    uv = 0 if texture == 0 else first_uv + texture - 1 if texture > 0 else len(builder.uv) // 2 + texture
    if not 0 <= uv < len(builder.uv) // 2:
        raise ValueError(word)
    return place, uv


def read_materials(path: Path, builder: Builder) -> dict[str, int]:
    """Material name to index; what is missing is remarked on, not fatal: pictures are grey there."""
    from ....image import read as read_image

    if not path.is_file():
        builder.remarks.append(f"material file {path.name} is missing; grey instead")
        return {}
    table: dict[str, int] = {}
    looks: dict[str, Any] = {}
    title = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        if words[0] == "newmtl":
            title = " ".join(words[1:])
            looks[title] = {"colour": Material().colour, "texture": None}
        elif words[0] == "Kd" and title and len(words) >= 4:
            try:
                looks[title]["colour"] = tuple(float(word) for word in words[1:4])
            except ValueError:
                builder.remarks.append(f"{path.name} has no colour in {line.strip()[:60]!r}; grey instead")
        elif words[0] == "map_Kd" and title:
            try:
                looks[title]["texture"] = read_image(path.parent / words[-1])
                looks[title]["colour"] = (1.0, 1.0, 1.0)
            except AmodalError:
                builder.remarks.append(
                    f"texture {words[-1]} of material {title} is missing or damaged; plain colour instead"
                )
    for title, look in looks.items():
        table[title] = len(builder.materials)
        builder.materials.append(Material(look["colour"], look["texture"]))
    return table
