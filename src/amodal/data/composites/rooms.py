"""Invented furnished rooms, rendered with exact truth: another world than photographs, for training only."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import write_bytes
from ...protocols import Tick, no_tick
from ...scale.local import run_local
from ...scale.worker import Result, Row, Runner, Spec, done, only
from ..scenes.readers.gltf import parse
from .furniture import Builder, article, stool
from .raycast import TEXTURE, Camera, Floats, Mesh, join, shade, silhouette, trace
from .shapes import texture
from .sprites import Bits, Image

SIZE = (324, 432)
"""(H, W) of a rendered room."""
SHARD = 50


def load_objects(folder: Path) -> list[Mesh]:
    """Every `.glb` of a folder as one mesh, centred, standing on z = 0, longest side 1.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    paths = sorted(folder.glob("*.glb"))
    if not paths:
        raise DataError(f"no .glb objects in {folder}; name a folder that holds some, or leave it away")
    return [mesh for path in paths for mesh in _named_parts(path, whole=True)]


def load_scene(path: Path) -> list[Mesh]:
    """The objects of a scene file (its top-level nodes), centred, standing on z = 0, in metres."""
    return _named_parts(path, whole=False)


def _named_parts(path: Path, whole: bool) -> list[Mesh]:
    scene = parse(path)
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


@dataclass(frozen=True)
class Stock:
    """What rooms are furnished from.

    Attributes:
        pictures: Pictures that textures are cut from.
        objects: Small objects, longest side 1.
        furniture: Pieces of true size.
        palette: Textures that the things of one room share.
    """

    pictures: list[Image]
    objects: list[Mesh]
    furniture: list[Mesh]
    palette: tuple[Image, ...] = ()

    def article(self, rng: np.random.Generator, small: bool = False) -> Mesh:
        """One random article of the room's style."""
        return article(rng, self.pictures, self.palette, small)

    def seat(self, rng: np.random.Generator) -> Mesh:
        """One random seat of the room's style."""
        builder = Builder(rng, self.pictures, self.palette)
        stool(builder)
        return builder.mesh()


def build_room(rng: np.random.Generator, stock: Stock, size: tuple[int, int] = SIZE) -> Room:
    """Furnish a room at random, put a camera into it and render. Two rooms out of three have a palette of their own."""
    if rng.random() < 0.67:
        kinds = range(int(rng.integers(2, 7)))
        palette = (texture(rng, stock.pictures, TEXTURE, TEXTURE, calm=k > 0) for k in kinds)
        stock = replace(stock, palette=tuple(palette))
    half = rng.uniform(1.5, 4.5, 2)
    pieces = _furnish(rng, half, stock)
    mesh, owner_of = join([_shell(rng, half, stock), *pieces])
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


def _furnish(rng: np.random.Generator, half: Floats, stock: Stock) -> list[Mesh]:
    pieces: list[Mesh] = []
    taken: list[tuple[float, float, float]] = []
    usual = [stock.article(rng) for _ in range(int(rng.integers(1, 4)))]
    often = rng.uniform(0.1, 0.7)
    quarter = np.pi / 2 if rng.random() < 0.75 else np.pi * 2
    for _ in range(int(rng.integers(5, 18))):
        if rng.random() < often:
            base = usual[int(rng.integers(len(usual)))]
        elif stock.furniture and rng.random() < 0.12:
            base = stock.furniture[int(rng.integers(len(stock.furniture)))]
        else:
            base = stock.article(rng)
        turn = rng.integers(4) * quarter if quarter < 2 else rng.uniform(0, 2 * np.pi)
        piece = base.moved(float(rng.uniform(0.85, 1.2)), float(turn + rng.normal(0, 0.05)))
        low, high = piece.bounds
        radius = float(np.hypot(*(high - low)[:2])) / 2 * 0.72
        place = _free(rng, half, taken, radius)
        if place is None:
            continue
        taken.append((*place, radius))
        pieces.append(piece.moved(to=(*place, 0.0)))
        if _has_top(pieces[-1]):
            pieces += _on_top(rng, pieces[-1], stock)
            if rng.random() < 0.6:
                pieces += _around(rng, pieces[-1], stock)
    return pieces[:80]


def _has_top(piece: Mesh) -> bool:
    """Whether a piece is a table, a counter or the like, whose upper side is seen from above."""
    low, high = piece.bounds
    return bool((high - low)[:2].min() > 0.35 and 0.3 < high[2] < 1.3)


def _around(rng: np.random.Generator, base: Mesh, stock: Stock) -> list[Mesh]:
    """A few equal seats close to a table or counter, where it hides their legs from one side and their tops from none."""
    low, high = base.bounds
    seat = stock.seat(rng)
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


