"""BOP data sets (YCB-Video and others): object models with a pose in each picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import MALFORMED, DataError, ImageError, MaskError
from ...core.files import read_json
from ...core.image import as_mask
from ...core.mask import Mask, Size
from ..camera import Camera
from ..cameras import photograph_size, with_photograph
from ..mesh import Floats, Mesh, join
from ..scene import Instance, SceneGeometry, assemble
from . import ReaderOptions, Seen, Source
from .ply import read_ply

__all__ = ["read"]

MILLIMETRE = 0.001


@dataclass
class Models:
    """The models folder; meshes are read once, when first needed."""

    folder: Path
    known: dict[int, Mesh] = field(default_factory=dict)

    def get(self, number: int) -> Mesh:
        """The mesh of an object, in millimetres."""
        if number not in self.known:
            file = self.folder / f"obj_{number:06d}.ply"
            if not file.is_file():
                raise DataError(f"there is no model {file}")
            self.known[number] = read_ply(file).mesh
        return self.known[number]


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scene folder (`.../test/000048` with scene_gt.json); the models lie in `models*` above it. The world is the camera."""
    truth, cameras = path / "scene_gt.json", path / "scene_camera.json"
    if not truth.is_file() or not cameras.is_file():
        raise DataError(f"{path} needs scene_gt.json and scene_camera.json; give the folder of one BOP scene")
    candidates = [base / title for base in path.parents[:2] for title in ("models", "models_eval", "models_cad")]
    folder = next((each for each in candidates if each.is_dir()), None)
    if folder is None:
        raise DataError(f"no models folder beside {path.parent}; BOP keeps the object models there")
    poses, matrices = (read_json(file, DataError, finite=False) for file in (truth, cameras))
    models = Models(folder)
    views, failures = list[Camera](), list[str]()
    for key in sorted(poses, key=int):
        try:
            views.append(view(path, key, matrices))
        except DataError as error:
            failures.append(str(error))
        except MALFORMED as error:
            failures.append(f"{cameras}: view {key} is malformed ({error})")
    geometry = partial(posed, models, poses, name, options)
    return Source(name, tuple(views), geometry, tuple(failures), static=False, seen=partial(seen, path, poses))


ASIDE = 0.15
"""A camera's middle may lie this share of the picture's side beside its middle; further, and one of the two was scaled."""


def view(path: Path, key: str, matrices: dict[str, Any]) -> Camera:
    """One picture's camera; BOP's calibrations put (0, 0) at the first pixel's centre."""
    matrix = np.array(matrices[key]["cam_K"], np.float64).reshape(3, 3)
    matrix[:2, 2] += 0.5
    stem = f"{int(key):06d}"
    candidates = [path / kind / f"{stem}{end}" for kind in ("rgb", "gray") for end in (".png", ".jpg", ".tif")]
    picture = next((file for file in candidates if file.is_file()), None)
    stated = stated_size(path)
    size = stated if picture is None else photograph_size(picture)
    if size is None:
        raise DataError(
            f"view {stem}: there is no picture in rgb or gray, and no camera.json beside the splits that states its size; left out"
        )
    camera = Camera.make(stem, stated or size, matrix, np.eye(4))
    beside = max(abs(matrix[0, 2] / size[1] - 0.5), abs(matrix[1, 2] / size[0] - 0.5))
    if stated is None and not beside < ASIDE:
        raise DataError(
            f"view {stem}: cam_K has its middle at ({matrix[0, 2]:g}, {matrix[1, 2]:g}), the picture {size[1]} x {size[0]} "
            "pixels; they must belong together, or a camera.json beside the splits must state the size of cam_K; left out"
        )
    return with_photograph(camera, picture)


def stated_size(path: Path) -> Size | None:
    """(H, W) that the data set's `camera.json` (or `camera_uw.json` and the like, where all agree), two folders above the scene,
    states for all pictures; None without one."""
    sizes = set[Size]()
    for file in sorted(path.parent.parent.glob("camera*.json")):
        content = read_json(file, DataError)
        try:
            sizes.add((int(content["height"]), int(content["width"])))
        except MALFORMED:
            continue
    return sizes.pop() if len(sizes) == 1 else None


