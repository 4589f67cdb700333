"""Fixed sets of composites: written in the project's own format, and in the release layout of pix2gestalt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.config import Count, Natural, config
from ...core.errors import DataError
from ...core.files import write_json
from ...core.mask import Mask
from ...data.folder import FolderWriter, scene_of
from ...data.pairs import FOLDERS
from ...data.sample import Sample
from ...engine.local import run_local
from ...engine.worker import Result, Row, Runner, Spec, done, only
from ...plugins.protocols import Progress, no_progress
from ..pairs.build import encode_pair, pair_names
from ..pairs.compose import Pair, white_whole
from .build import LibraryConfig, open_library
from .paint import Painted, paint
from .place import Layout, Placer
from .stream import DEFAULT_KINDS, DEFAULT_TARGETS, Kinds, Targets
from .views import wear

__all__ = ["CompositesConfig", "build"]

RELEASE = "pix2gestalt"
"""The folder of the pairs."""


@config
class CompositesConfig:
    """What `amodal data build composites` reads from its TOML file.

    Attributes:
        count: Number of composites.
        seed: With a composite's number it decides everything about it.
        targets: Weight of each kind of target; see `Placer`. Objects known only in part ("scene") have no exact truth
            and are refused.
        kinds: Weight of "none", "one", "two" (occluders) and "bars" (thin occluders).
        wear: Give each picture one history of exposure, blur, noise and jpeg.
        pix2gestalt: Write the release layout of pix2gestalt too.
        library: Folders of pictures; see `LibraryConfig`.
    """

    count: Count = 300
    seed: Natural = 0
    targets: Targets = field(default_factory=dict)
    kinds: Kinds = field(default_factory=dict)
    wear: bool = True
    pix2gestalt: bool = False
    library: LibraryConfig = LibraryConfig()


def build(
    config: CompositesConfig,
    folder: Path,
    *,
    run: Runner = run_local,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write the set; a killed build goes on by itself. Returns the number of composites.

    `run` does the work: in this process, a pool, or on Ray, with the same result.

    Raises:
        DataError: the library cannot make such composites.
        OutputError: the folder holds a set with other settings.
    """
    targets = exact_targets(config)
    settings = identity(config, targets)
    spec = Spec(MakeComposite, {"config": asdict(config)})
    names = [f"{number:06d}" for number in range(config.count)]
    writer = FolderWriter(
        folder, name="composites", settings=settings, beyond_frame=True, owns=(RELEASE,), overwrite=overwrite
    )
    with writer:
        wanted = {name: released(name) if config.pix2gestalt else [] for name in names}
        rows = [
            Row(name, {"number": number})
            for number, name in enumerate(names)
            if not (writer.done(name) and all((folder / file).is_file() for file in wanted[name]))
        ]
        for number, (row, results) in enumerate(run(spec, rows) if rows else (), config.count - len(rows) + 1):
            made = only(results)
            if writer.done(row.id):  # made before, without its pair
                for file in wanted[row.id]:
                    writer.write(file, made.files[file])
            else:
                writer.put(made.record["scene"], made.files)
            progress("composite", number, config.count)
    write_json(folder / "config.json", settings)
    return config.count


def released(name: str) -> list[str]:
    """The files of a composite in the release layout of pix2gestalt, below the set's folder."""
    return [f"{RELEASE}/{file}" for file in pair_names(name)]


def identity(config: CompositesConfig, targets: Mapping[str, float]) -> dict[str, Any]:
    """What the set depends on, JSON-ready: everything but the number of composites and where the files lie.

    What has its default is told only where it always was, so that sets of earlier versions may grow.
    """
    settings = {"seed": config.seed, "targets": dict(targets), "kinds": config.kinds, "wear": config.wear}
    library, plain = config.library, LibraryConfig()
    more = {name: getattr(library, name) for name in ("plain", "cut_photos", "seed")}
    more |= {name: bool(getattr(library, name)) for name in ("visible", "renders")}
    changed = {name: value for name, value in more.items() if value != getattr(plain, name)}
    settings["library"] = {"split": library.split, "invented": library.invented, **changed}
    return settings


