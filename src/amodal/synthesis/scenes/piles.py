"""Piles: objects dropped at random on a table or into a scene, without intersections; endless training pairs with exact truth.

Objects fall and come to rest by a rigid-body engine (see `fall`). Where the engine cannot be had, they are placed by geometry: a
pile is a height map, and an object, turned at random, comes down where it lies lowest of a few places tried, just touching the
highest surface below it. Pile number i of a seed is always the same, for the same way of placing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.ndimage import maximum_filter, minimum_filter

from ...core.errors import DataError
from ...core.extras import missing
from ...core.image import Image
from ...core.options import Options, build_options
from ...data.folder import FolderWriter, scene_of
from ...data.sample import Sample
from ...engine.local import run_local
from ...engine.worker import Result, Row, Runner, Spec, done, only
from ...geometry.camera import Camera
from ...geometry.mesh import Floats, Material, Mesh, Surface, join
from ...geometry.project import project
from ...geometry.rays import Caster
from ...geometry.readers import ReaderOptions, Source, files_of, fine_label, kind_of, open_source
from ...geometry.render import Renderer, RenderOptions
from ...geometry.scene import Instance, SceneGeometry, distinct
from ...plugins.protocols import Progress, no_progress
from .fall import available, settle
from .select import SelectOptions, select
from .view import describe

__all__ = ["PileOptions", "Piles", "build_piles"]

CELL = 0.003
"""Grid of the height maps, metres."""
GAP = 0.0005
"""Air left between surfaces, metres."""


class PileOptions(Options):
    """How piles are made and seen."""

    objects: tuple[int, int] = Field((5, 12), description="range of the number of objects")
    spread: float = Field(0.09, gt=0, le=1, description="how far from the middle objects come down, metres")
    placing: Literal["auto", "falling", "geometric"] = Field(
        "auto",
        description="falling: by the rigid-body engine (extra physics); geometric: without one, piles need not be stable; "
        "auto: falling where the engine is installed",
    )
    tries: int = Field(
        6, ge=1, le=100, description="geometric placing: places tried; the one where it lies lowest is taken"
    )
    width: int = Field(640, ge=16, le=4096, description="pixels")
    height: int = Field(480, ge=16, le=4096, description="pixels")
    distance: tuple[float, float] = Field((0.5, 0.9), description="range of the camera's distance, metres")
    lift: tuple[float, float] = Field((15.0, 70.0), description="range of the camera's elevation, degrees")
    beyond_frame: float = Field(
        0.25, ge=0, le=4, description="how far amodal masks go on outside of the frame, in frames"
    )


@dataclass(frozen=True)
class Model:
    """One object, its middle at the origin."""

    name: str
    geometry: SceneGeometry


class Piles:
    """Endless piles.

    Args:
        folder: holds the objects, one `*.glb` or `*.obj` each, metres, any up axis.
        options: how piles are made.
        into: a scene to drop the objects into; None: a table.
        render: how pictures are rendered.
        chosen: which objects of a pile become samples.

    Raises:
        DataError: the folder holds no object, or the scene no flat place.
    """

    def __init__(
        self,
        folder: Path,
        options: PileOptions | None = None,
        *,
        into: SceneGeometry | None = None,
        render: RenderOptions | None = None,
        chosen: SelectOptions | None = None,
    ) -> None:
        self.options = resolved(options or build_options(PileOptions, None))
        self.files = object_files(folder)
        self.render_options = render
        self.chosen = chosen or build_options(SelectOptions, {"min_amodal": 400, "min_visible": 60})
        self.into = into
        self._ground = Caster(into.vertices, into.faces) if into is not None else None
        self._models: dict[Path, Model] = {}

    def scene(self, seed: int, index: int) -> tuple[SceneGeometry, Camera]:
        """Pile number `index` of `seed`, and the camera that looks at it. Objects are instances in the order they came down."""
        rng = np.random.default_rng([seed, index])
        options = self.options
        half = int(np.ceil((options.spread + 0.35) / CELL))
        base, middle = self.place(rng, half)
        count = int(rng.integers(options.objects[0], options.objects[1] + 1))
        files = rng.choice(len(self.files), size=count, replace=count > len(self.files))
        models = [self.model(self.files[int(number)]) for number in files]
        bodies = [each.geometry.moved(turn(rng, np.ptp(each.geometry.bounds, axis=0))) for each in models]
        for body in bodies:
            if cells_of(body) >= half:
                wide = 2 * CELL * cells_of(body)
                raise DataError(f"object {body.name} is {wide:.2f} m wide; raise spread, or scale it (metres?)")
        if options.placing == "falling":
            poses = settle(bodies, base, CELL, options.spread, rng)
        else:
            ground = base.copy()
            poses = [(np.eye(3), self.drop(body, ground, rng)) for body in bodies]
        rested = zip(models, bodies, poses, strict=True)
        laid = [
            (model, body.moved(pose[0], shift=pose[1] + middle)) for model, body, pose in rested if pose is not None
        ]
        floor = float(np.median(base))
        span = max([0.06, *(float(body.bounds[1, 2]) - floor for _, body in laid)])
        target = middle + np.array([0, 0, floor + span / 2]) + rng.normal(0, 0.02, 3)
        around, lift = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*options.lift))
        away = np.array([np.cos(around) * np.cos(lift), np.sin(around) * np.cos(lift), np.sin(lift)])
        eye = target + rng.uniform(*options.distance) * away
        focal = options.width / 2 / np.tan(np.radians(rng.uniform(40, 60)) / 2)
        size = (options.height, options.width)
        camera = Camera.looking(eye, target, size, float(focal), name=f"{seed}-{index:07d}")
        around_it = self.into if self.into is not None else table(rng)
        return combine(f"pile-{seed}-{index:07d}", around_it, laid), camera

    def pair(self, seed: int, index: int) -> tuple[Image, list[Sample]]:
        """Picture (H, W, 3) and samples (occluded objects with exact masks) of pile number `index`; there may be none."""
        scene, camera = self.scene(seed, index)
        projection = project(scene, camera, self.options.beyond_frame)
        kept, _ = select(scene, projection, self.chosen)
        image = Renderer(scene, self.render_options).render(camera, index)
        samples = describe(
            scene, projection, kept, image, scene.name, self.chosen.min_gap, self.options.beyond_frame > 0
        )
        return image, samples

    def model(self, path: Path) -> Model:
        """An object, read once."""
        if path not in self._models:
            reader = build_options(ReaderOptions, {"structure": ()})
            geometry = open_source(kind_of(path), path, options=reader).geometry(None)
            middle = geometry.bounds.mean(axis=0)
            self._models[path] = Model(path.stem, replace(geometry, vertices=geometry.vertices - middle))
        return self._models[path]

    def place(self, rng: np.random.Generator, half: int) -> tuple[Floats, Floats]:
        """The height map before the first object, (2 half, 2 half), and its middle (x, y, 0): a table top, or a flat place."""
        if self.into is None or self._ground is None:
            return np.zeros((2 * half, 2 * half)), np.zeros(3)
        low, high = self.into.bounds
        for _ in range(500):
            x, y = rng.uniform(low[:2], high[:2])
            start = rng.uniform(low[2] + 0.4, min(high[2], low[2] + 2.0))
            place = np.array([x, y, start])
            if not flat(self.heights(self._ground, place, half, -1, every=max(1, half // 12))):
                continue  # a look at few points first
            heights = self.heights(self._ground, place, half, -1)
            if flat(heights):
                return maximum_filter(heights, 3), np.array([x, y, 0.0])
        raise DataError(f"scene {self.into.name} has no flat place of {CELL * half:.1f} m in 500 tries")

    def drop(self, turned: SceneGeometry, ground: Floats, rng: np.random.Generator) -> Floats:
        """How far (3,) the turned object moves until it rests, relative to the map's middle; `ground` grows by it."""
        half = len(ground) // 2
        low, high = turned.vertices.min(axis=0), turned.vertices.max(axis=0)
        caster = Caster(turned.vertices, turned.faces)
        reach = cells_of(turned)
        bottom = minimum_filter(self.heights(caster, np.array([0, 0, low[2] - 0.01]), reach, 1), 3)
        top = maximum_filter(self.heights(caster, np.array([0, 0, high[2] + 0.01]), reach, -1), 3)
        best = (float("inf"), 0, 0)
        for _ in range(self.options.tries):
            room = min(self.options.spread, CELL * (half - reach - 1))
            column, row = np.round(rng.uniform(-room, room, 2) / CELL).astype(int) + half - reach
            under = ground[row : row + 2 * reach, column : column + 2 * reach]
            gap = np.where(np.isfinite(bottom), under - bottom, -np.inf)
            best = min(best, (float(gap.max()) + GAP, int(row), int(column)))
        rest, row, column = best
        part = ground[row : row + 2 * reach, column : column + 2 * reach]
        np.maximum(part, np.where(np.isfinite(top), top + rest, -np.inf), out=part)
        return np.array([(column + reach - half) * CELL, (row + reach - half) * CELL, rest])

    @staticmethod
    def heights(caster: Caster, start: Floats, half: int, direction: int, every: int = 1) -> Floats:
        """Heights (2 half, 2 half) [row of y, column of x] of the first surface on vertical rays from the level of `start`.

        With `every` only each so many rows and columns.

        Going up (+1) misses are +inf, going down (-1) they are -inf.
        """
        steps = (np.arange(0, 2 * half, every) - half + 0.5) * CELL
        x, y = np.meshgrid(steps + start[0], steps + start[1])
        origins = np.stack([x.ravel(), y.ravel(), np.full(x.size, start[2])], axis=1)
        distance, _ = caster.first(origins, np.tile([0.0, 0.0, float(direction)], (len(origins), 1)))
        return np.asarray((start[2] + direction * distance).reshape(x.shape))