def posed(
    models: Models, poses: dict[str, list[dict[str, Any]]], name: str, options: ReaderOptions, camera: Camera | None
) -> SceneGeometry:
    """All objects of one picture in the camera's frame, metres; the instance of row k of `scene_gt.json` is k + 1."""
    if camera is None:
        raise DataError(f"BOP scene {name}: objects have a pose per picture; cameras cannot be sampled")
    remarks = list[str]()
    placed, instances = list[Mesh](), list[Instance]()
    for identity, row in enumerate(poses[str(int(camera.name))], 1):
        try:
            number = int(row["obj_id"])
            rotation, shift = rigid(row, f"{name}, view {camera.name}, object {number}")
            model = models.get(number)
        except DataError as error:
            remarks.append(str(error))
            continue
        except (KeyError, TypeError, ValueError, OverflowError):
            remarks.append(f"{name}, view {camera.name}: an object needs obj_id, cam_R_m2c and cam_t_m2c; left out")
            continue
        placed.append(model.moved(rotation, MILLIMETRE, MILLIMETRE * shift))
        instances.append(Instance(identity, f"{identity:03d}_obj_{number:06d}", f"obj_{number:06d}"))
    if not placed:
        raise DataError(
            f"{name}, view {camera.name}: no object can be placed ({'; '.join(remarks) or 'none is listed'})"
        )
    whole, part = join(placed)
    scene = replace(whole, up=(0.0, -1.0, 0.0))
    owner = np.array([each.id for each in instances], np.int32)[part]
    return assemble(name, scene, owner, tuple(instances), remarks=remarks, max_faces=options.max_faces)


def seen(path: Path, poses: dict[str, list[dict[str, Any]]], camera: Camera) -> Seen:
    """The visible masks of one picture: `mask_visib/IMAGE_ROW.png`, numbers of six digits, ROW counts in `scene_gt.json` from 0.

    Raises:
        DataError: a mask cannot be read or has another size than the photograph.
    """
    folder, rows = path / "mask_visib", poses[str(int(camera.name))]
    if not folder.is_dir():
        return Seen(
            notes=(
                f"there is no {folder.name}/: what is seen of an object is taken from the placed models alone, "
                "so that hands, tables and whatever has no model hide nothing",
            )
        )
    masks = dict[int, Mask]()
    for identity in range(1, len(rows) + 1):
        file = folder / f"{int(camera.name):06d}_{identity - 1:06d}.png"
        if not file.is_file():
            continue
        try:
            masks[identity] = as_mask(file, camera.size, f"mask {file.name}")
        except (ImageError, MaskError) as error:
            raise DataError(
                f"view {camera.name}: {folder.name}/{file.name}: {error}; mend it, or remove the file; the view is left out"
            ) from error
    absent = len(rows) - len(masks)
    told = f"objects have no picture in {folder.name}/; what is seen of them is taken from the placed models alone"
    return Seen(masks, (told,) if absent else ())


def rigid(row: dict[str, Any], what: str) -> tuple[Floats, Floats]:
    """`cam_R_m2c` and `cam_t_m2c` (millimetres), checked."""
    try:
        rotation = np.array(row["cam_R_m2c"], np.float64).reshape(3, 3)
        shift = np.array(row["cam_t_m2c"], np.float64).reshape(3)
    except MALFORMED as error:
        raise DataError(f"{what}: cam_R_m2c needs 9 numbers and cam_t_m2c 3") from error
    if not (np.abs(rotation) < 1e9).all() or not (np.abs(shift) < 1e9).all():  # NaN too
        raise DataError(f"{what}: the pose is not finite or beyond 10^9; left out")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0:
        raise DataError(
            f"{what}: the pose is singular or no rotation (determinant {np.linalg.det(rotation):.3g}); left out"
        )
    return rotation, shift
