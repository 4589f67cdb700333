"""Invented furnished rooms, rendered with exact truth: another world than photographs, for training only."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ...core.errors import DataError
from ...core.mask import Mask
from ...engine.local import run_local
from ...engine.store import Store
from ...engine.worker import Result, Row, Runner, Spec, done, only
from ...geometry.camera import Camera
from ...geometry.mesh import Floats, Material, Mesh, Surface, join
from ...geometry.project import project
from ...geometry.readers import files_of, open_source
from ...geometry.render import Light, Renderer
from ...geometry.scene import Instance, SceneGeometry
from ...plugins.protocols import Progress, no_progress
from ..composites.shapes import texture
from ..composites.sprites import Bits, Image
from .furniture import TEXTURE, Builder, article, painted, stool

SIZE = (324, 432)
"""(H, W) of a rendered room."""
SHARD = 50
NOTHING = Mask.from_array(np.zeros((0, 0), bool))


def load_objects(folder: Path) -> list[Mesh]:
    """Every `.glb` of a folder as one mesh, centred, standing on z = 0, longest side 1.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    paths = files_of(folder, ".glb")
    if not paths:
        raise DataError(f"no .glb objects in {folder}; name a folder that holds some, or leave it away")
    meshes = [open_source("gltf", path).geometry(None) for path in paths]
    return [standing(mesh, 1 / float(np.ptp(mesh.bounds, axis=0).max())) for mesh in meshes]


def load_scene(path: Path) -> list[Mesh]:
    """The objects of a scene file (its top-level nodes), centred, standing on z = 0, in metres; of furniture's size."""
    scene = open_source("gltf", path).geometry(None)
    pieces = [scene.keep(scene.owner == each.id) for each in scene.instances]
    return [standing(piece) for piece in pieces if np.ptp(piece.bounds, axis=0).max() <= 6 and thick(piece)]


def thick(mesh: Mesh) -> bool:
    """Whether a mesh is at least a centimetre wide along every axis."""
    return bool(np.ptp(mesh.bounds, axis=0).min() >= 0.01)


def standing(mesh: Mesh, scale: float = 1.0) -> Mesh:
    """The mesh centred on the z axis, standing on z = 0, `scale` times as large; its unused vertices are dropped."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    surface = mesh.dressed
    colours = None if surface.colours is None else surface.colours[used]
    small = tuple(Material(each.colour, shrunk(each.texture)) for each in surface.materials)
    look = Surface(small, surface.material, surface.uv, colours)
    low, high = mesh.bounds
    foot = np.array([*((low + high) / 2)[:2], low[2]])
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3), look).moved(scale=scale, shift=-scale * foot)


def shrunk(texture: Image | None) -> Image | None:
    """A texture at the size of all textures of a room."""
    return (
        texture
        if texture is None
        else np.asarray(cv2.resize(texture, (TEXTURE, TEXTURE), interpolation=cv2.INTER_AREA))
    )


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
        palette: Materials that the things of one room share.
    """

    pictures: list[Image]
    objects: list[Mesh]
    furniture: list[Mesh]
    palette: tuple[Material, ...] = ()

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
        palette = (painted(texture(rng, stock.pictures, TEXTURE, TEXTURE, calm=k > 0)) for k in kinds)
        stock = replace(stock, palette=tuple(palette))
    half = rng.uniform(1.5, 4.5, 2)
    pieces = _furnish(rng, half, stock)
    mesh, owner = join([_shell(rng, half, stock), *pieces])
    camera = _camera(rng, half, pieces, size)
    # Masks: every piece alone, and the nearest of all, from one exact projection.
    things = tuple(Instance(number, str(number), "piece") for number in range(1, len(pieces) + 1))
    scene = SceneGeometry(mesh.vertices, mesh.faces, mesh.surface, name="room", owner=owner, instances=things)
    found = project(scene, camera)
    # Picture: one lamp from above, with shadows.
    direction = rng.normal(0, 1, 3) + np.array([0, 0, 1.2])
    sky = rng.uniform(60, 255, 3)
    lamp = Light(direction / np.linalg.norm(direction), float(rng.uniform(0.35, 0.85)))
    image, _ = Renderer(scene).paint(camera, lamp, sky, found.faces)
    shapes = []
    for number in range(1, len(pieces) + 1):
        amodal = found.amodal.get(number, NOTHING)
        shapes.append(amodal if (found.labels == number).sum() > 40 else NOTHING)
    return Room(image, found.labels.astype(np.uint8), tuple(m.bits for m in shapes), tuple(m.origin for m in shapes))


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
        piece = turned(base, float(rng.uniform(0.85, 1.2)), float(turn + rng.normal(0, 0.05)))
        low, high = piece.bounds
        radius = float(np.hypot(*(high - low)[:2])) / 2 * 0.72
        place = _free(rng, half, taken, radius)
        if place is None:
            continue
        taken.append((*place, radius))
        pieces.append(piece.moved(shift=(*place, 0.0)))
        if _has_top(pieces[-1]):
            pieces += _on_top(rng, pieces[-1], stock)
            if rng.random() < 0.6:
                pieces += _around(rng, pieces[-1], stock)
    return pieces[:80]


