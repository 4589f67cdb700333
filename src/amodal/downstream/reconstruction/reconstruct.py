"""Amodal 3-D: complete the object, then lift its cut-out to a textured mesh with views around it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.files import check_targets, write_bytes, write_json
from ...core.image import encode_png
from ...geometry.camera import orbit
from ...geometry.mesh import Mesh
from ...geometry.render import Renderer
from ...plugins import registry
from ...plugins.protocols import Progress, no_progress
from .lifters import Lifter

if TYPE_CHECKING:
    from ...core.completion import Completion

__all__ = ["create_lifter", "planned_files", "reconstruct", "save_reconstruction"]


def create_lifter(name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Lifter:
    """A lifter by name, as `amodal list lifters` shows them.

    Raises:
        UnknownNameError, OptionError, WeightsError, MissingExtraError.
    """
    made = registry.create("lifters", name, options, device)
    assert isinstance(made, Lifter)
    return made


def reconstruct(
    completion: Completion | NDArray[np.uint8],
    lifter: Lifter,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    keep: Path | None = None,
) -> Mesh:
    """The completed object in 3-D.

    Args:
        completion: of the object, or its cut-out (h, w, 4) uint8 RGBA.
        lifter: makes the mesh.
        seed: same seed, same mesh.
        progress: of the lifter.
        keep: file for the state of a long optimisation, which goes on from there; see `Lifter.lift`.

    Raises:
        DataError: the cut-out is empty, or the lifter found no surface.
    """
    rgba = completion if isinstance(completion, np.ndarray) else completion.rgba
    return lifter.lift(rgba, seed, progress, keep)


def save_reconstruction(
    mesh: Mesh,
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
    paths = planned_files(folder, stem, views, overwrite)
    mesh.save(paths["mesh"][0], overwrite=True)
    renderer = Renderer(mesh)
    for number, path in enumerate(paths["views"]):
        camera = orbit(360 * number / views, 15.0, size=size)
        write_bytes(path, encode_png(renderer.paint(camera)[0]))
    content = {"vertices": len(mesh.vertices), "faces": len(mesh.faces), **dict(mesh.notes), **dict(record or {})}
    write_json(paths["json"][0], content)
    return paths


def planned_files(
    folder: str | os.PathLike[str], stem: str, views: int, overwrite: bool = False
) -> dict[str, list[Path]]:
    """The files that `save_reconstruction` will write; to be asked before long work.

    Raises:
        OutputError: one exists and may not be replaced.
    """
    root = Path(folder)
    paths = {
        "mesh": [root / f"{stem}.glb"],
        "views": [root / f"{stem}.view{number:02d}.png" for number in range(views)],
        "json": [root / f"{stem}.3d.json"],
    }
    check_targets((path for part in paths.values() for path in part), overwrite)
    return paths
