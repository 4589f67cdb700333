"""What the commands share: splitting settings, progress bars, output helpers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from ..options import parse_settings
from ..protocols import Tick

if TYPE_CHECKING:
    from ..pipeline import Model
    from ..scale.worker import Runner

__all__ = [
    "AsJson",
    "DataOutput",
    "DataRoot",
    "DataSeed",
    "Device",
    "Force",
    "InpainterName",
    "Limit",
    "MethodName",
    "RayAddress",
    "Resume",
    "Root",
    "Samples",
    "Seed",
    "SegmenterName",
    "Settings",
    "SkipBad",
    "Split",
    "Workers",
    "choose_runner",
    "hint",
    "load_arguments",
    "load_model",
    "print_json",
    "progress",
    "split_settings",
]

MethodName = Annotated[str | None, typer.Option(help="See: amodal list methods.")]
InpainterName = Annotated[str | None, typer.Option(help="See: amodal list inpainters; or a hub name or folder.")]
SegmenterName = Annotated[str | None, typer.Option(help="See: amodal list segmenters; or a hub name or folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of the method, or inpainter.KEY, segmenter.KEY."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Samples = Annotated[int, typer.Option(min=1, max=256, help="Guesses per object; the mask is their majority.")]
Seed = Annotated[int, typer.Option(help="Same seed, same answer.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result on stdout as JSON.")]
Root = Annotated[
    Path | None, typer.Option("--root", metavar="DIR", help="The data set's folder in the official layout.")
]
DataRoot = Annotated[Path, typer.Option("--root", metavar="DIR", help="The data set's folder in the official layout.")]
Split = Annotated[str | None, typer.Option(help="train, val, test, ...; default: the reader's.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on past bad annotations and list them.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N objects.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where it was stopped.")]
Workers = Annotated[int, typer.Option(min=1, max=1024, help="Processes, or actors with --ray.")]
DataOutput = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the new data set.")]
DataSeed = Annotated[int, typer.Option(min=0, help="Same seed, same data set.")]
RayAddress = Annotated[str | None, typer.Option("--ray", metavar="local|ADDRESS", help="Run on Ray.")]


def choose_runner(workers: int, ray: str | None, gpus: float = 0.0) -> Runner:
    """What does the rows: this process, a pool, or Ray."""
    if ray is None:
        if gpus:
            raise UsageError("--gpus is for --ray; without it choose the GPU by --device cuda:0")
        from ..scale.local import run_local

        return partial(run_local, workers=workers)
    from ..scale.ray import run_ray

    return partial(run_ray, address=ray, workers=workers, gpus=gpus)


def split_settings(settings: list[str]) -> dict[str, dict[str, str]]:
    """`--set` items by part: `steps=5` goes to the method, `inpainter.dtype=fp32` and `segmenter.rounds=2` to the others."""
    parts: dict[str, dict[str, str]] = {"method": {}, "inpainter": {}, "segmenter": {}}
    for name, value in parse_settings(settings).items():
        head, dot, tail = name.partition(".")
        if dot and head in parts:
            parts[head][tail] = value
        else:
            parts["method"][name] = value
    return parts


def load_arguments(
    method: str | None, inpainter: str | None, segmenter: str | None, device: str, settings: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The arguments of `amodal.load` from the command line's options; `settings` as `split_settings` returns them."""
    return {
        "method": method,
        "inpainter": inpainter,
        "segmenter": segmenter,
        "device": device,
        "options": settings["method"],
        "inpainter_options": settings["inpainter"],
        "segmenter_options": settings["segmenter"],
    }


def load_model(
    method: str | None, inpainter: str | None, segmenter: str | None, device: str, settings: dict[str, dict[str, Any]]
) -> Model:
    """`amodal.load` with `load_arguments`."""
    from ..pipeline import load

    return load(**load_arguments(method, inpainter, segmenter, device, settings))


def print_json(content: Any) -> None:
    """Data on stdout, as JSON."""
    typer.echo(json.dumps(content, indent=1))


def hint(text: str) -> None:
    """A remark on stderr: never mixes with data."""
    typer.echo(text, err=True)


@contextmanager
def progress(title: str) -> Iterator[Tick]:
    """A `tick` that draws bars on stderr: one per kind of thing counted, only on a terminal."""
    if not sys.stderr.isatty():
        from ..protocols import no_tick

        yield no_tick
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tick(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(f"{title}: {what}", total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tick
