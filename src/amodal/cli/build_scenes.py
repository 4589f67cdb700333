"""`amodal data build scenes` and `piles`: ground truth from 3-D."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .common import (
    AsJson,
    DataOutput,
    DataSeed,
    Force,
    RayAddress,
    Resume,
    Workers,
    choose_runner,
    hint,
    print_json,
    progress,
)

__all__ = ["register"]

Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to build.")]


def register(build: typer.Typer) -> None:
    """Add the commands."""
    build.command("scenes")(scenes)
    build.command("piles")(piles)


def scenes(
    config: Config,
    output: DataOutput,
    workers: Workers = 1,
    ray: RayAddress = None,
    resume: Resume = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Build amodal ground truth from 3-D scenes (docs/scenes.md). Exits with 3 if some scenes or views were left out."""
    from ..data.scenes.build import build
    from ..data.scenes.config import read_config
    from ..data.scenes.stats import table

    run = choose_runner(workers, ray)
    with progress("build") as tick:
        report = build(read_config(config), output, run=run, resume=resume, overwrite=force, tick=tick)
    if as_json:
        print_json(report.statistics)
    else:
        typer.echo(table(report.statistics))
    for line in report.failures[:10]:
        hint(f"left out: {line}")
    if len(report.failures) > 10:
        hint(f"... {len(report.failures) - 10} more in {output / 'failures.txt'}")
    hint(f"{report.samples} objects in {report.views} views; next: amodal data review {output}")
    if report.failures:
        raise typer.Exit(3)


def piles(
    objects: Annotated[Path, typer.Argument(metavar="OBJECTS", help="Folder of objects, one *.glb or *.obj each.")],
    output: DataOutput,
    count: Annotated[int, typer.Option(min=1, help="Pictures.")] = 100,
    seed: DataSeed = 0,
    into: Annotated[
        Path | None, typer.Option(metavar="SCENE", help="Scene (z up) to drop them into; default: a table.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the piles.")
    ] = None,
    workers: Workers = 1,
    ray: RayAddress = None,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Build training pairs from objects dropped at random (docs/scenes.md)."""
    from ..data.scenes.piles import PileOptions, build_piles
    from ..options import build_options, parse_settings

    options = build_options(PileOptions, parse_settings(settings or []))
    build = partial(build_piles, options=options, into=into, run=choose_runner(workers, ray))
    with progress("build") as tick:
        made = build(objects, output, count, seed, resume=resume, overwrite=force, tick=tick)
    hint(f"{made} objects in {count} pictures; next: amodal data check folder --root {output}")
