"""What the commands share: groups of options, settings, progress bars, output helpers."""

from __future__ import annotations

import functools
import inspect
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ..core.errors import UsageError
from ..core.options import parse_settings
from ..core.paths import own_path
from ..plugins.protocols import Progress

if TYPE_CHECKING:
    from ..engine.worker import Runner
    from ..pipeline import Model
    from ..pipeline.choice import ModelChoice

__all__ = [
    "AsJson",
    "DataOutput",
    "DataRoot",
    "DataSeed",
    "Device",
    "Force",
    "Limit",
    "ModelOptions",
    "Output",
    "OutputOptions",
    "Resume",
    "Root",
    "RunOptions",
    "SampleOptions",
    "Samples",
    "Seed",
    "SegmenterName",
    "SkipBad",
    "Split",
    "choice_of",
    "flat",
    "hint",
    "new_file",
    "print_json",
    "progress_bar",
    "show",
    "split_settings",
    "tell_failures",
    "word",
]

MethodName = Annotated[str | None, typer.Option(help="See: amodal list methods.")]
InpainterName = Annotated[str | None, typer.Option(help="See: amodal list inpainters; or a hub name or folder.")]
SegmenterName = Annotated[str | None, typer.Option(help="See: amodal list segmenters; or a hub name or folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of the method, or inpainter.KEY, segmenter.KEY."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Samples = Annotated[int, typer.Option(min=1, max=256, help="Predictions per object; the mask is their majority.")]
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
Resume = Annotated[bool, typer.Option("--resume", hidden=True, help="Not needed: what was stopped goes on by itself.")]
Workers = Annotated[int, typer.Option(min=1, max=1024, help="Processes, or actors with --ray.")]
DataOutput = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the new data set.")]
DataSeed = Annotated[int, typer.Option(min=0, help="Same seed, same data set.")]
RayAddress = Annotated[str | None, typer.Option("--ray", metavar="local|ADDRESS", help="Run on Ray.")]


Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")]


@dataclass(frozen=True)
class ModelOptions:
    """The options that choose a model."""

    method: MethodName = None
    inpainter: InpainterName = None
    segmenter: SegmenterName = None
    settings: Settings = None
    device: Device = "auto"

    def choice(self) -> ModelChoice:
        """What is chosen. Raises OptionError."""
        return choice_of(self.method, self.inpainter, self.segmenter, self.settings)

    def load(self) -> Model:
        """The model. Raises what `amodal.load` raises."""
        return self.choice().load(self.device)


@dataclass(frozen=True)
class SampleOptions:
    """How often to guess, and from which seed."""

    samples: Samples = 1
    seed: Seed = 0


@dataclass(frozen=True)
class OutputOptions:
    """Where results go; a command gives its own folder as the default."""

    output: Output = Path("amodal-out")
    force: Force = False
    as_json: AsJson = False


@dataclass(frozen=True)
class RunOptions:
    """Who does the rows."""

    workers: Workers = 1
    ray: RayAddress = None

    def runner(self, gpus: float = 0.0) -> Runner:
        """This process, a pool, or Ray."""
        if self.ray is not None:
            from ..engine.ray import run_ray

            return partial(run_ray, address=self.ray, workers=self.workers, gpus=gpus)
        if gpus:
            raise UsageError("--gpus is for --ray; without it choose the GPU by --device cuda:0")
        from ..engine.local import run_local

        return partial(run_local, workers=self.workers)


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer: each parameter that is a dataclass becomes options, one a field, with the defaults of its default.

    In every path that is given, `~` is the home folder: a shell leaves it as it is in `--output=~/runs`.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if is_dataclass(kind):
            groups[name] = kind
            inner = get_type_hints(kind, include_extras=True)
            for field in fields(kind):
                default = getattr(parameter.default, field.name, field.default)
                parameters.append(
                    parameter.replace(
                        name=field.name,
                        default=parameter.empty if default is MISSING else default,
                        annotation=inner[field.name],
                    )
                )
        else:
            parameters.append(parameter.replace(annotation=kind))
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]

    @functools.wraps(command)
    def run(**given: object) -> None:
        given = {name: _at_home(value) for name, value in given.items()}
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _at_home(value: object) -> object:
    if isinstance(value, list):
        return [_at_home(item) for item in value]
    return own_path(value, UsageError) if isinstance(value, Path) else value


def split_settings(settings: list[str] | None) -> dict[str, dict[str, str]]:
    """`--set` items by part: `steps=5` goes to the method, `inpainter.dtype=fp32` and `segmenter.rounds=2` to the others."""
    parts: dict[str, dict[str, str]] = {"method": {}, "inpainter": {}, "segmenter": {}}
    for name, value in parse_settings(settings or ()).items():
        head, dot, tail = name.partition(".")
        if dot and head in parts:
            parts[head][tail] = value
        else:
            parts["method"][name] = value
    return parts


def choice_of(
    method: str | None, inpainter: str | None, segmenter: str | None, settings: list[str] | None
) -> ModelChoice:
    """Names and `--set` items as one choice. Raises OptionError."""
    from ..pipeline.choice import ModelChoice

    parts = split_settings(settings)
    return ModelChoice.of(
        method=method,
        inpainter=inpainter,
        segmenter=segmenter,
        options=parts["method"],
        inpainter_options=parts["inpainter"],
        segmenter_options=parts["segmenter"],
    )


def print_json(content: Any) -> None:
    """Data on stdout, as JSON."""
    typer.echo(json.dumps(content, indent=1))


def show(as_json: bool, content: Any, text: str) -> None:
    """The result on stdout: as JSON where that is asked for, else for people."""
    print_json(content) if as_json else typer.echo(text)


def word(path: object) -> str:
    """A path as a word of a shell's command, in quotes where it needs them."""
    return shlex.quote(str(path))


def hint(text: str) -> None:
    """A remark on stderr: never mixes with data."""
    typer.echo(text, err=True)


def new_file(path: Path | None, force: bool, *endings: str) -> None:
    """To be asked before long work: whether a file of these endings can be written as `path` (None: none is asked for).

    Raises:
        UsageError: it has another ending than what is written.
        ExistsError: it is there and may not be replaced.
    """
    from ..core.files import check_targets

    if path is not None:
        if path.suffix.lower() not in endings:
            raise UsageError(f"{path} is to be written as {' or '.join(endings)}; give it a name that ends so")
        check_targets([path], force)


def tell_failures(failures: Sequence[str]) -> None:
    """The first few on stderr; exit code 3 if there are some."""
    for failure in failures[:5]:
        hint(f"amodal: {failure}")
    if failures:
        raise typer.Exit(3)


EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Progress on stderr: bars on a terminal, one per kind of thing counted; elsewhere a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    import rich.progress
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with rich.progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(f"{title}: {what}", total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress


def _lines(title: str) -> Progress:
    last = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            hint(f"{title}: {done} of {total} {what}")

    return progress
