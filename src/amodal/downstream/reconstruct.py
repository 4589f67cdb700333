"""Amodal 3-D: complete the object, then lift its cut-out to a textured mesh with views around it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..errors import OutputError
from ..files import write_bytes, write_json
from ..image import encode_png
from ..protocols import Tick, no_tick
from .lifters import Lifter
from .mesh import TexturedMesh, orbit, render

if TYPE_CHECKING:
    from ..completion import Completion

__all__ = ["create_lifter", "reconstruct", "save_reconstruction"]


def create_lifter(name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Lifter:
    """A lifter by name, as `amodal list lifters` shows them.

    Raises:
        UnknownNameError, OptionError, WeightsError, MissingExtraError.
    """
    made = registry.create("lifters", name, options, device)
    assert isinstance(made, Lifter)
    return made


def reconstruct(
    completion: Completion | NDArray[np.uint8], lifter: Lifter, *, seed: int = 0, tick: Tick = no_tick
) -> TexturedMesh:
    """The completed object in 3-D.

    Args:
        completion: of the object, or its cut-out (h, w, 4) uint8 RGBA.
        lifter: makes the mesh.
        seed: same seed, same mesh.
        tick: progress of the lifter.

    Raises:
        DataError: the cut-out is empty, or the lifter found no surface.
    """
    rgba = completion if isinstance(completion, np.ndarray) else completion.rgba
    return lifter.lift(rgba, seed, tick)


def save_reconstruction(
    mesh: TexturedMesh,
    folder: str | os.PathLike[str],
    stem: str = "object",
    *,
    views: int = 8,
    size: int = 256,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, list[Path]]:
    """Write `<stem>.glb`, `<stem>.view00.png` ... around the object, and `<stem>.3d.json` last.

    Args:
        mesh: to write.
        folder: where.
        stem: of the file names.
        views: pictures of the orbit, the first from the side of the photo; 0 for none.
        size: of the pictures.
        record: JSON-ready, what made the mesh; goes into the JSON.
        overwrite: replace files that exist.

    Raises:
        OutputError: a file exists and may not be replaced.
    """
    root = Path(folder)
    paths = {
        "mesh": [root / f"{stem}.glb"],
        "views": [root / f"{stem}.view{number:02d}.png" for number in range(views)],
        "json": [root / f"{stem}.3d.json"],
    }
    taken = [str(path) for part in paths.values() for path in part if path.exists()]
    if taken and not overwrite:
        raise OutputError(f"{taken[0]} exists already; add --force to replace it, or choose another folder with -o")
    mesh.save(paths["mesh"][0], overwrite=True)
    for path, view in zip(paths["views"], orbit(views), strict=True):
        write_bytes(path, encode_png(render(mesh, view, size)[0]))
    content = {"vertices": len(mesh.vertices), "faces": len(mesh.faces), **dict(mesh.notes), **dict(record or {})}
    write_json(paths["json"][0], content)
    return paths