def exact_targets(config: CompositesConfig) -> dict[str, float]:
    """The weights of the kinds of targets whose truth is exact. Raises DataError if others are asked for."""
    targets = {g: w for g, w in (config.targets or DEFAULT_TARGETS).items() if g != "room"}
    if targets.pop("scene", 0) and config.targets:
        raise DataError('targets: "scene" objects are known only in part; a set with exact truth cannot use them')
    return targets


class MakeComposite:
    """The number of a composite to its picture, its truth and, if wanted, its pair."""

    def __init__(self, config: dict[str, Any]) -> None:
        """
        Args:
            config: the fields of `CompositesConfig`.
        """
        self.config = CompositesConfig(**config)
        targets = exact_targets(self.config)
        opened = open_library(self.config.library, targets)
        self.placer = Placer(opened, targets, self.config.kinds or DEFAULT_KINDS)

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        whole, sample = composite(self.placer, self.config, row.content["number"])
        scene, files = scene_of([sample])
        if self.config.pix2gestalt:
            pictures = encode_pair(pair_of(sample, whole), 0)
            files = {**dict(zip(released(row.id), pictures, strict=True)), **files}
        return done(row, {"scene": scene}, files)


class MakeCompositePair(MakeComposite):
    """The number of a composite to the four pictures of its pair."""

    def __init__(self, config: dict[str, Any], side: int) -> None:
        """
        Args:
            config: the fields of `CompositesConfig`.
            side: the pictures are squeezed to this square; 0 keeps their size.
        """
        super().__init__(config)
        self.side = side

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        whole, sample = composite(self.placer, self.config, row.content["task"][0])
        pictures = encode_pair(pair_of(sample, whole), self.side)
        return done(row, files=dict(zip(FOLDERS, pictures, strict=True)))


def composite(placer: Placer, config: CompositesConfig, number: int) -> tuple[Painted, Sample]:
    """Composite number `number` as a sample, and the same scene painted with nothing before the target.

    Both have one history: the target's visible pixels are those of the composite.
    """
    rng = np.random.default_rng([config.seed, 3, number])
    while True:
        layout = placer.draw(rng)
        painted = paint(layout)
        if painted.visible.sum() >= 60:
            break
    image, whole = painted.image, paint(without_occluders(layout))
    if config.wear:
        whole = replace(whole, image=wear(deepcopy(rng), whole.image))
        image = wear(rng, image)
    amodal = _beyond(layout)
    name = f"{number:06d}"
    extra = {"kind": layout.kind, "source": _source(layout)}
    visible = Mask.from_array(painted.visible)
    hides = Mask.from_array(painted.occluder)
    sample = Sample(
        name, name, image, layout.size, visible, amodal | visible, beyond_frame=True, occluder=hides, extra=extra
    )
    return whole, sample


def without_occluders(layout: Layout) -> Layout:
    """The layout up to its target."""
    return replace(layout, layers=layout.layers[: layout.target + 1])


def _beyond(layout: Layout) -> Mask:
    """The target's whole mask, outside of the frame too."""
    h, w = layout.size
    pad = max(h, w)
    view = np.array([[1.0, 0, pad], [0, 1.0, pad]])
    alone = replace(layout, layers=layout.layers[layout.target : layout.target + 1] if layout.target >= 0 else ())
    alone = replace(alone, target=min(layout.target, 0))
    return Mask.from_array(paint(alone, view, (h + 2 * pad, w + 2 * pad)).amodal, (-pad, -pad))


def _source(layout: Layout) -> str:
    return layout.photo.name if layout.photo is not None else layout.layers[layout.target].sprite.name


def pair_of(sample: Sample, whole: Painted) -> Pair:
    """A composite as a pair of pix2gestalt: what lies beyond the frame is left out."""
    inside = sample.amodal.to_array(sample.size)
    return Pair(sample.image, white_whole(whole.image, inside), inside, sample.visible.to_array(sample.size))
