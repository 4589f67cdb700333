"""Single objects rendered on nothing, as sprites for composites."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .furniture import article
from .raycast import Camera, Mesh, shade, trace
from .sprites import Image

SIDE = 192


def render_object(rng: np.random.Generator, mesh: Mesh, tumble: bool) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 4) uint8 RGBA, straight alpha, of the mesh from a random direction under a random light.

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
    rays = camera.rays()
    hit = trace(mesh.triangles, camera.centre, rays)
    light = rng.normal(0, 1, 3).astype(np.float32) + np.array([0, 0, 1.0], np.float32)
    light /= np.linalg.norm(light)
    colour = shade(mesh, hit, rays, light, float(rng.uniform(0.4, 0.85)), np.zeros(3, np.float32)).reshape(
        twice, twice, 3
    )
    solid = (hit["primID"] >= 0).reshape(twice, twice, 1)
    # Twice the size, then averaged: soft edges. Colours are weighted by coverage, so that no black comes in.
    alpha = cv2.resize(solid.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(colour * solid.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    straight = weighted / np.maximum(alpha, 1e-3)[..., None]
    return np.dstack([np.clip(straight, 0, 255), alpha * 255]).astype(np.uint8)


def write_renders(
    path: Path, objects: list[Mesh], pictures: list[Image], views: int, furniture: int, seed: int = 0
) -> None:
    """Render `views` pictures of every object and `furniture` invented articles into one .npz, atomically."""
    rng = np.random.default_rng([seed, 17])
    pictures_out = [render_object(rng, m, True) for m in objects for _ in range(views)]
    pictures_out += [render_object(rng, article(rng, pictures), False) for _ in range(furniture)]
    temporary = path.with_name(f".{path.name}")
    np.savez(temporary, rgba=np.stack(pictures_out))
    temporary.replace(path)
