"""`amodal data ...`: check, look at and convert data sets; `build` is in `data_build.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OutputError, UsageError
from ..options import parse_settings
from . import convert_weights, data_build, data_review
from .common import AsJson, DataOutput, DataRoot, Force, Limit, SkipBad, Split, hint, print_json, progress

if TYPE_CHECKING:
    from ..data import Dataset

__all__ = ["register"]

Name = Annotated[str, typer.Argument(help="See: amodal list datasets.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the reader.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    data = typer.Typer(help="Check, look at, convert and build data sets.", no_args_is_help=True)
    for command in (check, stats, view, convert):
        data.command(command.__name__)(command)
    data_build.register(data)
    data_review.register(data)
    convert_weights.register(data)
    app.add_typer(data, name="data")


def open_data(name: str, root: Path, split: str | None, settings: list[str] | None, skip_bad: bool) -> Dataset:
    """The data set that the command line names."""
    from ..data import dataset

    return dataset(name, root, split, options=parse_settings(settings or []), skip_bad=skip_bad)


def check(
    name: Name,
    root: DataRoot,
    split: Split = None,
    limit: Limit = None,
    settings: Settings = None,
    images: Annotated[bool, typer.Option("--images", help="Also open every photo and compare its size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set: files, masks inside each other, sizes, duplicates, order cycles. Exits with 3 if something is bad."""
    from dataclasses import asdict

    from ..data.check import check as check_data

    data = open_data(name, root, split, settings, True)
    with progress("check") as tick:
        found = check_data(data, limit, images=images, tick=tick)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            typer.echo(str(finding))
    serious = sum(finding.serious for finding in found)
    hint(f"{name}: {len(data)} objects, {serious} problems, {len(found) - serious} notes")
    hint(f"next: amodal data view {name} --root {root}")
    if serious:
        raise typer.Exit(3)


def stats(
    name: Name,
    root: DataRoot,
    split: Split = None,
    limit: Limit = None,
    settings: Settings = None,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Count a data set: objects, occlusion, areas, categories."""
    from ..data.check import statistics

    data = open_data(name, root, split, settings, skip_bad)
    with progress("count") as tick:
        numbers = statistics(data, limit, tick=tick)
    if as_json:
        print_json(numbers)
    else:
        _print_numbers(numbers)
    hint(f"next: amodal evaluate --method hull --dataset {name} --root {root}")


def view(
    name: Name,
    root: DataRoot,
    split: Split = None,
    limit: Limit = None,
    settings: Settings = None,
    skip_bad: SkipBad = False,
    count: Annotated[int, typer.Option(min=1, max=2000, help="How many objects.")] = 48,
    order: Annotated[str, typer.Option(help="random, first or occluded.")] = "random",
    seed: Annotated[int, typer.Option(help="Of the random choice.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html")] = Path("amodal-view.html"),
    force: Force = False,
) -> None:
    """Write a contact sheet: photos with visible and amodal masks in one HTML file."""
    from ..evaluation.sheet import contact_sheet
    from ..files import write_text

    if output.exists() and not force:
        raise OutputError(f"{output} exists already; add --force to replace it, or choose another file with -o")
    data = open_data(name, root, split, settings, skip_bad)
    write_text(output, contact_sheet(data, count, order, seed, limit))
    typer.echo(str(output))
    hint(f"next: open {output} in a browser")


def convert(
    name: Name,
    root: DataRoot,
    output: DataOutput,
    to: Annotated[str, typer.Option("--to", help="folder (COCO-compatible, the project's own) or cocoa.")] = "folder",
    split: Split = None,
    limit: Limit = None,
    settings: Settings = None,
    skip_bad: SkipBad = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a conversion to folder that was stopped.")
    ] = False,
    force: Force = False,
) -> None:
    """Convert a data set to the project's own format, which COCO tools open, or to COCO-A's JSON."""
    from ..data.convert import to_cocoa, to_folder

    if to not in ("folder", "cocoa"):
        raise UsageError(f"--to is folder or cocoa, got {to!r}; the format folder is what COCO tools open")
    data = open_data(name, root, split, settings, skip_bad)
    with progress("convert") as tick:
        if to == "folder":
            counts = to_folder(data, output, limit=limit, resume=resume, overwrite=force, tick=tick)
        else:
            counts = to_cocoa(data, output, limit=limit, overwrite=force, tick=tick)
    typer.echo(", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.items()))
    for problem in dict.fromkeys(data.problems):
        hint(f"skipped: {problem}")
    hint(f"next: amodal data check {to} --root {output}")
    if data.problems:
        raise typer.Exit(3)


def _print_numbers(numbers: dict[str, Any]) -> None:
    for key, value in numbers.items():
        if not isinstance(value, dict):
            typer.echo(f"{key:<22} {value}")
    for key, value in numbers.items():
        if not isinstance(value, dict) or key == "data":
            continue
        typer.echo(f"\n{key}")
        rows = list(value.items())
        top = max((number for _, number in rows if isinstance(number, int)), default=0)
        for label, number in rows[:30]:
            bar = "#" * round(40 * number / top) if top and isinstance(number, int) else ""
            typer.echo(f"  {label:<20} {number:>9g} {bar}".rstrip())
        if len(rows) > 30:
            typer.echo(f"  and {len(rows) - 30} more")
