"""Invented furnished rooms, rendered with exact truth: another world than photographs, for training only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...protocols import Tick, no_tick
from .furniture import Builder, article, stool
from .paint import Painted
from .raycast import TEXTURE, Camera, Floats, Mesh, join, shade, silhouette, trace
from .sprites import Bits, Image, warp
from .views import crop_view

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
    pictures: list[Image],
    objects: Path | None,
    scene: Path | None,
    count: int,
    seed: int,
    tick: Tick = no_tick,
) -> None:
    """Render `count` rooms into shards of `SHARD`; shards that are there already are kept."""
    things = load_objects(objects) if objects else []
    furniture = load_scene(scene) if scene else []
    for shard in range((count + SHARD - 1) // SHARD):
        if (folder / f"rooms-{shard:04d}.npz").exists():
            continue
        made = []
        for number in range(shard * SHARD, min(count, (shard + 1) * SHARD)):
            made.append(build_room(np.random.default_rng([seed, 5, number]), pictures, things, furniture))
            tick("room", number + 1, count)
        write_rooms(folder, shard, made)


def write_rooms(folder: Path, shard: int, rooms: list[Room]) -> Path:
    """Save rooms as one shard, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
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
    path = folder / f"rooms-{shard:04d}.npz"
    temporary = folder / f".rooms-{shard:04d}.npz"
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
    return path


class RoomStore:
    """Rendered rooms in memory, as a source of training crops.

    Args:
        folder: Shards written by `write_rooms`.
    """

    def __init__(self, folder: Path) -> None:
        self.rooms: list[Room] = []
        for path in sorted(folder.glob("rooms-*.npz")):
            with np.load(path) as data:
                self.rooms += _unpack(data)
        self.hidden: list[tuple[int, int]] = []
        self.clear: list[tuple[int, int]] = []
        for r, room in enumerate(self.rooms):
            seen = np.bincount(room.owner.ravel(), minlength=len(room.masks) + 1)[1:]
            for i, mask in enumerate(room.masks):
                area = int(mask.sum())
                if seen[i] < 60 or area < 200 or seen[i] < 0.12 * area:
                    continue
                (self.hidden if seen[i] < 0.88 * area else self.clear).append((r, i))
        if not self.hidden:
            raise DataError(
                f"no rendered rooms with occluded objects in {folder}; make some with amodal data build rooms"
            )

    def draw(
        self, rng: np.random.Generator, factor: float, size: int, shift: Any, flip: bool, within: bool = False
    ) -> Painted:
        """A crop around one object: an occluded one four times out of five."""
        pool = self.hidden if rng.random() < 0.8 or not self.clear else self.clear
        r, i = pool[int(rng.integers(len(pool)))]
        room = self.rooms[r]
        seen = room.owner == i + 1
        ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        view = crop_view(
            (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1), factor, size, shift, flip, room.owner.shape if within else None
        )
        return _crop(room, i, view, size)


def _crop(room: Room, i: int, view: NDArray[np.float64], size: int) -> Painted:
    out = (size, size)
    scale, shrink = abs(float(view[0, 0])), 1
    source = room.image
    if scale < 0.6:
        shrink = 2
        source = cv2.resize(source, (source.shape[1] // 2, source.shape[0] // 2), interpolation=cv2.INTER_AREA)
    image = warp(source, view, out, shrink)
    near = view.copy()
    near[:, 2] += view[:, :2] @ np.array([0.5, 0.5]) - 0.5
    owner = cv2.warpAffine(room.owner, near, (size, size), flags=cv2.INTER_NEAREST, borderValue=255)
    whole = np.zeros(room.owner.shape, np.uint8)
    (x, y), bits = room.origins[i], room.masks[i]
    whole[y : y + bits.shape[0], x : x + bits.shape[1]] = bits
    amodal = cv2.warpAffine(whole, near, (size, size), flags=cv2.INTER_NEAREST) > 0
    inside = owner != 255
    visible = owner == i + 1
    amodal = (amodal | visible) & inside
    over = np.unique(room.owner[(whole > 0) & (room.owner != i + 1)])
    occluder = np.isin(owner, over[over > 0])
    return Painted(image, visible, amodal, occluder, inside, inside, owner)


def _unpack(data: Any) -> list[Room]:
    rooms, at, byte = [], 0, 0
    image, owner, shape, origin, length, bits = (
        data[k] for k in ("image", "owner", "shape", "origin", "length", "bits")
    )
    for r, count in enumerate(data["count"]):
        masks, origins = [], []
        for _ in range(int(count)):
            h, w = (int(v) for v in shape[at])
            flat = np.unpackbits(bits[byte : byte + length[at]])[: h * w]
            masks.append(flat.astype(bool).reshape(h, w))
            origins.append((int(origin[at][0]), int(origin[at][1])))
            byte += int(length[at])
            at += 1
        rooms.append(Room(image[r], owner[r], tuple(masks), tuple(origins)))
    return rooms
