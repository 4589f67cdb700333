"""`amodal list` and `show`: what there is to choose from. Loads no networks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..core.errors import AmodalError, UnknownNameError, nearest
from ..core.options import describe_options
from ..plugins import registry
from ..weights import catalogue
from ..weights.ready import size_text, state
from .common import AsJson, hint, print_json

SETTINGS = {
    "inpainters": "--set inpainter.",
    "segmenters": "--set segmenter.",
    "lifters": "--lift ",
    "novel-views": "--view ",
}
"""How an option is given to the commands, by kind of plug-in; those of methods and data sets by `--set` alone."""
KIND_NAMES = {"weights": "weights", "datasets": "data set", "novel-views": "novel views"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_names)
    app.command("show")(show)


def list_names(
    kind: Annotated[str | None, typer.Argument(help=", ".join([*registry.KINDS, "weights"]))] = None,
    as_json: AsJson = False,
) -> None:
    """List what can be chosen."""
    kinds = [kind] if kind else [*registry.KINDS, "weights"]
    table = {each: weights_table() if each == "weights" else plugin_table(each) for each in kinds}
    if as_json:
        print_json(table)
        return
    for each, rows in table.items():
        typer.echo(each)
        width = max(map(len, rows), default=0)
        for name, text in rows.items():
            typer.echo(f"  {name:<{width}}  {text}")
    hint("next: amodal show NAME  tells options, license, size, memory and paper")


def plugin_table(kind: str) -> dict[str, str]:
    """Name to summary of the plug-ins of a kind."""
    if kind not in registry.KINDS:
        raise UnknownNameError(f"no kind of thing named {kind!r}; {nearest(kind, [*registry.KINDS, 'weights'])}")
    return {name: summary(kind, name) for name in registry.names(kind)}


def weights_table() -> dict[str, str]:
    """Name to size, place, license and summary of all weights."""
    return {
        name: f"{state(name):<9} {size_text(entry.size):>8}  {entry.summary}; {entry.license}"
        for name, entry in catalogue.entries().items()
    }


def summary(kind: str, name: str) -> str:
    """One line on a plug-in; says so if it cannot be imported."""
    try:
        return str(registry.find(kind, name).summary)
    except AmodalError as error:
        return f"(not available: {error})"


def show(
    name: Annotated[str, typer.Argument(help="A name of amodal list.")],
    as_json: AsJson = False,
) -> None:
    """Show one method, inpainter, segmenter, data set or weights: options, license, size, memory, paper."""
    kinds = registry.kinds_of(name)
    found = [weights_record(name)] if name in catalogue.entries() else []
    if not kinds and not found:
        every = [each for kind in registry.KINDS for each in registry.names(kind)] + list(catalogue.entries())
        raise UnknownNameError(f"nothing is named {name!r}; {nearest(name, every)}")
    records = [record(kind, name) for kind in kinds] + found
    if as_json:
        print_json(records)
        return
    for entry in records:
        typer.echo(f"{entry['name']} ({KIND_NAMES.get(entry['kind'], entry['kind'][:-1])}): {entry['summary']}")
        for field in ("paper", "license", "splits", "url", "memory", "install", "sources", "place", "sha256", "note"):
            if entry.get(field):
                typer.echo(f"  {field:<9} {entry[field]}")
        for each in entry["weights"]:
            typer.echo(f"  weights   {each['name']}: {size_text(each['size'])}, {each['state']}; {each['license']}")
        for option in entry["options"]:
            given = SETTINGS.get(entry["kind"], "--set ")
            typer.echo(f"  {given}{option['name']}={option['default']}  ({option['type']})  {option['description']}")


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
        "license": getattr(cls, "license", ""),
        "splits": ", ".join(getattr(cls, "splits", ())),
        "url": getattr(cls, "url", ""),
        "memory": getattr(cls, "memory", ""),
        "install": registry.requirement(kind, name, extra),
        "weights": [weights_record(each) for each in getattr(cls, "weights", ()) if each in catalogue.entries()],
        "options": describe_options(options) if options else [],
    }


def weights_record(name: str) -> dict[str, Any]:
    """Everything `amodal show` tells about weights, JSON-ready."""
    entry = catalogue.find(name)
    here = state(name)
    return {
        "kind": "weights",
        "name": name,
        "summary": entry.summary,
        "license": entry.license + (" (accept the terms on the hub first)" if entry.gated else ""),
        "memory": entry.memory,
        "size": entry.size,
        "state": here,
        "sources": ", ".join(entry.sources),
        "place": str(catalogue.cached(entry)) if here in ("here", "embedded") else "",
        "sha256": entry.sha256 or catalogue.record_of(entry).get("sha256", ""),
        "note": entry.note,
        "weights": [],
        "options": [],
    }
