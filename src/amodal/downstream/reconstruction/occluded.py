"""Renders of single objects with other objects in front of them: the inputs of pix2gestalt's section 4.3."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.mask import Mask
from ...geometry.mesh import Mesh
from ...geometry.readers import read_mesh
from ...geometry.render import Renderer
from ...synthesis.pairs.compose import Pair, superimpose
from ...synthesis.pairs.source import generator
from ..views.protocol import RelativeCamera, studio

__all__ = ["OccludedView", "choose_objects", "find_meshes", "names_of", "occluded_view"]

ELEVATIONS = (-10.0, 40.0)
"""Of the random views, degrees: what SyncDreamer was trained for."""
SUFFIXES = (".glb", ".obj", ".ply")


@dataclass(frozen=True)
class OccludedView:
    """A scan seen from one camera with an occluder in front.

    Attributes:
        id: object and number of the view.
        truth: the scan, upright for this view: normalised (see `Mesh.normalised`) and turned so that the camera's azimuth is 0.
        elevation: of the camera, degrees.
        pair: input picture, whole picture and masks.
        occluder: name of the object in front.
    """

    id: str
    truth: Mesh
    elevation: float
    pair: Pair
    occluder: str


def find_meshes(folder: Path) -> list[Path]:
    """All meshes (.glb, .obj, .ply) below a folder, sorted. Raises DataError for fewer than two."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if len(files) < 2:
        raise DataError(
            f"{folder} holds {len(files)} meshes (.glb, .obj, .ply); at least two are needed, since each is occluded by another"
        )
    return files


def choose_objects(files: Sequence[Path], count: int, seed: int = 0) -> list[Path]:
    """`count` random files (all, if there are fewer), in their order."""
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return [files[index] for index in sorted(chosen)]


def names_of(files: Iterable[Path]) -> dict[Path, str]:
    """What each mesh is called: its file name without the ending, or its path below the folder of all where several have that
    name (`cup/meshes/model.obj`, as scans often come)."""
    known = list(dict.fromkeys(files))
    stems = Counter(file.stem for file in known)
    root = os.path.commonpath([file.parent for file in known])
    return {file: file.stem if stems[file.stem] == 1 else file.relative_to(root).as_posix() for file in known}


def occluded_view(
    file: Path,
    number: int,
    others: Sequence[Path],
    size: int = 256,
    seed: int = 0,
    occluded: tuple[float, float] = (0.1, 0.6),
) -> OccludedView:
    """Render an object from a random camera and lay a render of a random other object over it.

    Args:
        file: the object.
        number: of the view; camera and occluder depend on the seed, the object's name and this number alone.
        others: where occluders come from; the object itself is left out.
        size: side of the picture.
        seed: of the chance.
        occluded: share of the object that the occluder hides.

    Raises:
        DataError: a mesh is empty or damaged, or no occluder fits.
    """
    names = names_of([*others, file])
    random = generator(seed, names[file], str(number))
    turn, elevation = float(random.uniform(0, 360)), float(random.uniform(*ELEVATIONS))
    truth = mesh_of(file).moved(about_y(-turn))
    picture, seen = Renderer(truth).paint(studio(RelativeCamera(), elevation, size))
    rivals = [other for other in others if other != file]
    for _ in range(20):
        other = rivals[int(random.integers(len(rivals)))]
        view = studio(RelativeCamera(float(random.uniform(*ELEVATIONS)), float(random.uniform(0, 360))), 0, size)
        rgb, alpha = Renderer(mesh_of(other)).paint(view)
        cut = np.dstack([rgb, alpha.astype(np.uint8) * 255])
        pair = (
            superimpose(picture, Mask.from_array(seen), cut, random, occluded) if seen.any() and alpha.any() else None
        )
        if pair is not None:
            return OccludedView(f"{names[file]}/{number}", truth, elevation, pair, names[other])
    raise DataError(f"{file}: no occluder fits; is the mesh flat or empty?")


@lru_cache(maxsize=16)
def mesh_of(file: Path) -> Mesh:
    """A mesh, normalised."""
    return read_mesh(file).normalised()


def about_y(degrees: float) -> np.ndarray:
    """(3, 3): a turn about the upward axis, counter-clockwise seen from above."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
