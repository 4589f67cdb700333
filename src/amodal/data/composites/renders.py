"""Single objects rendered on nothing, as sprites for composites."""

from __future__ import annotations

import hashlib
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

from ...files import write_bytes
from ...protocols import Tick, no_tick
from ...scale.local import run_local
from ...scale.worker import Result, Row, Runner, Spec, done, only
from .furniture import article
from .raycast import Camera, Mesh, shade, trace
from .rooms import load_objects, open_pictures

SIDE = 192
PART = 32
"""Pictures a row of work."""


@dataclass(frozen=True)
class Look:
    """One object, the camera that sees it, and its light: everything that chance decides of a picture."""

    mesh: Mesh
    camera: Camera
    light: NDArray[np.float32]
    ambient: float


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
    camera = Camera.looking(centre, middle, float(focal), (twice, twice))
    light = rng.normal(0, 1, 3).astype(np.float32) + np.array([0, 0, 1.0], np.float32)
    light /= np.linalg.norm(light)
    return Look(mesh, camera, light, float(rng.uniform(0.4, 0.85)))


def render(look: Look) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 4) uint8 RGBA, straight alpha."""
    twice = 2 * SIDE
    rays = look.camera.rays()
    hit = trace(look.mesh.triangles, look.camera.centre, rays)
    colour = shade(look.mesh, hit, rays, look.light, look.ambient, np.zeros(3, np.float32)).reshape(twice, twice, 3)
    solid = (hit["primID"] >= 0).reshape(twice, twice, 1)
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
    tick: Tick = no_tick,
) -> int:
    """Render `views` pictures of every object and `furniture` invented articles into one .npz, atomically.

    `run` does the work. Pictures that are done wait in a folder beside the file, so that a build that was stopped goes on.

    Returns:
        The number of pictures.
    """
    count = (len(load_objects(objects)) if objects else 0) * views + furniture
    settings = {"objects": None if objects is None else str(objects), "backgrounds": str(backgrounds)}
    spec = Spec(
        "amodal.data.composites.renders:MakeRenders", {**settings, "views": views, "furniture": furniture, "seed": seed}
    )
    digest = hashlib.sha256(json.dumps([spec.settings, count]).encode()).hexdigest()[:12]
    parts = path.with_name(f".{path.name}.{digest}")
    rows = [Row(f"{first:06d}.npy", {"pictures": [first, min(count, first + PART)]}) for first in range(0, count, PART)]
    todo = [row for row in rows if not (parts / row.id).exists()]
    for number, (row, results) in enumerate(run(spec, todo) if todo else (), len(rows) - len(todo) + 1):
        write_bytes(parts / row.id, only(results).files[row.id])
        tick("part", number, len(rows))
    file = io.BytesIO()
    np.savez(file, rgba=np.concatenate([np.load(parts / row.id) for row in rows]))
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
