"""`amodal data build composites|rooms|renders`: composites of photographs, and the renderings that training mixes in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import DataOutput, DataSeed, Force, RayAddress, Resume, Workers, choose_runner, hint, progress

__all__ = ["register"]

Textures = Annotated[Path, typer.Option(metavar="DIR", help="Pictures that textures are cut from.")]


def register(build: typer.Typer) -> None:
    """Add the commands."""
    build.command("composites")(composites)
    build.command("rooms")(rooms)
    build.command("renders")(renders)


def composites(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to make; see docs/training.md.")],
    output: DataOutput,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides the file.")
    ] = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """A fixed set of composites with exact truth, in the project's own format."""
    from ..data.composites.build import LibraryConfig
    from ..data.composites.fixed import CompositesConfig, build
    from ..training.recipe import read_sections, section

    raw = section(read_sections(config, settings), CompositesConfig, "composites")
    library = section(raw.library, LibraryConfig, "library")
    run = choose_runner(workers, ray)
    with progress("composites") as tick:
        count = build(raw, library, output, run=run, resume=resume, overwrite=force, tick=tick)
    hint(f"{count} composites in {output}; next: amodal data check folder --root {output}")


def rooms(
    output: DataOutput,
    backgrounds: Textures,
    objects: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of .glb objects to stand about.")] = None,
    scene: Annotated[Path | None, typer.Option(metavar="FILE", help="A .glb scene to take furniture from.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of rooms.")] = 2000,
    seed: DataSeed = 0,
    workers: Workers = 1,
    ray: RayAddress = None,
) -> None:
    """Invented furnished rooms, rendered with exact truth, for training. Goes on where it was stopped."""
    from ..data.composites.rooms import build_rooms

    run = choose_runner(workers, ray)
    with progress("rooms") as tick:
        build_rooms(output, backgrounds, objects, scene, count, seed, run=run, tick=tick)
    hint(f"{count} rooms in {output}; name the folder as data.library.rooms in a recipe")


def renders(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.npz", help="The file to make.")],
    backgrounds: Textures,
    objects: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of .glb objects.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Pictures of each object.")] = 8,
    furniture: Annotated[int, typer.Option(min=0, help="Number of invented articles.")] = 500,
    seed: DataSeed = 0,
    workers: Workers = 1,
    ray: RayAddress = None,
) -> None:
    """Single objects rendered on nothing, as sprites for composites. Goes on where it was stopped."""
    from ..data.composites.renders import write_renders

    run = choose_runner(workers, ray)
    with progress("renders") as tick:
        count = write_renders(output, objects, backgrounds, views, furniture, seed, run=run, tick=tick)
    hint(f"{count} renders in {output}; name the file as data.library.renders in a recipe")
