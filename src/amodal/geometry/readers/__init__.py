"""Readers of 3-D data: each turns a folder or file of one format into a `Source` of scenes and cameras.

A reader is a function `read(path, options) -> Source`. To add one, write a file beside these and add a line to `READERS`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ...core.errors import AmodalError, DataError, ImageError, UnknownNameError, nearest, reason_of, reported
from ...core.files import read_bytes
from ...core.image import Image
from ...core.mask import Mask
from ...core.options import Options, build_options
from ..camera import Camera
from ..scene import Instance, SceneGeometry

__all__ = [
    "LARGEST_FILE",
    "READERS",
    "UP",
    "ReaderOptions",
    "Seen",
    "Source",
    "files_of",
    "fine_label",
    "fixed",
    "is_structure",
    "kind_of",
    "name_instances",
    "open_source",
    "read_mesh",
    "read_texture",
]

LARGEST_FILE = 8 << 30
"""Bytes of a mesh file; scans are larger than other files."""
TEXTURES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "TGA")
READERS = {
    "gltf": "gltf",
    "obj": "obj",
    "ply": "ply",
    "matterport": "matterport",
    "scannet": "scannet",
    "bop": "bop",
}
"""Kind of data set to module."""


UP = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0), "-y": (0.0, -1.0, 0.0)}
"""The directions that `ReaderOptions.up` names."""


class ReaderOptions(Options):
    """What a reader may need to be told."""

    level: int = Field(1, ge=1, le=8, description="gltf: depth of the nodes that are objects; 1 is just below the root")
    up: Literal["x", "y", "z", "-y"] = Field("z", description="the world's upward axis (glTF itself says y)")
    scale: float = Field(1.0, gt=0, description="metres per unit of the file")
    structure: tuple[str, ...] = Field(
        ("floor", "wall", "ceiling", "ground", "roof", "void", "misc", "unlabeled"),
        description="words that mark an object as part of the building: hides others, never a sample",
    )
    categories: str = Field(
        "", description="table of labels and categories (category_mapping.tsv, scannetv2-labels.combined.tsv)"
    )
    picture: tuple[int, int] = Field(
        (1280, 1024),
        description="gltf: width and height of the pictures of the file's own cameras; a camera's aspect ratio sets the width",
    )
    max_faces: int = Field(30_000_000, ge=1, description="larger scenes are refused")


@dataclass(frozen=True)
class Seen:
    """The visible masks that a data set itself gives of a photograph: they know what hides objects and has no mesh.

    Attributes:
        masks: instance id to visible mask, in the photograph's frame; empty where nothing of the object is seen. An object that
            is not there has no mask.
        notes: what the user should know of them, one sentence each.
    """

    masks: Mapping[int, Mask] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def nothing_given(camera: Camera) -> Seen:
    """Of formats without label images."""
    return Seen()


@dataclass(frozen=True)
class Source:
    """One scene, or one set of posed objects, with its cameras.

    Attributes:
        name: unique in a build.
        cameras: those the data set brings; empty where they must be sampled or listed.
        geometry: the scene as one camera sees it (the same for all cameras of a static scene).
        failures: views that had to be left out, one line each.
        static: whether all cameras see the same scene.
        seen: the visible masks that the data set gives of a camera's photograph, where its format has any.
    """

    name: str
    cameras: tuple[Camera, ...]
    geometry: Callable[[Camera | None], SceneGeometry]
    failures: tuple[str, ...] = field(default=())
    static: bool = True
    seen: Callable[[Camera], Seen] = nothing_given


def open_source(kind: str, path: Path, name: str = "", options: ReaderOptions | None = None) -> Source:
    """Open a data set's scene.

    Args:
        kind: one of `READERS`.
        path: the house, scan or scene folder, or the file.
        name: the scene's name; from the path if empty.
        options: what the reader needs to know.

    Raises:
        UnknownNameError: no such kind.
        DataError: absent, malformed or empty data.
    """
    if kind not in READERS:
        raise UnknownNameError(f"no reader named {kind!r}; {nearest(kind, READERS)}")
    if not path.exists():
        raise DataError(f"there is no {path}; check the path of the {kind} scene")
    module = importlib.import_module(f".{READERS[kind]}", __name__)
    with understood(path):
        source: Source = module.read(path, name or path.stem, options or build_options(ReaderOptions, None))

    def geometry(camera: Camera | None) -> SceneGeometry:
        with understood(path):
            return source.geometry(camera)

    def seen(camera: Camera) -> Seen:
        with understood(path):
            return source.seen(camera)

    return replace(source, geometry=geometry, seen=seen)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Whatever malformed data raises becomes a DataError of one line."""
    try:
        yield
    except AmodalError:
        raise
    except MemoryError as error:
        raise DataError(f"{path} needs more memory than there is; simplify the mesh") from error
    except (AttributeError, LookupError, ValueError, TypeError, ArithmeticError, OSError, RecursionError) as error:
        raise DataError(f"{path} is malformed: {type(error).__name__}: {reason_of(error)}") from error


