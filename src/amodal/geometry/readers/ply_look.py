"""The look of a PLY mesh: pictures that its header names, colours of its vertices, or colours of its faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.image import Image
from ..mesh import Ints, Material, Surface
from . import read_texture

__all__ = ["Columns", "Polygons", "look"]

Columns = dict[str, Any]
"""Property to its values (N,); of a list property all items one after the other, and the counts (N,) as a pair."""
COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))
COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


class Polygons:
    """How the file's polygons became triangles.

    Args:
        faces: (F, 3) the triangles.
        places: (F, 3) their corners as places among the corners of all polygons, one polygon after the other.
        polygon: (F,) the polygon of each.
        counts: (P,) corners per polygon.
    """

    def __init__(self, faces: Ints, places: Ints, polygon: Ints, counts: Ints) -> None:
        self.faces, self.places, self.polygon, self.counts = faces, places, polygon, counts


def look(
    path: Path, vertex: Columns, face: Columns, comments: Sequence[str], polygons: Polygons, remarks: list[str]
) -> Surface | None:
    """What the file shows: pictures before colours of vertices before colours of faces; None for nothing.

    What cannot be shown is told in `remarks`.
    """
    painted = textured(path, vertex, face, comments, polygons, remarks)
    if painted is not None:
        return painted
    count = len(polygons.faces)
    colours = colours_of(path, vertex, "vertices", remarks)
    if colours is not None:
        return Surface.plain(count, Material((1.0, 1.0, 1.0)), colours)
    colours = colours_of(path, face, "faces", remarks)
    return None if colours is None else mosaic(colours[polygons.polygon])


def textured(
    path: Path, vertex: Columns, face: Columns, comments: Sequence[str], polygons: Polygons, remarks: list[str]
) -> Surface | None:
    """The look of the pictures that the header names; None if there is none that can be shown."""
    files = [text.partition(" ")[2].strip() for text in comments if text.lower().startswith("texturefile ")]
    pictures = [read_texture(path.parent / file) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture is None:
            remarks.append(f"texture {file} is missing or damaged; plain colour instead")
    if all(picture is None for picture in pictures):
        return None
    uv = coordinates(vertex, face, polygons)
    if uv is None:
        remarks.append(f"{path.name} names the texture {files[0]}, and has no texture coordinates; left out")
        return None
    materials = [Material() if picture is None else Material((1.0, 1.0, 1.0), picture) for picture in pictures]
    return Surface((*materials, Material()), picture_numbers(path, vertex, face, files, polygons, remarks), uv)


def coordinates(vertex: Columns, face: Columns, polygons: Polygons) -> NDArray[np.float32] | None:
    """Texture coordinates (F, 3, 2) of the faces' corners, from the file's faces, else from its vertices; None without."""
    listed = face.get("texcoord")
    if isinstance(listed, tuple) and np.array_equal(listed[1], 2 * polygons.counts):  # two numbers for each corner
        return np.asarray(listed[0].astype(np.float32).reshape(-1, 2)[polygons.places])
    values = columns(vertex, COORDINATES)
    return None if values is None else np.asarray(values.astype(np.float32)[polygons.faces])


def picture_numbers(
    path: Path, vertex: Columns, face: Columns, files: Sequence[str], polygons: Polygons, remarks: list[str]
) -> NDArray[np.int32]:
    """Per triangle (F,) which of the header's pictures it shows, by MeshLab's `texnumber`; the number after the last: none."""
    per_face, per_vertex = (columns(each, (("texnumber",),)) for each in (face, vertex))
    if per_face is not None:
        numbers = per_face[:, 0][polygons.polygon]
    elif per_vertex is not None:
        numbers = per_vertex[:, 0][polygons.faces[:, 0]]
    else:
        numbers = np.zeros(len(polygons.faces))
        if len(files) > 1:
            remarks.append(f"{path.name} names {len(files)} textures, and no face a texnumber; all show {files[0]}")
    known = (numbers >= 0) & (numbers < len(files))
    unknown = int(np.count_nonzero(~known & (numbers != -1)))  # -1 is MeshLab's word for none
    if unknown:
        remarks.append(f"{path.name}: the texnumber of {unknown:,} triangles names none of {len(files)} textures; grey")
    return np.where(known, numbers, len(files)).astype(np.int32)


def columns(rows: Columns, names: Sequence[tuple[str, ...]]) -> NDArray[Any] | None:
    """The columns (N, K) of the first names that are all there as single numbers, or None."""
    plain = {key for key, value in rows.items() if not isinstance(value, tuple)}
    found = next((each for each in names if plain.issuperset(each)), None)
    return None if found is None else np.stack([rows[name] for name in found], axis=1)


def colours_of(path: Path, rows: Columns, what: str, remarks: list[str]) -> NDArray[np.uint8] | None:
    """The colours (N, 3) of a file's vertices or faces; None where there are none, or none that are understood.

    The type says what is white: 255, of 16 bits without a sign 65535, of floats 1. Other types, and floats beyond 1, count to 255.
    """
    values = columns(rows, COLOURS)
    if values is None:
        return None
    if values.dtype == np.uint8:
        return values
    kind, largest = f"{values.dtype.kind}{values.dtype.itemsize}", float(np.nanmax(values, initial=0))
    white = 65535 if kind == "u2" else 1 if kind[0] == "f" and largest <= 1 else 255
    if kind == "u2" and 0 < largest <= 255:
        remarks.append(
            f"{path.name}: colours of {what} are of 16 bits, and none is more than 255; 255 is taken for white"
        )
        white = 255
    if largest > white or float(np.nanmin(values, initial=0)) < 0:
        remarks.append(f"{path.name}: colours of {what} are not within 0 and {white}; plain colour instead")
        return None
    return np.asarray(np.rint(np.nan_to_num(values.astype(np.float64)) * (255 / white)).astype(np.uint8))


def mosaic(colours: NDArray[np.uint8]) -> Surface:
    """The look of faces of one colour each (F, 3): a picture of all colours, a pixel each, in whose middle the faces lie."""
    packed = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)  # (F,), a number a colour
    _, first, which = np.unique(packed, return_index=True, return_inverse=True)
    known = colours[first]
    side = int(np.ceil(np.sqrt(len(known))))
    picture: Image = np.zeros((side, side, 3), np.uint8)
    picture.reshape(-1, 3)[: len(known)] = known
    row, column = np.divmod(which.reshape(-1), side)
    uv = np.stack([(column + 0.5) / side, 1 - (row + 0.5) / side], axis=1).astype(np.float32)
    corners = np.repeat(uv[:, None], 3, axis=1)
    return Surface((Material((1.0, 1.0, 1.0), picture),), np.zeros(len(colours), np.int32), corners)
