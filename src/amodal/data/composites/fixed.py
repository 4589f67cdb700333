"""Fixed sets of composites: written in the project's own format, and in the release layout of pix2gestalt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import DataError
from ...files import write_bytes, write_json
from ...mask import Mask
from ...protocols import Tick, no_tick
from ..folder import FolderWriter
from ..sample import Sample
from .build import LibraryConfig, open_library
from .paint import Painted, paint
from .place import Layout, Placer
from .sprites import Bits, Image
from .stream import DEFAULT_KINDS, DEFAULT_TARGETS
from .views import wear

__all__ = ["CompositesConfig", "build"]


@dataclass(frozen=True)
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

    count: int = 300
    seed: int = 0
    targets: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, float] = field(default_factory=dict)
    wear: bool = True
    pix2gestalt: bool = False
    library: dict[str, Any] = field(default_factory=dict)


def build(
    config: CompositesConfig,
    library_config: LibraryConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tick: Tick = no_tick,
) -> int:
    """Write the set; a killed build goes on with `resume`. Returns the number of composites.

    Raises:
        DataError: the library cannot make such composites.
        OutputError: the folder holds another set.
    """
    targets = {g: w for g, w in (config.targets or DEFAULT_TARGETS).items() if g != "room"}
    if targets.pop("scene", 0) and config.targets:
        raise DataError('targets: "scene" objects are known only in part; a set with exact truth cannot use them')
    placer = Placer(open_library(library_config), targets, config.kinds or DEFAULT_KINDS)
    settings = {"seed": config.seed, "targets": targets, "kinds": config.kinds, "wear": config.wear}
    settings["library"] = {"split": library_config.split, "invented": library_config.invented}
    writer = FolderWriter(
        folder, name="composites", settings=settings, beyond_frame=True, resume=resume, overwrite=overwrite
    )
    with writer:
        for number in range(config.count):
            name = f"{number:06d}"
            if not writer.done(name):
                whole, sample = composite(placer, config, number)
                if config.pix2gestalt:
                    write_pair(folder / "pix2gestalt", name, sample, whole)
                writer.add([sample])
            tick("composite", number + 1, config.count)
    write_json(folder / "config.json", settings)
    return config.count


def composite(placer: Placer, config: CompositesConfig, number: int) -> tuple[Painted, Sample]:
    """Composite number `number` as a sample, and the same scene painted with nothing before the target."""
    rng = np.random.default_rng([config.seed, 3, number])
    while True:
        layout = placer.draw(rng)
        painted = paint(layout)
        if painted.visible.sum() >= 60:
            break
    image = wear(rng, painted.image) if config.wear else painted.image
    whole = paint(without_occluders(layout))
    amodal = _beyond(layout)
    name = f"{number:06d}"
    extra = {"kind": layout.kind, "source": _source(layout)}
    visible = Mask.from_array(painted.visible)
    sample = Sample(name, name, image, layout.size, visible, amodal | visible, beyond_frame=True, extra=extra)
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


def write_pair(folder: Path, name: str, sample: Sample, whole: Painted) -> None:
    """One pair in pix2gestalt's release layout: the occluded picture, the whole object on white, and both masks."""
    inside = sample.amodal.to_array(sample.size)
    white = np.where(inside[..., None], whole.image, 255).astype(np.uint8)
    pictures: dict[str, Image | Bits] = {
        "occlusion/{}_occlusion": sample.image,
        "whole/{}_whole": white,
        "whole_mask/{}_whole_mask": inside,
        "visible_object_mask/{}_visible_mask": sample.visible.to_array(sample.size),
    }
    for pattern, picture in pictures.items():
        array = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture[..., ::-1]
        code = cv2.imencode(".png", np.ascontiguousarray(array))[1]
        write_bytes(folder / f"{pattern.format(name)}.png", code.tobytes())
