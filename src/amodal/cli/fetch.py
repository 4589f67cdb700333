"""`amodal fetch`: getting and checking weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import WeightsError
from ..protocols import Tick
from .common import AsJson, hint, print_json, progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fetch")(fetch)


def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="See: amodal list weights; or a hub name.")],
    check: Annotated[bool, typer.Option("--check", help="Read to the last byte; replace what is damaged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch weights, resumed and checked. Prints where they lie."""
    from .. import fetch as fetching
    from .. import weights

    records: list[dict[str, Any]] = []
    for name in names:
        entry = weights.entry_of(name)
        bad = fetching.check(name) if check else []
        for file in bad:
            hint(f"{name}: {file} is damaged" + ("" if weights.offline() else "; fetching it again"))
        if entry.kind != "embedded" and (bad or weights.cached(entry) is None):
            hint(f"{name}: {size_text(entry.size)}, licence {entry.licence}")
        with progress(name) as tick:
            path = prepare(name, fetching.fetch(name, tick), tick)
        if entry.kind == "file" and not entry.sha256 and not check:
            digest = weights.record_of(entry).get("sha256", "")
            hint(f"{name}: nobody has published a sha256; recorded {digest[:16]}... and will hold it to that")
        records.append({"name": name, "path": str(path), "damaged": bad, "kind": entry.kind, "licence": entry.licence})
        if not as_json:
            typer.echo(path)
    if as_json:
        print_json(records)
    elif check:
        hint("all whole" if not any(record["damaged"] for record in records) else "damaged files replaced")


def prepare(name: str, path: Path, tick: Tick) -> Path:
    """Where fetched weights lie in the form that is used: pix2gestalt's checkpoint is converted, all others stay as they are."""
    if name != "pix2gestalt" or find_spec("torch") is None:  # without torch it is converted at its first use
        return path
    from ..methods.pix2gestalt.folder import ready_folder

    return ready_folder(name, tick=tick)


def size_text(size: int) -> str:
    """Bytes in words: "2.1 GB", "39 MB", "size unknown"."""
    if not size:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def state(name: str) -> str:
    """Whether weights are "embedded", "here" or "not here"; "damaged: ..." if embedded weights are not what they should be."""
    from .. import weights

    entry = weights.find(name)
    try:
        if entry.kind == "embedded":
            weights.embedded(name)
            return "embedded"
        return "here" if weights.cached(entry) is not None else "not here"
    except WeightsError as error:
        return f"damaged: {error}"
