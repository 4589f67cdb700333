"""What the commands share: splitting settings, progress bars, output helpers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from ..options import parse_settings
from ..protocols import Tick

if TYPE_CHECKING:
    from ..pipeline import Model

__all__ = ["hint", "load_model", "print_json", "progress", "split_settings"]


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


def load_model(
    method: str | None, inpainter: str | None, segmenter: str | None, device: str, settings: dict[str, dict[str, Any]]
) -> Model:
    """`amodal.load` from the command line's options; `settings` as `split_settings` returns them."""
    from ..pipeline import load

    return load(
        method,
        inpainter=inpainter,
        segmenter=segmenter,
        device=device,
        options=settings["method"],
        inpainter_options=settings["inpainter"],
        segmenter_options=settings["segmenter"],
    )


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
