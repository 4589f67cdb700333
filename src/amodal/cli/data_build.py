"""`amodal data build ...`: one subcommand a kind of data set that can be built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import build_composites, build_pairs
from .common import hint, print_json, progress

__all__ = ["register"]

Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to build.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the data set.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a build that was stopped.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a data set that exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the statistics as JSON.")]


def register(data: typer.Typer) -> None:
    """Add the group `build` to `amodal data`; every builder adds its command to it here."""
    build = typer.Typer(help="Build data sets: photos, composites, scenes.", no_args_is_help=True)
    build.command("scenes")(scenes)
    build_composites.register(build)
    build_pairs.register(build)
    data.add_typer(build, name="build")


def scenes(
    config: Config,
    output: Output,
    workers: Workers = 1,
    resume: Resume = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Build amodal ground truth from 3-D scenes (docs/scenes.md). Exits with 3 if some scenes or views were left out."""
    from ..data.scenes.build import build
    from ..data.scenes.config import read_config
    from ..data.scenes.stats import table

    with progress("build") as tick:
        report = build(read_config(config), output, workers=workers, resume=resume, overwrite=force, tick=tick)
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
