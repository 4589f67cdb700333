"""`amodal data build photos|composites|rooms|renders`: composites of photographs, and what training makes them of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import DataOutput, DataSeed, Force, Resume, RunOptions, hint, progress_bar, word

__all__ = ["composites", "photos", "renders", "rooms"]

Textures = Annotated[Path, typer.Option(metavar="DIR", help="Pictures that textures are cut from.")]


def photos(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs without masks.")],
    output: DataOutput,
    saliency: Annotated[
        Path, typer.Option(metavar="FILE.onnx", help="A saliency network of U²-Net's kind; see docs/training.md.")
    ],
    sure: Annotated[float, typer.Option(min=0, max=1, help="How crisp an outline must be to count.")] = 0.78,
    workers: RunOptions = RunOptions(),
    force: Force = False,
) -> None:
    """Outline the salient object of each photograph: more whole objects for composites. Goes on where it was stopped."""
    from ..synthesis.composites.outlined import build_photos

    run = workers.runner()
    with progress_bar("photos") as progress:
        counts = build_photos(folder, output, saliency, sure=sure, run=run, overwrite=force, progress=progress)
    hint(
        "{} objects in {}; {} photographs left out (unsure, in pieces, too small or too large), {} not readable; "
        "name the folder in data.library.photos of a recipe".format(counts[0], output, *counts[1:])
    )


def composites(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to make; see docs/training.md.")],
    output: DataOutput,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides the file.")
    ] = None,
    workers: RunOptions = RunOptions(),
    resume: Resume = False,
    force: Force = False,
) -> None:
    """A fixed set of composites with exact truth, in the project's own format."""
    from ..core.config import read_sections, section
    from ..synthesis.composites.fixed import CompositesConfig, build

    chosen = section(read_sections(config, settings or ()), CompositesConfig, "composites")
    run = workers.runner()
    with progress_bar("composites") as progress:
        count = build(chosen, output, run=run, overwrite=force, progress=progress)
    hint(f"{count} composites in {output}; next: amodal data check folder --root {word(output)}")


def rooms(
    output: DataOutput,
    backgrounds: Textures,
    objects: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of .glb objects to stand about.")] = None,
    scene: Annotated[Path | None, typer.Option(metavar="FILE", help="A .glb scene to take furniture from.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of rooms.")] = 2000,
    seed: DataSeed = 0,
    workers: RunOptions = RunOptions(),
    force: Force = False,
) -> None:
    """Invented furnished rooms, rendered with exact truth, for training. Goes on where it was stopped."""
    from ..synthesis.rooms.rooms import build_rooms

    run = workers.runner()
    with progress_bar("rooms") as progress:
        build_rooms(output, backgrounds, objects, scene, count, seed, run=run, overwrite=force, progress=progress)
    hint(f"{count} rooms in {output}; name the folder as data.library.rooms in a recipe")


def renders(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.npz", help="The file to make.")],
    backgrounds: Textures,
    objects: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of .glb objects.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Pictures of each object.")] = 8,
    furniture: Annotated[int, typer.Option(min=0, help="Number of invented articles.")] = 500,
    seed: DataSeed = 0,
    workers: RunOptions = RunOptions(),
    force: Force = False,
) -> None:
    """Single objects rendered on nothing, as sprites for composites. Goes on where it was stopped."""
    from ..synthesis.rooms.renders import write_renders

    run = workers.runner()
    with progress_bar("renders") as progress:
        count = write_renders(
            output, objects, backgrounds, views, furniture, seed, run=run, overwrite=force, progress=progress
        )
    hint(f"{count} renders in {output}; name the file as data.library.renders in a recipe")
