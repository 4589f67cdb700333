"""BOP data sets (YCB-Video and others): object models with a pose in each picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ....files import read_json
from ..cameras import picture_size
from ..scene import Camera, Floats, Instance, SceneGeometry, Surface, assemble
from . import ReaderOptions, Source
from .ply import Ply, read_ply, vertex_coloured

__all__ = ["read"]

MILLIMETRE = 0.001


@dataclass
class Models:
    """The models folder; meshes are read once, when first needed."""

    folder: Path
    known: dict[int, Ply] = field(default_factory=dict)

    def get(self, number: int) -> Ply:
        """The mesh of an object, in millimetres."""
        if number not in self.known:
            file = self.folder / f"obj_{number:06d}.ply"
            if not file.is_file():
                raise DataError(f"there is no model {file}")
            self.known[number] = read_ply(file)
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
    poses, matrices = read_json(truth, DataError), read_json(cameras, DataError)
    models = Models(folder)
    views, failures = list[Camera](), list[str]()
    for key in sorted(poses, key=int):
        try:
            views.append(view(path, key, matrices))
        except DataError as error:
            failures.append(str(error))
        except (KeyError, ValueError, TypeError) as error:
            failures.append(f"{cameras}: view {key} is malformed ({error})")
    geometry = partial(posed, models, poses, name, options)
    return Source(name, tuple(views), geometry, tuple(failures), static=False)


def view(path: Path, key: str, matrices: dict[str, Any]) -> Camera:
    """One picture's camera; BOP's calibrations put (0, 0) at the first pixel's centre."""
    matrix = np.array(matrices[key]["cam_K"], np.float64).reshape(3, 3)
    matrix[:2, 2] += 0.5
    stem = f"{int(key):06d}"
    candidates = [path / kind / f"{stem}{end}" for kind in ("rgb", "gray") for end in (".png", ".jpg", ".tif")]
    picture = next((file for file in candidates if file.is_file()), None)
    return Camera.make(stem, picture_size(picture, (480, 640)), matrix, np.eye(4), image=picture)


def posed(
    models: Models, poses: dict[str, list[dict[str, Any]]], name: str, options: ReaderOptions, camera: Camera | None
) -> SceneGeometry:
    """All objects of one picture in the camera's frame, metres."""
    if camera is None:
        raise DataError(f"BOP scene {name}: objects have a pose per picture; cameras cannot be sampled")
    remarks = list[str]()
    vertices, faces, owner, colours, instances = [], [], [], [], []
    count = 0
    for place, row in enumerate(poses[str(int(camera.name))], 1):
        try:
            number = int(row["obj_id"])
            rotation, shift = rigid(row, f"{name}, view {camera.name}, object {number}")
            model = models.get(number)
        except DataError as error:
            remarks.append(str(error))
            continue
        vertices.append((model.vertices @ rotation.T + shift) * MILLIMETRE)
        faces.append(model.faces + count)
        count += len(model.vertices)
        owner.append(np.full(len(model.faces), place, np.int32))
        tint = model.colours
        colours.append(np.full((len(model.vertices), 3), 180, np.uint8) if tint is None else tint)
        instances.append(Instance(place, f"{place:03d}_obj_{number:06d}", f"obj_{number:06d}"))
    if not vertices:
        raise DataError(
            f"{name}, view {camera.name}: no object can be placed ({'; '.join(remarks) or 'none is listed'})"
        )
    whole = Ply(np.concatenate(vertices), np.concatenate(faces), {}, {}, ())
    tints = np.concatenate(colours)
    whole.vertex.update(red=tints[:, 0], green=tints[:, 1], blue=tints[:, 2])
    surface: Surface | None = vertex_coloured(whole)
    return assemble(
        f"{name}",
        {
            "vertices": whole.vertices,
            "faces": whole.faces,
            "owner": np.concatenate(owner),
            "instances": tuple(instances),
            "surface": surface,
            "up": (0.0, -1.0, 0.0),
            "remarks": tuple(remarks),
        },
        options.max_faces,
    )


def rigid(row: dict[str, Any], what: str) -> tuple[Floats, Floats]:
    """`cam_R_m2c` and `cam_t_m2c` (millimetres), checked."""
    try:
        rotation = np.array(row["cam_R_m2c"], np.float64).reshape(3, 3)
        shift = np.array(row["cam_t_m2c"], np.float64).reshape(3)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{what}: cam_R_m2c needs 9 numbers and cam_t_m2c 3") from error
    if not np.isfinite(rotation).all() or not np.isfinite(shift).all():
        raise DataError(f"{what}: the pose is not finite; left out")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0:
        raise DataError(
            f"{what}: the pose is singular or no rotation (determinant {np.linalg.det(rotation):.3g}); left out"
        )
    return rotation, shift
