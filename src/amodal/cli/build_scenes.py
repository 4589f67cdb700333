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
    Resume,
    RunOptions,
    hint,
    progress_bar,
    show,
    tell_failures,
    word,
)

__all__ = ["piles", "scenes"]

Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to build.")]


def scenes(
    config: Config,
    output: DataOutput,
    workers: RunOptions = RunOptions(),
    resume: Resume = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Build amodal ground truth from 3-D scenes (docs/scenes.md). Exits with 3 if some scenes or views were left out."""
    from ..synthesis.scenes.build import build
    from ..synthesis.scenes.config import read_config
    from ..synthesis.scenes.stats import table

    run = workers.runner()
    with progress_bar("build") as progress:
        report = build(read_config(config), output, run=run, overwrite=force, progress=progress)
    show(as_json, report.statistics, table(report.statistics))
    hint(f"{report.samples} objects in {report.views} views; next: amodal data review {word(output)}")
    for note in report.notes:
        hint(f"note: {note}")
    if report.failures:
        hint(f"{len(report.failures)} scenes or views left out: {output / 'failures.txt'}")
    tell_failures(report.failures)


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
    workers: RunOptions = RunOptions(),
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Build training pairs from objects dropped at random (docs/scenes.md)."""
    from ..core.options import build_options, parse_settings
    from ..synthesis.scenes.piles import PileOptions, build_piles

    options = build_options(PileOptions, parse_settings(settings or []))
    build = partial(build_piles, options=options, into=into, run=workers.runner())
    with progress_bar("build") as progress:
        made = build(objects, output, count, seed, overwrite=force, progress=progress)
    hint(f"{made} objects in {count} pictures; next: amodal data check folder --root {word(output)}")
