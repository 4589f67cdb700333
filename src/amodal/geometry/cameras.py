"""Cameras: from a JSON list, from small text files, or sampled at eye height in a scene's free space."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ..core.errors import MALFORMED, DataError, ImageError
from ..core.files import MAX_SETTINGS, read_json, read_text
from ..core.image import picture_size
from ..core.mask import Size
from ..core.options import Options
from .camera import Camera, Floats, look_at
from .rays import Caster
from .scene import SceneGeometry

__all__ = ["CameraSampling", "photograph_size", "read_list", "read_matrix", "sample_cameras", "with_photograph"]


NAME = re.compile(r"[\w][\w .+@=-]{0,120}")
"""Names of cameras, which become names of files."""
BENT = (
    "k1",
    "k2",
    "k3",
    "k4",
    "k5",
    "k6",
    "p1",
    "p2",
    "skew",
    "distortion",
    "distortion_coefficients",
    "distortion_params",
)
"""What other programs' lists of cameras tell of lenses that are no pinholes."""
PINHOLES = ("pinhole", "simple_pinhole", "perspective", "opencv")
"""The camera models of other programs' lists that are pinholes where none of `BENT` is told."""


class CameraSampling(Options):
    """How cameras are sampled."""

    count: int = Field(200, ge=1, description="number of views")
    width: int = Field(1280, ge=16, le=8192, description="pixels")
    height: int = Field(1024, ge=16, le=8192, description="pixels")
    view_angle: tuple[float, float] = Field((55.0, 75.0), description="range of the horizontal angle of view, degrees")
    eye_height: tuple[float, float] = Field((1.1, 1.8), description="range above the floor, metres")
    clearance: float = Field(0.35, ge=0, description="nothing may be nearer to the camera than this, metres")
    distance: tuple[float, float] = Field(
        (0.8, 6.0), description="range of the distance to the object looked at, metres"
    )
    open_share: float = Field(
        0.3, ge=0, le=1, description="share of directions that may meet nothing; 1 for open scenes"
    )
    back_share: float = Field(0.2, ge=0, le=1, description="share of surfaces seen from behind, as from inside a wall")
    tries: int = Field(400, ge=1, description="attempts per view before it is given up")
    seed: int = Field(0, ge=0, description="same seed, same views")


def read_matrix(path: Path, count: int) -> Floats:
    """The first `count` numbers of a text file. Raises DataError if there are fewer, or the file is absent."""
    try:
        values = np.array(read_text(path, DataError, limit=MAX_SETTINGS).split()[:count], np.float64)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {count} numbers from {path}: {error}") from error
    if len(values) < count:
        raise DataError(f"{path} has {len(values)} numbers, {count} are needed")
    return values


def photograph_size(picture: Path) -> Size:
    """(H, W) of an upright photograph, from its header alone. Raises DataError if it is no picture."""
    try:
        return picture_size(picture)
    except ImageError as error:
        raise DataError(str(error)) from error


def with_photograph(camera: Camera, picture: Path | None) -> Camera:
    """The camera with its photograph, which may be a scaled copy of the calibrated picture; as it is without one.

    Raises:
        DataError: the photograph cannot be read, or has another shape than the camera's picture.
    """
    if picture is None:
        return camera
    return replace(camera.fitted(photograph_size(picture)), image=picture)


def read_list(path: Path) -> tuple[list[Camera], list[str]]:
    """Cameras of a JSON list `{name, width, height, fx, fy, cx, cy, world_from_camera, convention}`, and what is wrong with others.

    `cx`, `cy` are continuous image coordinates: the picture's middle is (width / 2, height / 2).

    Raises:
        DataError: the file is not such a list at all.
    """
    rows = read_json(path, DataError, finite=False)
    if not isinstance(rows, list):
        raise DataError(f"{path} must be a JSON list of cameras")
    names = [str(row.get("name")) for row in rows if isinstance(row, dict) and "name" in row]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: {len(twice)} names stand for several cameras (first: {twice[0][:60]}); give each its own"
        )
    cameras, failures = list[Camera](), list[str]()
    for number, row in enumerate(rows):
        try:
            cameras.append(from_row(row, number, path.parent))
        except DataError as error:
            failures.append(str(error))
        except MALFORMED as error:
            failures.append(f"{path}: camera {number} is malformed: {type(error).__name__} {error}")
    return cameras, failures


def from_row(row: dict[str, Any], number: int, folder: Path) -> Camera:
    """One entry of the JSON list."""
    matrix = np.array([[row["fx"], 0, row["cx"]], [0, row["fy"], row["cy"]], [0, 0, 1]], np.float64)
    name, size = str(row.get("name", f"{number:06d}")), (int(row["height"]), int(row["width"]))
    if not NAME.fullmatch(name):
        raise DataError(
            f"camera {name[:60]!r}: a name needs letters, digits, dots, dashes, underscores and blanks alone"
        )
    if size != (float(row["height"]), float(row["width"])):
        raise DataError(
            f"camera {name}: width {row['width']} and height {row['height']} must be whole numbers of pixels"
        )
    bent = [key for key in BENT if np.any(np.asarray(row.get(key) or 0, np.float64) != 0)]
    if bent:
        raise DataError(
            f"camera {name}: {bent[0]} is not 0; cameras of a list are pinholes without skew: undistort the photographs first, and "
            "leave it out"
        )
    models = [str(row[key]) for key in ("camera_model", "model") if row.get(key)]
    if other := next((each for each in models if each.lower() not in PINHOLES), None):
        raise DataError(f"camera {name}: its model is {other[:40]}; cameras of a list are pinholes")
    camera = Camera.make(name, size, matrix, row["world_from_camera"], convention=row.get("convention", "opencv"))
    image = folder / str(row["image"]) if row.get("image") else None
    if image is not None and not image.is_file():
        raise DataError(f"camera {name}: there is no photograph {image}")
    return with_photograph(camera, image)


