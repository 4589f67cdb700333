"""Matterport3D houses: mesh with object segments, cameras from the .conf file or from intrinsics and poses.

The two camera sources differ in axes and image origin. The .conf looks along -z with y up and counts image rows from the bottom;
the pose files look along z with y down and count from the top, and their calibration puts (0, 0) at the first pixel's centre.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import MALFORMED, DataError
from ...core.files import read_bytes, read_csv
from ...core.mask import Size
from ..camera import Camera
from ..cameras import photograph_size, read_matrix, with_photograph
from ..mesh import Floats
from ..scene import SceneGeometry
from . import ReaderOptions, Source, fixed, read_table
from .ply import Ply, read_ply
from .segments import Labels, labelled_mesh, read_groups

__all__ = ["read"]

SIZE = (1024, 1280)
"""(H, W) of Matterport's pictures, where no picture is there to tell."""


@dataclass(frozen=True)
class House:
    """What a `.house` file says: per object index its label and its category (mpcat40), empty where it names none."""

    objects: dict[int, tuple[str, str]]


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A house folder `<house>/` in the official layout."""
    folder = path / "house_segmentations"
    meshes = sorted(folder.glob("*.ply"))
    if not meshes:
        raise DataError(f"{path} has no house_segmentations/*.ply; give the folder of one house")
    house = meshes[0].stem
    scene = load(meshes[0], name, options)
    conf = path / "undistorted_camera_parameters" / f"{house}.conf"
    if conf.is_file():
        cameras, failures = read_conf(conf, path)
    else:
        cameras, failures = read_poses(path)
    return fixed(scene, tuple(each.in_metres(options.scale) for each in cameras), tuple(failures))


def load(mesh: Path, name: str, options: ReaderOptions) -> SceneGeometry:
    """The house's geometry with an instance per annotated object."""
    ply = read_ply(mesh, options.max_faces)
    house = read_house(mesh.with_suffix(".house"))
    table = read_table(options.categories, "raw_category", "mpcat40")
    remarks = list[str]()
    groups, segments = mesh.with_suffix(".semseg.json"), mesh.with_suffix(".fsegs.json")
    if groups.is_file() and segments.is_file():
        owner, labels = read_groups(groups, segments, ply.polygons, "faces")
        owner = owner[ply.polygon]
    else:
        owner, labels = from_faces(ply, mesh)
        remarks.append("no semseg.json and fsegs.json; objects are taken from the mesh's own face properties")
    named = {key: (number, *house.objects.get(number, ("", ""))) for key, (number, _) in labels.items()}
    unlabeled = [key for key, (_, own) in labels.items() if not own and not named[key][1]]
    by_face = from_categories(ply, owner, unlabeled, options.categories, remarks) if unlabeled else {}
    objects = {}
    for key, (number, house_label, category) in named.items():
        label = labels[key][1] or house_label or by_face.get(key, "")
        objects[key] = (number, label, table.get(label, "") or category)
    return labelled_mesh(name, ply, owner, objects, options, tuple(remarks))


def from_faces(ply: Ply, mesh: Path) -> tuple[NDArray[np.int32], Labels]:
    """Owner per face from the mesh's own object property, which knows no labels."""
    numbers = ply.face_property("segment_id", "face_segment")
    if numbers is None:
        raise DataError(
            f"{mesh} has no labels: no semseg.json beside it and no segment_id or face_segment at its faces"
        )
    found = np.unique(numbers[numbers >= 0])
    owner = np.where(numbers >= 0, np.searchsorted(found, numbers) + 1, 0).astype(np.int32)
    return owner, {place: (int(number), "") for place, number in enumerate(found, 1)}


def from_categories(
    ply: Ply, owner: NDArray[np.int32], wanted: list[int], table: str, remarks: list[str]
) -> dict[int, str]:
    """Of the instances `wanted`, the label in the table's row that most of their faces name (`category_id`); what is odd in `remarks`.

    Rows are numbered by the table's column `index`, else from 1, as the official file numbers them.
    """
    rows = ply.face_property("category_id", "face_category")
    if rows is None or not (known := (rows > 0) & np.isin(owner, wanted)).any():
        return {}
    if not table:
        remarks.append(
            f"{len(np.unique(owner[known]))} objects have no label but a row of category_mapping.tsv, which is not given; they count "
            "as unlabeled parts of the building; name the file as reader.categories"
        )
        return {}
    names = numbered_labels(table, remarks)
    width = int(rows[known].max()) + 1
    packed, counts = np.unique(owner[known].astype(np.int64) * width + rows[known], return_counts=True)
    votes = np.stack(np.divmod(packed, width))  # (2, votes): object, row
    found, chosen = dict[int, str](), dict[int, int]()
    for place in np.argsort(-counts, kind="stable"):
        identity, row = (int(value) for value in votes[:, place])
        if chosen.setdefault(identity, row) == row and row in names:
            found[identity] = names[row]
    several = votes.shape[1] - len(chosen)
    absent = len(chosen) - len(found)
    if several:
        remarks.append(f"{several} times the faces of an object name a second category; the one of most faces counts")
    if absent:
        remarks.append(f"the faces of {absent} objects name a row that {table} does not have; it gives them no label")
    return found