def turned(mesh: Mesh, scale: float, angle: float) -> Mesh:
    """The mesh scaled about the origin, then turned about z by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return mesh.moved([[c, -s, 0], [s, c, 0], [0, 0, 1]], scale)


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
            turned(seat, float(rng.uniform(0.95, 1.05)), float(rng.uniform(0, 2 * np.pi))).moved(shift=(*at, 0.0))
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
        things = [turned(thing, 1.0, turn + float(rng.normal(0, 0.1))) for _ in shares]
    else:
        shares = [tuple(rng.uniform(0.12, 0.88, 2)) for _ in range(int(rng.integers(0, 6)))]
        things = []
        for _ in shares:
            if stock.objects and rng.random() < 0.3:
                thing = stock.objects[int(rng.integers(len(stock.objects)))].moved(scale=float(rng.uniform(0.1, 0.45)))
            else:
                thing = stock.article(rng, small=True)
            things.append(turned(thing, 1.0, float(rng.uniform(0, 2 * np.pi))))
    # High bodies such as sofas have their surface lower than their bounds; there things stand on the back: fine.
    places = [low[:2] + (high - low)[:2] * np.array(share) for share in shares]
    return [t.moved(shift=(x, y, high[2])) for t, (x, y) in zip(things, places, strict=True)]


def _shell(rng: np.random.Generator, half: Floats, stock: Stock) -> Mesh:
    """Floor and some walls, sometimes a ceiling."""
    b = Builder(
        rng, stock.pictures, [painted(texture(rng, stock.pictures, TEXTURE, TEXTURE, calm=True)) for _ in range(4)]
    )
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
    surface = mesh.dressed
    return replace(mesh, surface=replace(surface, uv=surface.uv * np.float32(rng.uniform(1, 6))))


def _camera(rng: np.random.Generator, half: Floats, pieces: list[Mesh], size: tuple[int, int]) -> Camera:
    """Of a few random views that with most pieces at a good distance inside the frame; every other one is across a table."""
    bounds = np.array([p.bounds for p in pieces]).reshape(-1, 2, 3)
    middles = bounds.mean(1)
    tables = [i for i, p in enumerate(pieces) if _has_top(p)]
    across = bool(tables) and rng.random() < 0.5
    best, most = None, -np.inf
    for _ in range(8):
        if across:
            centre = _at_table(rng, half, bounds[tables[int(rng.integers(len(tables)))]])
        else:
            centre = np.array([*(rng.uniform(-1, 1, 2) * (half + 0.3)), rng.uniform(0.7, 2.2)])
        aim = middles[int(rng.integers(len(middles)))] if len(middles) else np.zeros(3)
        at = aim * 0.8 + np.array([*rng.normal(0, 0.4, 2), rng.uniform(-0.1, 0.3)])
        focal = size[1] / 2 / np.tan(np.radians(rng.uniform(40, 85)) / 2)
        camera = Camera.looking(centre, at, size, float(focal))
        pixel, depth = camera.locate(middles)
        seen = (pixel > 0).all(1) & (pixel < [size[1], size[0]]).all(1) & (depth > 0.8)
        blocked = ((centre > bounds[:, 0] - 0.2) & (centre < bounds[:, 1] + 0.2)).all(1).any()
        near = (np.linalg.norm((middles - centre)[:, :2], axis=1) < 0.8) & (bounds[:, 1, 2] > centre[2] - 0.15)
        score = float(seen.sum()) - 2.0 * float(near.sum()) - 100.0 * float(blocked)
        if score > most:
            best, most = camera, score
    assert best is not None
    return best


def _at_table(rng: np.random.Generator, half: Floats, bounds: Floats) -> Floats:
    """Where one stands at a table or sits at it: a little away from an edge, above its top."""
    low, high = bounds
    place = low[:2] + (high - low)[:2] * rng.uniform(0, 1, 2)
    axis, away = int(rng.integers(2)), rng.uniform(0.0, 0.6)
    place[axis] = low[axis] - away if rng.random() < 0.5 else high[axis] + away
    return np.array([*np.clip(place, -half - 0.35, half + 0.35), high[2] + rng.uniform(0.25, 0.9)])


def build_rooms(
    folder: Path,
    backgrounds: Path,
    objects: Path | None,
    scene: Path | None,
    count: int,
    seed: int,
    *,
    run: Runner = run_local,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Render `count` rooms into shards of `SHARD`; shards that are there already are kept. `run` does the work.

    Raises:
        OutputError: the folder holds rooms with other settings.
    """
    where = {"backgrounds": backgrounds, "objects": objects, "scene": scene}
    settings = {name: None if path is None else str(path) for name, path in where.items()}
    spec = Spec(MakeRooms, {**settings, "seed": seed})
    shards = range(-(-count // SHARD))
    names = [f"rooms-{shard:04d}.npz" for shard in shards]
    spans = [[shard * SHARD, min(count, (shard + 1) * SHARD)] for shard in shards]
    with Store(
        folder, {**settings, "seed": seed, "count": count}, head="rooms.json", owns=names, overwrite=overwrite
    ) as store:
        rows = [
            Row(name, {"rooms": span}) for name, span in zip(names, spans, strict=True) if not (folder / name).exists()
        ]
        made = count - sum(last - first for first, last in (row.content["rooms"] for row in rows))
        for row, results in run(spec, rows) if rows else ():
            store.write(row.id, only(results).files[row.id])
            first, last = row.content["rooms"]
            made += last - first
            progress("room", made, count)


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
    from ..composites.library import Library, add_backgrounds

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
