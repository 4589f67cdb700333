"""Wavefront OBJ scenes: a file, or a folder of files; named objects (`o`, else `g`, else the file) are instances.

Read by own code, since trimesh splits polygons into fans whatever their shape, loses names with blanks, and does not know indices
that count back from the end.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...core.errors import AmodalError, DataError
from ...core.files import read_bytes
from ..mesh import Material, Mesh, Surface
from ..scene import SceneGeometry, assemble, check_count
from . import LARGEST_FILE, UP, ReaderOptions, Source, files_of, fixed, name_instances, read_texture
from .polygons import triangulate

__all__ = ["read"]

HARMLESS = {"vn", "vp", "s", "g", "o", "l", "p", "mg", "lod", "bevel", "c_interp", "d_interp", "usemap", "maplib"}
HARMLESS |= {"shadow_obj", "trace_obj"}
"""Keywords without a surface of their own; what is neither these nor read is told."""
MAP_OPTIONS = {"-blendu": 1, "-blendv": 1, "-bm": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2}
MAP_OPTIONS |= {"-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-type": 1}
"""Options of a texture's line and their most values; -o, -s and -t may have fewer."""


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
        self.materials: list[Material] = [Material()]
        self.remarks: list[str] = []

    def instance(self, name: str) -> int:
        """The id of the object of this name in the present file: other files' objects are others, whatever their names."""
        return self.names.setdefault((self.files, name), len(self.names) + 1)

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
    if corners.size and corners.max() >= len(points):
        raise DataError(f"{path}: faces name vertices that are not there (of {len(points):,}); is the file damaged?")
    if (counts < 3).any():
        builder.remarks.append(f"{np.count_nonzero(counts < 3):,} faces have fewer than three corners; left out")
    places, polygon = triangulate(points, corners, counts)
    uv = np.array(builder.uv, np.float32).reshape(-1, 2)[np.array(builder.textures, np.int64)[places]]
    surface = Surface(tuple(builder.materials), np.array(builder.material, np.int32)[polygon], uv)
    mesh = Mesh(points * options.scale, corners[places], surface, UP[options.up])
    owner, instances = (
        np.array(builder.owner, np.int32)[polygon],
        name_instances([title for _, title in builder.names], options.structure),
    )
    return assemble(name, mesh, owner, instances, remarks=builder.remarks, max_faces=options.max_faces)


def lines_of(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, keyword and the rest of a text file's lines: continued lines joined, comments and byte order mark taken out.

    Lines end at line feeds and carriage returns alone: names may hold other characters that Unicode counts as line ends.
    """
    content = read_bytes(path, DataError, limit=LARGEST_FILE)
    if b"\0" in content[:4096]:
        raise DataError(f"{path} is no text file; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    number = 0
    pending = ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        number += 1
        whole = pending + line.strip(" \t")
        if whole.endswith("\\"):
            pending = whole[:-1] + " "
            continue
        pending = ""
        if "#" in whole:  # in a name only what a blank follows: "chair #2" is a name
            whole = re.sub(r"(^|[ \t])#([ \t].*)?$", "", whole)
        keyword, _, rest = whole.replace("\t", " ").partition(" ")
        if keyword and not keyword.startswith("#"):
            yield number, keyword, rest.strip(" ")


def parse(path: Path, builder: Builder) -> None:
    """Add one file's polygons. Without a name, faces of files with groups are in the group "default", as the format says."""
    builder.files += 1
    kinds = Counter(keyword for _, keyword, rest in lines_of(path) if keyword in ("o", "g") and rest)
    key = next((each for each in "og" if kinds[each]), "")
    owner = {"o": 0, "g": None}[key] if key else builder.instance(path.stem)
    material, first = 0, (len(builder.points) // 3, len(builder.uv) // 2)
    table: dict[str, int] = {}
    unknown: Counter[str] = Counter()
    for number, keyword, rest in lines_of(path):
        try:
            if keyword == "v":
                x, y, z = map(float, numbers(rest)[:3])
                builder.points.extend((x, y, z))
            elif keyword == "vt":
                u, v, *_ = [*map(float, numbers(rest)), 0.0]
                builder.uv.extend((u, v))
            elif keyword == "f":
                owner = builder.instance("default") if owner is None else owner
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
                    table.update(read_materials(path.parent / each.replace("\\", "/"), builder))
            elif keyword not in HARMLESS or (keyword == "o" and not rest):
                unknown[keyword[:40]] += 1
        except AmodalError:
            raise
        except (ValueError, IndexError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: cannot understand {f'{keyword} {rest}'[:60]!r}") from error
    for keyword, count in unknown.most_common(5):
        builder.remarks.append(f"{path.name}: {count:,} lines of kind {keyword!r} are not understood; left out")


def numbers(rest: str) -> list[str]:
    """The words of a line of numbers, without a comment that follows."""
    return rest.partition("#")[0].split()


def read_materials(path: Path, builder: Builder) -> dict[str, int]:
    """Material name to index; what is missing is remarked on, not fatal: pictures are grey there."""
    if not path.is_file():
        builder.remarks.append(f"material file {path.name} is missing; grey instead")
        return {}
    table: dict[str, int] = {}
    title, plain = "", Material()
    for _, keyword, rest in lines_of(path):
        if keyword == "newmtl":
            title = rest
            table[title] = len(builder.materials)
            builder.materials.append(plain)
        elif keyword == "Kd" and title and builder.materials[table[title]].texture is None:
            try:
                red, green, blue = map(float, numbers(rest)[:3])
                builder.materials[table[title]] = Material((red, green, blue))
            except ValueError:
                builder.remarks.append(f"{path.name} has no colour in {f'{keyword} {rest}'[:60]!r}; grey instead")
        elif keyword == "map_Kd" and title:
            file = texture_file(path.parent, rest)
            texture = read_texture(file)
            if texture is not None:  # a texture is shown as it is: many exporters leave a dark colour beside it
                builder.materials[table[title]] = Material((1.0, 1.0, 1.0), texture)
            else:
                builder.remarks.append(
                    f"texture {file.name} of material {title} is missing or damaged; plain colour instead"
                )
    return table


def texture_file(folder: Path, rest: str) -> Path:
    """The picture that a `map_Kd` line names: options stand before or after, names hold blanks, separators may be backslashes."""
    words = rest.split(" ")
    start = 0
    while start < len(words) and words[start] in MAP_OPTIONS:
        most, start = MAP_OPTIONS[words[start]], start + 1
        fewer = most == 3
        while most and start < len(words) - 1 and (not fewer or re.fullmatch(r"[-+.\deE]+", words[start])):
            most, start = most - 1, start + 1
    tail = words[start:]
    ends = [k for k, word in enumerate(tail) if k and word in MAP_OPTIONS]
    choices = [rest, " ".join(tail), *(" ".join(tail[:k]) for k in ends)]
    paths = [folder / choice.replace("\\", "/").strip('" ') for choice in choices]
    paths += [folder / path.name for path in paths]  # names from another machine's folders
    return next((path for path in paths if path.is_file()), paths[min(len(choices) - 1, 1 + bool(ends))])
