"""Invented furnished rooms, rendered with exact truth: another world than photographs, for training only."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...files import write_bytes
from ...protocols import Tick, no_tick
from ...scale.local import run_local
from ...scale.worker import Result, Row, Runner, Spec, done, only
from .furniture import Builder, article, stool
from .raycast import TEXTURE, Camera, Floats, Mesh, join, shade, silhouette, trace
from .sprites import Bits, Image

SIZE = (324, 432)
"""(H, W) of a rendered room."""
SHARD = 50


def load_objects(folder: Path) -> list[Mesh]:
    """Every `.glb` of a folder as one mesh, centred, standing on z = 0, longest side 1."""
    return [m for path in sorted(folder.glob("*.glb")) for m in _named_parts(path, whole=True)]


def load_scene(path: Path) -> list[Mesh]:
    """The objects of a scene file (its top-level nodes), centred, standing on z = 0, in metres."""
    return _named_parts(path, whole=False)


def _named_parts(path: Path, whole: bool) -> list[Mesh]:
    import trimesh

    scene = trimesh.load(path, force="scene")
    groups: dict[str, list[Mesh]] = {}
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        key = "" if whole else node.split("/")[0]
        groups.setdefault(key, []).append(_mesh(scene.geometry[name], transform))
    found = []
    for parts in groups.values():
        mesh, _ = join(parts)
        low, high = mesh.bounds
        if not whole and ((high - low).max() > 6 or (high - low).min() < 0.01):
            continue
        middle = (low + high) / 2
        scale = 1 / float((high - low).max()) if whole else 1.0
        moved = (mesh.triangles - np.array([middle[0], middle[1], low[2]], np.float32)) * np.float32(scale)
        found.append(Mesh(moved.astype(np.float32), mesh.uv, mesh.texture, mesh.textures))
    return found


def _mesh(geometry: Any, transform: NDArray[np.float64]) -> Mesh:
    points = geometry.vertices @ transform[:3, :3].T + transform[:3, 3]
    faces = geometry.faces
    colour = np.full((1, TEXTURE, TEXTURE, 3), 170, np.uint8)
    uv = np.zeros((len(faces), 3, 2), np.float32)
    visual = geometry.visual
    material = getattr(visual, "material", None)
    picture = getattr(material, "baseColorTexture", None)
    factor = getattr(material, "baseColorFactor", None)
    if factor is not None:
        colour[:] = np.asarray(factor[:3], np.uint8)
    if picture is not None and getattr(visual, "uv", None) is not None:
        colour = cv2.resize(np.asarray(picture.convert("RGB")), (TEXTURE, TEXTURE), interpolation=cv2.INTER_AREA)[None]
        uv = np.asarray(visual.uv, np.float32)[faces]
        uv[..., 1] = 1 - uv[..., 1]
    return Mesh(points[faces].astype(np.float32), uv, np.zeros(len(faces), np.int32), colour)


@dataclass(frozen=True)
class Room:
    """One rendered view.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        owner: (H, W) uint8, 1 + number of the object seen, 0 for the room itself.
        masks: For each object its whole projection inside the frame, tight bits.
        origins: Their top-left pixels (x, y).
    """

    image: Image
    owner: Image
    masks: tuple[Bits, ...]
    origins: tuple[tuple[int, int], ...]


def build_room(
    rng: np.random.Generator,
    pictures: list[Image],
    objects: list[Mesh],
    furniture: list[Mesh],
    size: tuple[int, int] = SIZE,
) -> Room:
    """Furnish a room at random, put a camera into it and render."""
    half = rng.uniform(1.5, 4.5, 2)
    pieces = _furnish(rng, half, pictures, objects, furniture)
    room = _shell(rng, half, pictures)
    mesh, owner_of = join([room, *pieces])
    camera = _camera(rng, half, pieces, size)
    rays = camera.rays()
    hit = trace(mesh.triangles, camera.centre, rays)
    light = rng.normal(0, 1, 3).astype(np.float32) + np.array([0, 0, 1.2], np.float32)
    sky = rng.uniform(60, 255, 3).astype(np.float32)
    image = shade(mesh, hit, rays, light / np.linalg.norm(light), float(rng.uniform(0.35, 0.85)), sky).reshape(*size, 3)
    owner = np.where(hit["primID"] >= 0, owner_of[hit["primID"]], 0).astype(np.uint8).reshape(size)
    shapes = [
        silhouette(p, camera) if (owner == i + 1).sum() > 40 else (np.zeros((0, 0), bool), (0, 0))
        for i, p in enumerate(pieces)
    ]
    return Room(image, owner, tuple(b for b, _ in shapes), tuple(o for _, o in shapes))


def _furnish(
    rng: np.random.Generator, half: Floats, pictures: list[Image], objects: list[Mesh], furniture: list[Mesh]
) -> list[Mesh]:
    pieces: list[Mesh] = []
    taken: list[tuple[float, float, float]] = []
    row = article(rng, pictures)
    quarter = np.pi / 2 if rng.random() < 0.75 else np.pi * 2
    for _ in range(int(rng.integers(5, 16))):
        kind = rng.random()
        if kind < 0.25:
            base = row
        elif kind < 0.4 and furniture:
            base = furniture[int(rng.integers(len(furniture)))]
        else:
            base = article(rng, pictures)
        turn = rng.integers(4) * quarter if quarter < 2 else rng.uniform(0, 2 * np.pi)
        piece = base.moved(float(rng.uniform(0.85, 1.2)), float(turn + rng.normal(0, 0.05)))
        low, high = piece.bounds
        radius = float(np.hypot(*(high - low)[:2])) / 2 * 0.72
        place = _free(rng, half, taken, radius)
        if place is None:
            continue
        taken.append((*place, radius))
        pieces.append(piece.moved(to=(*place, 0.0)))
        top = float(high[2])
        if (high - low)[:2].min() > 0.35 and 0.3 < top < 1.3:
            pieces += _on_top(rng, pieces[-1], pictures, objects)
            if rng.random() < 0.6:
                pieces += _around(rng, piece.moved(to=(*place, 0.0)), pictures)
    return pieces[:60]


def _around(rng: np.random.Generator, base: Mesh, pictures: list[Image]) -> list[Mesh]:
    """A few equal seats close to a table or counter, where it hides their legs from one side and their tops from none."""
    low, high = base.bounds
    builder = Builder(rng, pictures)
    stool(builder)
    seat = builder.mesh()
    seats = []
    for _ in range(int(rng.integers(1, 5))):
        x, y = low[:2] + (high - low)[:2] * rng.uniform(0, 1, 2)
        away = float(rng.uniform(0.05, 0.6))
        side = int(rng.integers(4))
        at = [(low[0] - away, y), (high[0] + away, y), (x, low[1] - away), (x, high[1] + away)][side]
        seats.append(
            seat.moved(
                float(rng.uniform(0.95, 1.05)), float(rng.uniform(0, 2 * np.pi)), (float(at[0]), float(at[1]), 0.0)
            )
        )
    return seats


def _free(
    rng: np.random.Generator, half: Floats, taken: list[tuple[float, float, float]], radius: float
) -> tuple[float, float] | None:
    for _ in range(12):
        x, y = (float(v) for v in rng.uniform(-1, 1, 2) * np.maximum(half - radius * 0.8, 0.1))
        if all(np.hypot(x - a, y - b) > radius + r for a, b, r in taken):
            return x, y
    return None


def _on_top(rng: np.random.Generator, base: Mesh, pictures: list[Image], objects: list[Mesh]) -> list[Mesh]:
    low, high = base.bounds
    things: list[Mesh] = []
    for _ in range(int(rng.integers(0, 6))):
        if objects and rng.random() < 0.3:
            thing = objects[int(rng.integers(len(objects)))].moved(float(rng.uniform(0.1, 0.45)))
        else:
            thing = article(rng, pictures, small=True)
        place = low[:2] + (high - low)[:2] * rng.uniform(0.12, 0.88, 2)
        # High bodies such as sofas have their surface lower than their bounds; there things stand on the back: fine.
        things.append(
            thing.moved(1.0, float(rng.uniform(0, 2 * np.pi)), (float(place[0]), float(place[1]), float(high[2])))
        )
    return things


def _shell(rng: np.random.Generator, half: Floats, pictures: list[Image]) -> Mesh:
    """Floor and some walls, sometimes a ceiling."""
    b = Builder(rng, pictures)
    x, y, h = float(half[0] + 0.5), float(half[1] + 0.5), float(rng.uniform(2.4, 4))
    floor, wall = b.material(), b.material()
    b.box((-x, -y, -0.1), (x, y, 0), floor)
    for side in range(4):
        if rng.random() < 0.75:
            low, high = (
                [(-x, -y), (x - 0.02, -y), (-x, -y), (-x, y - 0.02)][side],
                [(-x + 0.02, y), (x, y), (x, -y + 0.02), (x, y)][side],
            )
            b.box((*low, 0), (*high, h), wall if rng.random() < 0.8 else b.material())
    if rng.random() < 0.5:
        b.box((-x, -y, h), (x, y, h + 0.05), b.material())
    mesh = b.mesh()
    repeat = np.float32(rng.uniform(1, 6))
    return Mesh(mesh.triangles, mesh.uv * repeat, mesh.texture, mesh.textures)


def _camera(rng: np.random.Generator, half: Floats, pieces: list[Mesh], size: tuple[int, int]) -> Camera:
    """Of a few random views that with most pieces at a good distance inside the frame."""
    bounds = np.array([p.bounds for p in pieces], np.float32).reshape(-1, 2, 3)
    middles = bounds.mean(1)
    best, most = None, -1.0
    for _ in range(8):
        centre = np.array([*(rng.uniform(-1, 1, 2) * (half + 0.3)), rng.uniform(0.7, 2.2)], np.float32)
        aim = middles[int(rng.integers(len(middles)))] if len(middles) else np.zeros(3, np.float32)
        at = aim * 0.8 + np.array([*rng.normal(0, 0.4, 2), rng.uniform(-0.1, 0.3)], np.float32)
        focal = size[1] / 2 / np.tan(np.radians(rng.uniform(40, 85)) / 2)
        camera = Camera.looking(centre, at, float(focal), size)
        pixel, depth = camera.project(middles)
        seen = (pixel > 0).all(1) & (pixel < [size[1], size[0]]).all(1) & (depth > 0.8)
        blocked = ((centre > bounds[:, 0] - 0.2) & (centre < bounds[:, 1] + 0.2)).all(1).any()
        near = (np.linalg.norm((middles - centre)[:, :2], axis=1) < 0.8).sum()
        score = float(seen.sum()) - 2.0 * float(near) - 100.0 * float(blocked)
        if best is None or score > most:
            best, most = camera, score
    assert best is not None
    return best


def build_rooms(
    folder: Path,
    backgrounds: Path,
    objects: Path | None,
    scene: Path | None,
    count: int,
    seed: int,
    *,
    run: Runner = run_local,
    tick: Tick = no_tick,
) -> None:
    """Render `count` rooms into shards of `SHARD`; shards that are there already are kept. `run` does the work."""
    where = {"backgrounds": backgrounds, "objects": objects, "scene": scene}
    settings = {name: None if path is None else str(path) for name, path in where.items()}
    spec = Spec("amodal.data.composites.rooms:MakeRooms", {**settings, "seed": seed})
    shards = range(-(-count // SHARD))
    names = [f"rooms-{shard:04d}.npz" for shard in shards]
    spans = [[shard * SHARD, min(count, (shard + 1) * SHARD)] for shard in shards]
    rows = [Row(name, {"rooms": span}) for name, span in zip(names, spans, strict=True) if not (folder / name).exists()]
    made = count - sum(last - first for first, last in (row.content["rooms"] for row in rows))
    for row, results in run(spec, rows) if rows else ():
        write_bytes(folder / row.id, only(results).files[row.id])
        first, last = row.content["rooms"]
        made += last - first
        tick("room", made, count)


class MakeRooms:
    """The numbers of rooms (from, to) to the file that holds them."""

    def __init__(self, backgrounds: str, objects: str | None, scene: str | None, seed: int) -> None:
        """
        Args:
            backgrounds: folder of pictures that textures are cut from.
            objects: folder of `.glb` objects to stand about.
            scene: `.glb` scene to take furniture from.
            seed: with a room's number it decides everything about it.
        """
        self.pictures = open_pictures(Path(backgrounds))
        self.objects = load_objects(Path(objects)) if objects else []
        self.furniture = load_scene(Path(scene)) if scene else []
        self.seed = seed

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        rooms = [
            build_room(np.random.default_rng([self.seed, 5, number]), self.pictures, self.objects, self.furniture)
            for number in range(*row.content["rooms"])
        ]
        return done(row, files={row.id: pack(rooms)})


def open_pictures(folder: Path) -> list[Image]:
    """The pictures of a folder that textures are cut from."""
    from .library import Library, add_backgrounds

    library = Library()
    add_backgrounds(library, folder)
    return library.backgrounds


def pack(rooms: list[Room]) -> bytes:
    """Rooms as the .npz that `RoomStore` reads."""
    bits = [np.packbits(m) for r in rooms for m in r.masks]
    arrays = {
        "image": np.stack([r.image for r in rooms]),
        "owner": np.stack([r.owner for r in rooms]),
        "count": np.array([len(r.masks) for r in rooms]),
        "shape": np.array([m.shape for r in rooms for m in r.masks], np.int32).reshape(-1, 2),
        "origin": np.array([o for r in rooms for o in r.origins], np.int32).reshape(-1, 2),
        "length": np.array([len(b) for b in bits]),
        "bits": np.concatenate(bits) if bits else np.zeros(0, np.uint8),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
