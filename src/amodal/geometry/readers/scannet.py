"""ScanNet scans: mesh with a segment per vertex, exported frames with a pose each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError
from ...core.files import read_bytes
from ..camera import Camera
from ..cameras import read_matrix, with_photograph
from ..mesh import Floats, Ints
from ..scene import SceneGeometry
from . import ReaderOptions, Source, fixed, read_table
from .ply import read_ply
from .segments import labelled_mesh, read_groups

__all__ = ["read"]

USUAL = (968, 1296)
"""(H, W) of ScanNet's colour frames."""


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scan folder `sceneSSSS_NN/`, its frames exported beside the mesh (`color/`, `pose/`, `intrinsic/`)."""
    meshes = sorted(path.glob("*_vh_clean_2.ply")) or sorted(path.glob("*_vh_clean.ply"))
    if not meshes:
        raise DataError(f"{path} has no *_vh_clean_2.ply; give the folder of one scan")
    scan = re.sub(r"_vh_clean(_2)?$", "", meshes[0].stem)
    scene = load(meshes[0], path / f"{scan}.aggregation.json", name, options)
    cameras, failures = read_frames(path, scan)
    return fixed(scene, tuple(each.in_metres(options.scale) for each in cameras), tuple(failures))


def load(mesh: Path, groups: Path, name: str, options: ReaderOptions) -> SceneGeometry:
    """The scan's geometry. A face belongs to the object that at least two of its corners belong to."""
    ply = read_ply(mesh, options.max_faces)
    files = sorted(mesh.parent.glob(f"{mesh.stem}.*.segs.json"))
    if not files or not groups.is_file():
        raise DataError(f"{mesh} has no labels: {mesh.stem}.*.segs.json and {groups.name} must lie beside it")
    owner, labels = read_groups(groups, files[0], len(ply.mesh.vertices), "vertices")
    table = read_table(options.categories, "raw_category", "nyu40class")
    objects = {identity: (number, label, table.get(label, label)) for identity, (number, label) in labels.items()}
    return labelled_mesh(name, ply, face_owner(owner, ply.mesh.faces), objects, options)


def face_owner(owner: NDArray[np.int32], faces: Ints) -> NDArray[np.int32]:
    """The object of two or three of a face's corners; of the first if all three differ."""
    first, second, third = (owner[faces[:, k]] for k in range(3))
    return np.where(second == third, second, first).astype(np.int32)


def read_frames(path: Path, scan: str) -> tuple[list[Camera], list[str]]:
    """Cameras of the exported frames; frames whose tracking was lost are told, not fatal."""
    poses = sorted((path / "pose").glob("*.txt"), key=lambda file: (len(file.stem), file.stem))
    if not poses:
        return [], []
    cameras, failures = list[Camera](), list[str]()
    matrix = intrinsics(path, scan)
    stated = calibrated_size(path / f"{scan}.txt", matrix)
    for file in poses:
        picture = next((each for each in (path / "color").glob(f"{file.stem}.*") if each.is_file()), None)
        try:
            pose = read_matrix(file, 16).reshape(4, 4)
            cameras.append(with_photograph(Camera.make(file.stem, stated, matrix, pose), picture))
        except DataError as error:
            failures.append(str(error))
    return cameras, failures


def intrinsics(path: Path, scan: str) -> Floats:
    """The colour camera's matrix; ScanNet's calibration puts (0, 0) at the first pixel's centre."""
    file = path / "intrinsic" / "intrinsic_color.txt"
    if file.is_file():
        matrix = read_matrix(file, 16).reshape(4, 4)[:3, :3].copy()
    else:
        values = key_values(path / f"{scan}.txt")
        names = ("fx_color", "fy_color", "mx_color", "my_color")
        if not all(name in values for name in names):
            raise DataError(f"{path} needs intrinsic/intrinsic_color.txt, or {scan}.txt with {', '.join(names)}")
        fx, fy, cx, cy = (float(values[name]) for name in names)
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    matrix[:2, 2] += 0.5
    return np.asarray(matrix)


def calibrated_size(file: Path, matrix: Floats) -> tuple[int, int]:
    """(H, W) of the pictures that the calibration is for, from the scan's own text file, or ScanNet's usual one.

    Raises:
        DataError: the file says no numbers; or nothing, and the calibration (3, 3) is not of pictures of the usual size.
    """
    values = key_values(file)
    try:
        size = (int(values.get("colorHeight", USUAL[0])), int(values.get("colorWidth", USUAL[1])))
    except ValueError as error:
        raise DataError(f"{file}: colorWidth and colorHeight must be whole numbers") from error
    centre = matrix[:2, 2] / (size[1], size[0])
    if not {"colorHeight", "colorWidth"} <= values.keys() and (np.abs(centre - 0.5) > 0.25).any():
        raise DataError(
            f"{file} does not say colorWidth and colorHeight, and the calibration is not of pictures of {USUAL[1]} x {USUAL[0]} "
            f"pixels: its centre is ({matrix[0, 2]:.1f}, {matrix[1, 2]:.1f}); write both into the file"
        )
    return size


def key_values(file: Path) -> dict[str, str]:
    """`key = value` lines; empty without the file."""
    if not file.is_file():
        return {}
    pairs = (
        line.split("=", 1) for line in read_bytes(file, DataError).decode(errors="replace").splitlines() if "=" in line
    )
    return {key.strip(): value.strip() for key, value in pairs}
