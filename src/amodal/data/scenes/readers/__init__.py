"""Readers of 3-D data: each turns a folder or file of one format into a `Source` of scenes and cameras.

A reader is a function `read(path, options) -> Source`. To add one, write a file beside these and add a line to `READERS`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from ....errors import AmodalError, DataError, UnknownNameError, nearest
from ....options import Options, build_options
from ..scene import Camera, Instance, SceneGeometry

__all__ = ["READERS", "ReaderOptions", "Source", "fine_label", "is_structure", "name_instances", "open_source"]

READERS = {
    "gltf": "gltf",
    "obj": "obj",
    "matterport": "matterport",
    "scannet": "scannet",
    "bop": "bop",
}
"""Kind of data set to module."""


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
class Source:
    """One scene, or one set of posed objects, with its cameras.

    Attributes:
        name: unique in a build.
        cameras: those the data set brings; empty where they must be sampled or listed.
        geometry: the scene as one camera sees it (the same for all cameras of a static scene).
        failures: views that had to be left out, one line each.
        static: whether all cameras see the same scene.
    """

    name: str
    cameras: tuple[Camera, ...]
    geometry: Callable[[Camera | None], SceneGeometry]
    failures: tuple[str, ...] = field(default=())
    static: bool = True


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
    try:
        source: Source = module.read(path, name or path.stem, options or build_options(ReaderOptions, None))
    except AmodalError:
        raise
    except MemoryError as error:
        raise DataError(f"{path} needs more memory than there is; simplify the mesh") from error
    except (AttributeError, LookupError, ValueError, TypeError, ArithmeticError, OSError) as error:
        raise DataError(f"{path} is malformed: {type(error).__name__}: {error}") from error
    return source


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
    import csv

    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the table {path}: {error}") from error
    if not rows or label not in rows[0] or category not in rows[0]:
        raise DataError(f"{path} must be tab-separated with the columns {label} and {category}")
    return {row[label]: row[category] for row in rows}
