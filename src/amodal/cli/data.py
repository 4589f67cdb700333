"""`amodal data ...`: a sample set; check, look at and convert data sets; what builds them is in `build_*.py`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from ..core.options import parse_settings
from .build_composites import composites, photos, renders, rooms
from .build_pairs import pairs
from .build_scenes import piles, scenes
from .common import (
    AsJson,
    DataOutput,
    DataRoot,
    Force,
    Limit,
    Resume,
    SkipBad,
    Split,
    flat,
    hint,
    new_file,
    print_json,
    progress_bar,
    word,
)
from .convert_weights import convert_weights
from .data_review import review

if TYPE_CHECKING:
    from ..data import Dataset

__all__ = ["register"]

Name = Annotated[str, typer.Argument(help="See: amodal list datasets.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the reader.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    data = typer.Typer(help="A sample set to try; check, look at, convert and build data sets.", no_args_is_help=True)
    build = typer.Typer(help="Build data sets: photos, composites, scenes.", no_args_is_help=True)
    for group, commands in (
        (data, (sample, check, stats, view, convert, review, convert_weights)),
        (build, (scenes, piles, photos, composites, rooms, renders, pairs)),
    ):
        for command in commands:
            group.command(command.__name__.replace("_", "-"))(flat(command))
    data.add_typer(build, name="build")
    app.add_typer(data, name="data")


@dataclass(frozen=True)
class DataOptions:
    """A data set."""

    name: Name
    root: DataRoot
    split: Split = None
    limit: Limit = None
    settings: Settings = None

    def open(self, skip_bad: bool) -> Dataset:
        """The data set. Raises what `amodal.dataset` raises."""
        from ..data import dataset

        options = parse_settings(self.settings or ())
        return dataset(self.name, self.root, self.split, options=options, skip_bad=skip_bad)

    def next(self) -> str:
        """What names it for the command that comes next."""
        return f"{self.name} --root {word(self.root)}" + (f" --split {self.split}" if self.split else "")


def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; one that holds the sample is left.")],
) -> None:
    """Write a small set to try every command on: photographs, masks, composites with truth, a toy scene. No network."""
    from ..synthesis.sample import write_sample

    written = write_sample(folder)
    typer.echo(str(folder))
    hint(
        f"{'written' if written else 'is there already'}; next: cd {word(folder)} && amodal segment photo.jpg --point 350,70"
    )


def check(
    source: DataOptions,
    images: Annotated[
        bool, typer.Option("--images", help="Also decode every photo; sizes are compared in any case.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set: files, masks inside each other, sizes, duplicates, order cycles. Exits with 3 if something is bad."""
    from ..data.check import check as check_data

    data = source.open(skip_bad=True)
    with progress_bar("check") as progress:
        found = check_data(data, source.limit, images=images, progress=progress)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            typer.echo(str(finding))
    serious = sum(finding.serious for finding in found)
    hint(f"{source.name}: {len(data)} objects, {serious} problems, {len(found) - serious} notes")
    hint(f"next: amodal data view {source.next()}")
    if serious:
        raise typer.Exit(3)


def stats(
    source: DataOptions,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Count a data set: objects, occlusion, areas, categories."""
    from ..data.check import statistics

    data = source.open(skip_bad)
    with progress_bar("count") as progress:
        numbers = statistics(data, source.limit, progress=progress)
    if as_json:
        print_json(numbers)
    else:
        _print_numbers(numbers)
    hint(f"next: amodal evaluate --method hull --dataset {source.next()}")
    _tell_oddities(data)


def view(
    source: DataOptions,
    skip_bad: SkipBad = False,
    count: Annotated[int, typer.Option(min=1, max=2000, help="How many objects.")] = 48,
    order: Annotated[str, typer.Option(help="random, first or occluded.")] = "random",
    seed: Annotated[int, typer.Option(help="Of the random choice.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html")] = Path("amodal-view.html"),
    force: Force = False,
) -> None:
    """Write a contact sheet: photos with visible and amodal masks in one HTML file."""
    from ..core.files import write_text
    from ..evaluation.sheet import contact_sheet

    new_file(output, force, ".html", ".htm")
    data = source.open(skip_bad)
    write_text(output, contact_sheet(data, count, order, seed, source.limit))
    typer.echo(str(output))
    hint(f"next: open {word(output)} in a browser")
    _tell_oddities(data)


def convert(
    source: DataOptions,
    output: DataOutput,
    to: Annotated[
        str, typer.Option("--to", help="folder (COCO-compatible, the project's own), cocoa or masks.")
    ] = "folder",
    skip_bad: SkipBad = False,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Convert a data set to the project's own format, which COCO tools open, to COCO-A's JSON or to mask pictures."""
    from ..data import convert as conversions

    writers = {"folder": conversions.to_folder, "cocoa": conversions.to_cocoa, "masks": conversions.to_masks}
    if to not in writers:
        raise UsageError(f"--to is folder, cocoa or masks, got {to!r}; the format folder is what COCO tools open")
    data = source.open(skip_bad)
    with progress_bar("convert") as progress:
        counts = writers[to](data, output, limit=source.limit, overwrite=force, progress=progress)
    typer.echo(", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.items()))
    hint(f"next: amodal data check {to} --root {word(output)}")
    _tell_oddities(data)


def _tell_oddities(data: Dataset) -> None:
    """What was noted and what was skipped; exit code 3 if something was."""
    from ..data.problems import alike

    for text in data.notes:
        hint(f"note: {text}")
    for problem in alike(data.problems):
        hint(f"skipped: {problem}")
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
