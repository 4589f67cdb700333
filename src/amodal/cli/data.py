"""`amodal data ...`: check, look at and convert data sets; `build` is in `data_build.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import parse_settings
from . import data_build, data_review
from .common import hint

if TYPE_CHECKING:
    from ..data import Dataset

__all__ = ["register"]

Name = Annotated[str, typer.Argument(help="See: amodal list datasets.")]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="The data set's folder in the official layout.")]
Split = Annotated[str | None, typer.Option(help="train, val, test, ...; default: the reader's.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N objects.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the reader.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on past bad annotations and list them.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    data = typer.Typer(help="Check, look at, convert and build data sets.", no_args_is_help=True)
    data.command("check")(check)
    data_build.register(data)
    data_review.register(data)
    app.add_typer(data, name="data")


def open_data(name: str, root: Path, split: str | None, settings: list[str] | None, skip_bad: bool) -> Dataset:
    """The data set that the command line names."""
    from ..data import dataset

    return dataset(name, root, split, options=parse_settings(settings or []), skip_bad=skip_bad)


def check(name: Name, root: Root, split: Split = None, limit: Limit = None, settings: Settings = None) -> None:
    """Check a data set: files there, masks inside each other, sizes, equal ids. Exits with 3 if something is bad."""
    data = open_data(name, root, split, settings, True)
    missing = data.missing()
    objects = sum(len(scene) for scene in data.scenes(limit))
    problems = [*(f"{path}: this image is absent" for path in missing), *map(str, dict.fromkeys(data.problems))]
    for problem in problems:
        typer.echo(problem)
    hint(f"{name}: {objects} objects can be read, {len(problems)} problems")
    if problems:
        raise typer.Exit(3)
