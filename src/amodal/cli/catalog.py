"""`amodal list`, `show`, `doctor`: what there is and what works here. Loads no networks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import registry
from ..errors import AmodalError, UnknownNameError, nearest
from ..options import describe_options
from .common import hint, print_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_names)
    app.command("show")(show)


def list_names(
    kind: Annotated[str | None, typer.Argument(help="methods, inpainters, segmenters, datasets")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List what can be chosen."""
    kinds = [kind] if kind else list(registry.KINDS)
    table = {each: {name: summary(each, name) for name in registry.names(each)} for each in kinds}
    if as_json:
        print_json(table)
        return
    for each, rows in table.items():
        typer.echo(each)
        for name, text in rows.items():
            typer.echo(f"  {name:<16} {text}")
    hint("next: amodal show NAME  tells options, licence, size, memory and paper")


def summary(kind: str, name: str) -> str:
    """One line on a plug-in; says so if it cannot be imported."""
    try:
        return str(registry.find(kind, name).summary)
    except AmodalError as error:
        return f"(not available: {error})"


def show(
    name: Annotated[str, typer.Argument(help="A name of amodal list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show one method, inpainter, segmenter or data set: options, licence, size, memory, paper."""
    kinds = registry.kinds_of(name)
    if not kinds:
        every = [each for kind in registry.KINDS for each in registry.names(kind)]
        raise UnknownNameError(f"nothing is named {name!r}; {nearest(name, every)}")
    records = [record(kind, name) for kind in kinds]
    if as_json:
        print_json(records)
        return
    for entry in records:
        typer.echo(f"{entry['name']} ({entry['kind'][:-1]}): {entry['summary']}")
        for field in ("paper", "licence", "memory", "install", "weights"):
            if entry[field]:
                typer.echo(f"  {field:<9} {entry[field]}")
        for option in entry["options"]:
            typer.echo(f"  --set {option['name']}={option['default']}  ({option['type']})  {option['description']}")


def record(kind: str, name: str) -> dict[str, Any]:
    """Everything `amodal show` tells about a plug-in, JSON-ready."""
    cls = registry.find(kind, name)
    extra = getattr(cls, "extra", "")
    options = getattr(cls, "Options", None)
    return {
        "kind": kind,
        "name": name,
        "summary": cls.summary,
        "paper": getattr(cls, "paper", ""),
        "licence": getattr(cls, "licence", ""),
        "memory": getattr(cls, "memory", ""),
        "install": f'pip install "amodal[{extra}]"' if extra else "",
        "weights": ", ".join(getattr(cls, "weights", ())),
        "options": describe_options(options) if options else [],
    }