def fixed(scene: SceneGeometry, cameras: tuple[Camera, ...] = (), failures: tuple[str, ...] = ()) -> Source:
    """The source of a static scene."""
    return Source(scene.name, cameras, lambda camera: scene, failures)


def read_texture(source: Path | bytes) -> Image | None:
    """A picture (h, w, 3) uint8 RGB for a material; its transparency is ignored, as surfaces are opaque. None if there is none.

    Grey of more than 8 bits is scaled as everywhere (`core.image.split_colours`).
    Not `core.image.read`, which lays transparency on white and turns by EXIF.
    """
    import io

    from PIL import Image as PILImage

    from ...core.image import MAX_PIXELS, split_colours

    try:
        content = read_bytes(source, DataError) if isinstance(source, Path) else source
        damaged = reported(DataError, "the texture is damaged")
        with damaged, PILImage.open(io.BytesIO(content), formats=TEXTURES) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            if picture.mode.startswith(("I", "F")):  # its own conversion would cut at 255
                return split_colours(picture, "the texture")[0]
            return np.array(picture.convert("RGB"))
    except (DataError, ImageError):
        return None


def files_of(folder: Path, *suffixes: str) -> list[Path]:
    """The files of a folder that end in one of the suffixes (".obj"), in capitals or not, sorted."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.suffix.lower() in suffixes)


def kind_of(path: Path) -> str:
    """The reader of a mesh file, by its name. Raises DataError if there is none."""
    kinds = {".glb": "gltf", ".gltf": "gltf", ".obj": "obj", ".ply": "ply"}
    if path.suffix.lower() not in kinds:
        raise DataError(f"{path} is not a mesh that can be read; meshes are {', '.join(kinds)}")
    return kinds[path.suffix.lower()]


def read_mesh(path: Path | str) -> SceneGeometry:
    """A mesh file (.glb, .gltf, .obj, .ply), all its parts as one y-up surface. Raises DataError as `open_source`."""
    file = Path(path)
    return open_source(kind_of(file), file, options=build_options(ReaderOptions, {"up": "y"})).geometry(None)


def fine_label(name: str) -> str:
    """The label in an object's name: without the counters that engines add ("ChairB_01_003" is a "ChairB")."""
    return re.sub(r"([_.\- ]?\d+)+$", "", name) or name


def coarse_label(label: str) -> str:
    """The category in a label: without a variant's letter ("ChairB" is a "Chair")."""
    return re.sub(r"(?<=[a-z])[_ ]?[A-Z]$", "", label)


def is_structure(texts: Sequence[str], words: Sequence[str]) -> bool:
    """Whether any of the label texts has one of the words: split at spaces, digits, underscores and capitals."""
    found = {part.lower() for text in texts for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}
    return any(word.lower() in found for word in words)


def name_instances(names: Sequence[str], structure: Sequence[str]) -> tuple[Instance, ...]:
    """Instances 1, 2, ... of named nodes; a prefix that all labels share ("aws_robomaker_warehouse_") is no part of them."""
    labels = [fine_label(name) for name in names]
    words = [label.split("_")[:-1] for label in labels]
    shared = min(words, key=len, default=[])
    while shared and any(each[: len(shared)] != shared for each in words):
        shared = shared[:-1]
    cut = sum(len(word) + 1 for word in shared)
    found = []
    for number, (name, label) in enumerate(zip(names, labels, strict=True), 1):
        short = label[cut:]
        found.append(Instance(number, name, short, coarse_label(short), is_structure((short,), structure)))
    return tuple(found)


def read_table(path: str, label: str, category: str) -> dict[str, str]:
    """Two columns of a tab-separated table as a dictionary, empty without a path. Raises DataError if a column is absent."""
    if not path:
        return {}
    from ...core.files import read_csv

    rows = read_csv(path, DataError, delimiter="\t")
    if not rows or label not in rows[0] or category not in rows[0]:
        raise DataError(f"{path} must be tab-separated with the columns {label} and {category}")
    return {row[label]: row[category] for row in rows}