def cells_of(body: Mesh) -> int:
    """Cells of a height map from its middle to beyond the outermost corner of an object."""
    return int(np.ceil(np.abs(body.vertices[:, :2]).max() / CELL)) + 3


def flat(heights: Floats) -> bool:
    """Whether objects can be dropped there: ground everywhere, level within 2 cm in the middle, nothing tall around it."""
    quarter = len(heights) // 4
    core = heights[quarter:-quarter, quarter:-quarter]
    return bool(np.isfinite(heights).all() and np.ptp(core) < 0.02 and heights.max() < core.max() + 0.3)


def build_piles(
    objects: Path,
    root: Path,
    count: int,
    seed: int = 0,
    *,
    options: PileOptions | None = None,
    into: Path | None = None,
    run: Runner = run_local,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write the first `count` piles that have an occluded object as a data set in the project's own format.

    Args:
        objects: folder of objects, as for `Piles`.
        root: the folder to make.
        count: of pictures.
        seed: same seed, same piles.
        options: how piles are made.
        into: a scene's file to drop the objects into; None: a table.
        run: does the work: in this process, a pool, or on Ray, with the same result.
        overwrite: replace an existing data set.
        progress: reports and cancels, as `Progress` says.

    Returns:
        The number of objects written now.

    Raises:
        OutputError: the folder holds a data set with other settings.
        DataError: of 100 piles in a row none has an occluded object.
    """
    options = options or build_options(PileOptions, None)
    options = resolved(options)
    plain = options.model_dump(mode="json")
    settings = {"seed": seed, "piles": plain, "objects": [file.stem for file in object_files(objects)]}
    settings["into"] = scene_at(into).name if into is not None else None
    where = {"objects": str(objects), "into": None if into is None else str(into)}
    spec = Spec(MakePile, {**where, "options": plain, "seed": seed})
    made, index, empty, written = 0, 0, 0, 0
    with FolderWriter(
        root, name="piles", settings=settings, beyond_frame=options.beyond_frame > 0, overwrite=overwrite
    ) as writer:
        while made < count:  # in waves: never more piles than are still wanted, so that all that are good are used
            wave = {f"pile-{seed}-{number:07d}": number for number in range(index, index + count - made)}
            rows = [Row(name, {"number": number}) for name, number in wave.items() if not writer.done(name)]
            made += len(wave) - len(rows)
            for _, results in run(spec, rows) if rows else ():
                pile = only(results)
                if scene := pile.record["scene"]:
                    writer.put(scene, pile.files)
                    made, written = made + 1, written + len(scene["objects"])
                    progress("piles", made, count)
            for name in wave:
                empty = 0 if writer.done(name) else empty + 1
                if empty == 100:
                    raise DataError("100 piles in a row have no occluded object; use more objects or a smaller spread")
            index += len(wave)
    return written


class MakePile:
    """The number of a pile to its picture and objects; no scene if it has no occluded object."""

    def __init__(self, objects: str, into: str | None, options: dict[str, Any], seed: int) -> None:
        """
        Args:
            objects: folder of objects.
            into: file of a scene to drop them into, or None.
            options: of `PileOptions`.
            seed: with a pile's number it decides everything about it.
        """
        scene = scene_at(Path(into)).geometry(None) if into is not None else None
        self.piles = Piles(Path(objects), build_options(PileOptions, options), into=scene)
        self.seed = seed

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        samples = self.piles.pair(self.seed, row.content["number"])[1]
        scene, files = scene_of(samples) if samples else (None, {})
        return done(row, {"scene": scene}, files)


def resolved(options: PileOptions) -> PileOptions:
    """The options with `placing` decided.

    Raises:
        MissingExtraError: falling is asked for and the engine is not installed.
    """
    if options.placing == "falling" and not available():
        raise missing("a pile that falls", ModuleNotFoundError(name="mujoco"), "physics")
    if options.placing != "auto":
        return options
    return options.model_copy(update={"placing": "falling" if available() else "geometric"})


def object_files(folder: Path) -> list[Path]:
    """The objects of a folder. Raises DataError if there is none."""
    files = files_of(folder, ".glb", ".obj")
    if not files:
        raise DataError(f"{folder} holds no *.glb or *.obj")
    return files


def scene_at(path: Path) -> Source:
    """The scene of a file."""
    return open_source(kind_of(path), path)


def turn(rng: np.random.Generator, extent: Floats) -> Floats:
    """A random rotation (3, 3): mostly lying flat, else on any side, turned about the vertical, a little tilted.

    Args:
        rng: randomness.
        extent: (3,) the object's size along its axes.
    """
    order = np.argsort(-extent) if rng.random() < 0.75 else rng.permutation(3)
    axes = np.eye(3)[order] * rng.choice([-1.0, 1.0], 3)[:, None]
    axes[2] *= np.linalg.det(axes)
    angle = rng.uniform(0, 2 * np.pi)
    about = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    vector = rng.normal(0, 0.08, 3)
    x, y, z = vector
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    tilt = np.linalg.inv(np.eye(3) - skew / 2) @ (np.eye(3) + skew / 2)  # Cayley's map: a rotation from a small vector
    return np.asarray(tilt @ about @ axes)


def table(rng: np.random.Generator) -> SceneGeometry:
    """A table top of 4 m with a plain, grained or chequered pattern of random colours."""
    size = 256
    first, second = rng.uniform(40, 220, (2, 3))
    rows, columns = np.indices((size, size))
    share = [
        np.zeros((size, size)),
        0.5 + 0.5 * np.sin(columns / 6 + 4 * np.cumsum(rng.normal(0, 0.05, size))[:, None]),
        ((rows // 32 + columns // 32) % 2).astype(float),
    ][int(rng.integers(3))]
    texture = first + (second - first) * share[..., None] * 0.6 + rng.normal(0, 4, (size, size, 1))
    corners = np.array([[-2, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0]], np.float64)
    uv = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int64)
    material = Material((1.0, 1.0, 1.0), np.clip(texture, 0, 255).astype(np.uint8))
    surface = Surface((material,), np.zeros(2, np.int32), uv[faces])
    top = (Instance(1, "table", "table", structure=True),)
    return SceneGeometry(corners, faces, surface, name="table", owner=np.ones(2, np.int32), instances=top)


def combine(name: str, base: SceneGeometry, laid: Sequence[tuple[Model, Mesh]]) -> SceneGeometry:
    """A scene with more objects in it; they get the ids after the scene's own, in the order given."""
    last = max(each.id for each in base.instances)
    mesh, part = join([base, *(body for _, body in laid)])
    owner = np.concatenate([base.owner, last + part[len(base.faces) :]]).astype(np.int32)
    instances = list(base.instances)
    for number, (model, _) in enumerate(laid, 1):
        open_edges = max(each.open_edges for each in model.geometry.instances)
        label = fine_label(model.name)
        instances.append(Instance(last + number, f"{number - 1:02d}_{model.name}", label, label, False, open_edges))
    titles = distinct([each.name for each in instances])
    named = tuple(replace(each, name=title) for each, title in zip(instances, titles, strict=True))
    return SceneGeometry(mesh.vertices, mesh.faces, mesh.surface, name=name, owner=owner, instances=named)
