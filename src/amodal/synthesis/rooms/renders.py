"""Single objects rendered on nothing, as sprites for composites."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.arrays import read_npy, read_npz
from ...core.errors import OutputError
from ...core.files import write_bytes
from ...engine.local import run_local
from ...engine.store import OtherSettingsError, Store
from ...engine.worker import Result, Row, Runner, Spec, done, only
from ...geometry.camera import Camera
from ...geometry.mesh import Mesh
from ...geometry.render import Light, Renderer
from ...plugins.protocols import Progress, no_progress
from .furniture import article
from .rooms import load_objects, open_pictures

SIDE = 192
PART = 32
"""Pictures a row of work."""


@dataclass(frozen=True)
class Look:
    """One object, the camera that sees it, and its light: everything that chance decides of a picture."""

    mesh: Mesh
    camera: Camera
    light: Light


def look_at(rng: np.random.Generator, mesh: Mesh, tumble: bool) -> Look:
    """A random direction and a random light.

    Args:
        tumble: Turn the object any way (loose things); else it stands and is seen from slightly above (furniture).
    """
    low, high = mesh.bounds
    middle = (low + high) / 2
    radius = float(np.linalg.norm(high - low)) / 2
    up = rng.uniform(-1, 1) if tumble else rng.uniform(-0.05, 0.6)
    angle = rng.uniform(0, 2 * np.pi)
    far = radius * rng.uniform(2.5, 6)
    flat = np.sqrt(1 - min(0.98, up * up))
    centre = middle + far * np.array([flat * np.cos(angle), flat * np.sin(angle), up])
    twice = 2 * SIDE
    focal = 0.94 * twice / 2 / np.tan(np.arcsin(radius / far))
    camera = Camera.looking(centre, middle, (twice, twice), float(focal))
    direction = rng.normal(0, 1, 3) + np.array([0, 0, 1.0])
    return Look(mesh, camera, Light(direction / np.linalg.norm(direction), float(rng.uniform(0.4, 0.85))))


def render(look: Look) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 4) uint8 RGBA, straight alpha."""
    colour, seen = Renderer(look.mesh).paint(look.camera, look.light, (0, 0, 0))
    solid = seen[..., None]
    # Twice the size, then averaged: soft edges. Colours are weighted by coverage, so that no black comes in.
    alpha = cv2.resize(solid.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(colour * solid.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    straight = weighted / np.maximum(alpha, 1e-3)[..., None]
    return np.dstack([np.clip(straight, 0, 255), alpha * 255]).astype(np.uint8)


def write_renders(
    path: Path,
    objects: Path | None,
    backgrounds: Path,
    views: int,
    furniture: int,
    seed: int = 0,
    *,
    run: Runner = run_local,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Render `views` pictures of every object and `furniture` invented articles into one .npz, atomically.

    `run` does the work. Pictures that are done wait in a folder beside the file, so that a build that was stopped goes on.

    Returns:
        The number of pictures.

    Raises:
        OutputError: the file is there with other settings, or is not of this kind.
    """
    count = (len(load_objects(objects)) if objects else 0) * views + furniture
    where = {"objects": None if objects is None else str(objects), "backgrounds": str(backgrounds)}
    settings = {**where, "views": views, "furniture": furniture, "seed": seed}
    told = json.dumps({**settings, "count": count})
    if path.exists() and not overwrite:
        if str(read_npz(path, ("settings",), OutputError, "choose another file")["settings"]) == told:
            return count
        raise OtherSettingsError(
            f"{path} was made with other settings; repeat it with the same ones, or choose another file"
        )
    rows = [Row(f"{first:06d}.npy", {"pictures": [first, min(count, first + PART)]}) for first in range(0, count, PART)]
    parts = path.with_name(f".{path.name}.parts")
    with Store(parts, {**settings, "count": count}, owns=[row.id for row in rows], overwrite=overwrite) as store:
        todo = [row for row in rows if not (parts / row.id).exists()]
        done = len(rows) - len(todo)
        for number, (row, results) in enumerate(run(Spec(MakeRenders, settings), todo) if todo else (), done + 1):
            store.write(row.id, only(results).files[row.id])
            progress("part", number, len(rows))
        file = io.BytesIO()
        np.savez(file, rgba=np.concatenate([read_npy(parts / row.id) for row in rows]), settings=np.array(told))
        write_bytes(path, file.getvalue())
    shutil.rmtree(parts)
    return count


class MakeRenders:
    """The numbers of pictures (from, to) to an array of them.

    All pictures share one stream of random numbers, so that those before are drawn too, but not rendered: a tenth of the time.
    """

    def __init__(self, objects: str | None, backgrounds: str, views: int, furniture: int, seed: int) -> None:
        """
        Args:
            objects: folder of `.glb` objects.
            backgrounds: folder of pictures that textures are cut from.
            views: pictures of each object.
            furniture: number of invented articles.
            seed: same seed, same pictures.
        """
        self.objects = load_objects(Path(objects)) if objects else []
        self.pictures = open_pictures(Path(backgrounds))
        self.views, self.furniture, self.seed = views, furniture, seed
        self.at, self.coming = 0, self.looks()

    def looks(self) -> Iterator[Look]:
        """Everything from the first picture on."""
        rng = np.random.default_rng([self.seed, 17])
        for mesh in self.objects:
            for _ in range(self.views):
                yield look_at(rng, mesh, True)
        for _ in range(self.furniture):
            yield look_at(rng, article(rng, self.pictures, ()), False)

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        first, last = row.content["pictures"]
        if first < self.at:
            self.at, self.coming = 0, self.looks()
        chosen = list(islice(self.coming, first - self.at, last - self.at))
        self.at = last
        file = io.BytesIO()
        np.save(file, np.stack([render(look) for look in chosen]))
        return done(row, files={row.id: file.getvalue()})