def sample_cameras(
    scene: SceneGeometry, options: CameraSampling, caster: Caster | None = None
) -> tuple[list[Camera], list[str]]:
    """Views that a person walking through the scene could take, each looking at one object; and which were given up.

    A place is accepted if it is in free space: a floor below and a surface above or around, nothing nearer than the clearance,
    and no surface seen from its back (which is how the inside of walls and furniture looks). A direction is accepted if the
    object looked at is in sight.
    """
    caster = caster or Caster(scene.vertices, scene.faces)
    objects = [each for each in scene.instances if not each.structure]
    if not objects:
        return [], [f"scene {scene.name}: no object that is not part of the building; no views sampled"]
    boxes = object_boxes(scene, [each.id for each in objects])
    cameras, failures = list[Camera](), list[str]()
    for number in range(options.count):
        rng = np.random.default_rng([options.seed, number])
        for pose in attempts(scene, boxes, options, caster, rng):
            # A pinhole whose focal length, in pixels, gives the drawn angle across the width.
            angle = np.radians(rng.uniform(*options.view_angle))
            focal = options.width / 2 / np.tan(angle / 2)
            matrix = np.array([[focal, 0, options.width / 2], [0, focal, options.height / 2], [0, 0, 1]])
            size = (options.height, options.width)
            cameras.append(Camera.make(f"{number:04d}", size, matrix, pose))
            break
        else:
            failures.append(f"scene {scene.name}: no free place for view {number:04d} in {options.tries} tries")
    return cameras, failures


def object_boxes(scene: SceneGeometry, ids: list[int]) -> Floats:
    """The corners (n, 2, 3) of the boxes around objects."""
    lowest = np.full((int(scene.owner.max()) + 1, 3), np.inf)
    highest = -lowest
    # corners (F, 3, 3): lowest and highest of each owner's faces, all owners at once.
    corners = scene.vertices[scene.faces]
    np.minimum.at(lowest, scene.owner, corners.min(axis=1))
    np.maximum.at(highest, scene.owner, corners.max(axis=1))
    return np.stack([lowest[ids], highest[ids]], axis=1)


def attempts(
    scene: SceneGeometry, boxes: Floats, options: CameraSampling, caster: Caster, rng: np.random.Generator
) -> Iterator[Floats]:
    """Accepted poses, among at most `options.tries` drawn ones."""
    up = np.array(scene.up)
    for _ in range(options.tries):
        low, high = boxes[rng.integers(len(boxes))]
        target = rng.uniform(low, high)
        # A direction along the floor: away from a point in the object, to where the person stands.
        flat = rng.normal(size=3)
        flat -= flat @ up * up
        place = target + rng.uniform(*options.distance) * flat / np.linalg.norm(flat)
        floor = floor_below(place, up, caster)
        if floor is None:
            continue
        # Eyes above the floor there; not too near, and not steeply up or down.
        position = place + (floor + rng.uniform(*options.eye_height) - place @ up) * up
        away = target - position
        reach = float(np.linalg.norm(away))
        if reach < options.clearance or abs(away @ up) > 0.8 * reach:
            continue
        # The first surface on the way is the object itself, or lies close before it.
        in_sight = caster.first(position[None], away[None] / reach)[0][0] >= 0.6 * reach
        if in_sight and in_free_space(position, up, caster, options):
            yield look_at(position, target, up)


def floor_below(place: Floats, up: Floats, caster: Caster) -> float | None:
    """The height of the floor under a place: the lowest surface that faces up, not more than 2 m below the first one."""
    height, first, found = float(place @ up), None, None
    for _ in range(32):
        # Down from surface to surface; those that face up may be the floor.
        distance, face = caster.first((place + (height - place @ up) * up)[None], -up[None])
        if face[0] < 0:
            break
        height -= float(distance[0])
        if first is not None and height < first - 2:
            break
        if caster.normals[face[0]] @ up > 0.9:
            found = height
            first = height if first is None else first
        height -= 1e-3
    return found


def in_free_space(position: Floats, up: Floats, caster: Caster, options: CameraSampling) -> bool:
    """Whether a place is inside a room and outside of everything in it, judged by 128 rays in all directions."""
    # A Fibonacci sphere: 128 directions (128, 3), evenly spread.
    number = np.arange(128) + 0.5
    z = 1 - number / 64
    turn = np.pi * (1 + 5**0.5) * number
    directions = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], axis=1)
    distance, face = caster.first(np.tile(position, (128, 1)), directions)
    hits = face >= 0
    if not hits.any() or np.mean(~hits) > options.open_share or distance.min() < options.clearance:
        return False
    # A ray that meets a face from its back comes from inside of something.
    from_behind = np.einsum("ni,ni->n", caster.normals[face[hits]], directions[hits]) > 0
    return bool(from_behind.mean() <= options.back_share)