def numbered_labels(path: str, remarks: list[str]) -> dict[int, str]:
    """The raw labels of a table by the number of their row. Raises DataError: a number is none, or a column is absent."""
    rows = read_csv(path, DataError, delimiter="\t")
    if rows and "index" not in rows[0]:
        remarks.append(f"{path} has no column index; its rows are counted from 1")
    try:
        return {int(row.get("index", place)): row["raw_category"] for place, row in enumerate(rows, 1)}
    except ValueError as error:
        raise DataError(f"{path}: the column index must hold whole numbers ({error})") from error


def read_house(path: Path) -> House:
    """Labels and categories of a `.house` file; empty if there is none."""
    if not path.is_file():
        return House({})
    categories: dict[int, tuple[str, str]] = {}
    rows: list[tuple[int, int]] = []
    for number, line in enumerate(read_bytes(path, DataError).decode(errors="replace").splitlines(), 1):
        words = line.split()
        try:
            if words and words[0] == "C":
                categories[int(words[1])] = (words[3].replace("#", " "), words[5].replace("#", " "))
            elif words and words[0] == "O":
                rows.append((int(words[1]), int(words[3])))
        except MALFORMED as error:
            raise DataError(f"{path}, line {number}: cannot understand {line[:60]!r}") from error
    return House({number: categories.get(category, ("", "")) for number, category in rows})


def read_conf(path: Path, house: Path) -> tuple[list[Camera], list[str]]:
    """Cameras of `undistorted_camera_parameters/<house>.conf`; bad ones are told, not fatal."""
    cameras, failures = list[Camera](), list[str]()
    matrix = np.zeros((3, 3))
    folder = ""
    for number, line in enumerate(read_bytes(path, DataError).decode(errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "color_directory":
                folder = words[1]
            elif words[0] == "intrinsics_matrix":
                matrix = np.array(words[1:10], np.float64).reshape(3, 3)
            elif words[0] == "scan":
                picture = find_picture(house, (folder, "undistorted_color_images", "matterport_color_images"), words[2])
                size = calibrated_size(words[2], matrix, picture)
                top = matrix.copy()
                top[1, 2] = size[0] - matrix[1, 2]  # the file counts rows from the bottom
                pose = np.array(words[3:19], np.float64).reshape(4, 4)
                camera = Camera.make(Path(words[2]).stem, size, top, pose, convention="opengl")
                cameras.append(with_photograph(camera, picture))
        except DataError as error:
            failures.append(str(error))
        except MALFORMED as error:
            failures.append(f"{path}, line {number}: cannot understand {line[:60]!r} ({error})")
    return cameras, failures


def read_poses(house: Path) -> tuple[list[Camera], list[str]]:
    """Cameras of `matterport_camera_poses` and `matterport_camera_intrinsics`; lens distortion is kept for the photographs."""
    cameras, failures = list[Camera](), list[str]()
    for file in sorted((house / "matterport_camera_poses").glob("*_pose_*.txt")):
        panorama, _, rest = file.stem.rpartition("_pose_")
        lens, _, yaw = rest.partition("_")
        try:
            intrinsics = house / "matterport_camera_intrinsics" / f"{panorama}_intrinsics_{lens}.txt"
            values = read_matrix(intrinsics, 11).reshape(-1)
            width, height, fx, fy, cx, cy = values[:6]
            matrix = np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])
            title = f"{panorama}_i{lens}_{yaw}"
            picture = find_picture(house, ("matterport_color_images",), f"{title}.jpg")
            size = (int(height), int(width))
            camera = Camera.make(title, size, matrix, read_matrix(file, 16).reshape(4, 4))
            camera = replace(camera, distortion=tuple(float(value) for value in values[6:11]))
            cameras.append(with_photograph(camera, picture))
        except DataError as error:
            failures.append(str(error))
        except (ValueError, OverflowError) as error:
            failures.append(f"{file}: malformed ({error})")
    return cameras, failures


def calibrated_size(name: str, matrix: Floats, picture: Path | None) -> Size:
    """(H, W) of the picture that a matrix of the .conf is for, which the file does not state.

    Matterport's own size if the matrix' middle is about the middle of that, else the photograph's.

    Raises:
        DataError: neither fits.
    """
    if 0.3 < matrix[0, 2] / SIZE[1] < 0.7 and 0.3 < matrix[1, 2] / SIZE[0] < 0.7:
        return SIZE
    if picture is None:
        raise DataError(
            f"view {name}: its camera's middle is ({matrix[0, 2]:g}, {matrix[1, 2]:g}), which is not about that of "
            f"{SIZE[1]} x {SIZE[0]} pixels, and its photograph, which would tell the size, is not there; the view is left out"
        )
    size = photograph_size(picture)
    if not (0 < matrix[0, 2] < size[1] and 0 < matrix[1, 2] < size[0]):
        raise DataError(
            f"{picture.name} has {size[1]} x {size[0]} pixels, but its camera's middle is ({matrix[0, 2]:g}, {matrix[1, 2]:g}); "
            "the intrinsics are for a picture of another size; the view is left out"
        )
    return size


def find_picture(house: Path, folders: tuple[str, ...], file: str) -> Path | None:
    """The photograph in the first of the folders that has it, or None."""
    for folder in folders:
        for base in (house / folder, house):
            if (base / file).is_file():
                return base / file
    return None