def _on_top(rng: np.random.Generator, base: Mesh, stock: Stock) -> list[Mesh]:
    """Things that lie about on a table; now and then equal ones in a line."""
    low, high = base.bounds
    if rng.random() < 0.25:
        thing, turn = stock.article(rng, small=True), float(rng.uniform(0, 2 * np.pi))
        row = np.linspace(0.1, 0.9, int(rng.integers(3, 8)))
        across = rng.uniform(0.2, 0.8)
        shares = [(t, across) if (high - low)[0] > (high - low)[1] else (across, t) for t in row]
        things = [thing.moved(1.0, turn + float(rng.normal(0, 0.1))) for _ in shares]
    else:
        shares = [tuple(rng.uniform(0.12, 0.88, 2)) for _ in range(int(rng.integers(0, 6)))]
        things = []
        for _ in shares:
            if stock.objects and rng.random() < 0.3:
                thing = stock.objects[int(rng.integers(len(stock.objects)))].moved(float(rng.uniform(0.1, 0.45)))
            else:
                thing = stock.article(rng, small=True)
            things.append(thing.moved(1.0, float(rng.uniform(0, 2 * np.pi))))
    # High bodies such as sofas have their surface lower than their bounds; there things stand on the back: fine.
    places = [low[:2] + (high - low)[:2] * np.array(share) for share in shares]
    return [t.moved(to=(float(x), float(y), float(high[2]))) for t, (x, y) in zip(things, places, strict=True)]


def _shell(rng: np.random.Generator, half: Floats, stock: Stock) -> Mesh:
    """Floor and some walls, sometimes a ceiling."""
    b = Builder(rng, stock.pictures, [texture(rng, stock.pictures, TEXTURE, TEXTURE, calm=True) for _ in range(4)])
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
    """Of a few random views that with most pieces at a good distance inside the frame; every other one is across a table."""
    bounds = np.array([p.bounds for p in pieces], np.float32).reshape(-1, 2, 3)
    middles = bounds.mean(1)
    tables = [i for i, p in enumerate(pieces) if _has_top(p)]
    across = bool(tables) and rng.random() < 0.5
    best, most = None, -np.inf
    for _ in range(8):
        if across:
            centre = _at_table(rng, half, bounds[tables[int(rng.integers(len(tables)))]])
        else:
            centre = np.array([*(rng.uniform(-1, 1, 2) * (half + 0.3)), rng.uniform(0.7, 2.2)], np.float32)
        aim = middles[int(rng.integers(len(middles)))] if len(middles) else np.zeros(3, np.float32)
        at = aim * 0.8 + np.array([*rng.normal(0, 0.4, 2), rng.uniform(-0.1, 0.3)], np.float32)
        focal = size[1] / 2 / np.tan(np.radians(rng.uniform(40, 85)) / 2)
        camera = Camera.looking(centre, at, float(focal), size)
        pixel, depth = camera.project(middles)
        seen = (pixel > 0).all(1) & (pixel < [size[1], size[0]]).all(1) & (depth > 0.8)
        blocked = ((centre > bounds[:, 0] - 0.2) & (centre < bounds[:, 1] + 0.2)).all(1).any()
        near = (np.linalg.norm((middles - centre)[:, :2], axis=1) < 0.8) & (bounds[:, 1, 2] > centre[2] - 0.15)
        score = float(seen.sum()) - 2.0 * float(near.sum()) - 100.0 * float(blocked)
        if score > most:
            best, most = camera, score
    assert best is not None
    return best


def _at_table(rng: np.random.Generator, half: Floats, bounds: Floats) -> NDArray[np.float32]:
    """Where one stands at a table or sits at it: a little away from an edge, above its top."""
    low, high = bounds
    place = low[:2] + (high - low)[:2] * rng.uniform(0, 1, 2)
    axis, away = int(rng.integers(2)), rng.uniform(0.0, 0.6)
    place[axis] = low[axis] - away if rng.random() < 0.5 else high[axis] + away
    return np.array([*np.clip(place, -half - 0.35, half + 0.35), high[2] + rng.uniform(0.25, 0.9)], np.float32)


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
        self.stock = Stock(
            open_pictures(Path(backgrounds)),
            load_objects(Path(objects)) if objects else [],
            load_scene(Path(scene)) if scene else [],
        )
        self.seed = seed

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        numbers = range(*row.content["rooms"])
        rooms = [build_room(np.random.default_rng([self.seed, 5, number]), self.stock) for number in numbers]
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
