"""`amodal fetch`: getting and checking weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from ..plugins.protocols import Progress
from ..weights.ready import size_text
from .common import AsJson, hint, print_json, progress_bar


def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="See: amodal list weights; or a hub name.")],
    check: Annotated[bool, typer.Option("--check", help="Read to the last byte; replace what is damaged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch weights, resumed and checked. Prints where they lie."""
    from ..weights import catalogue
    from ..weights import fetch as fetching

    records: list[dict[str, Any]] = []
    for name in names:
        entry = catalogue.entry_of(name)
        bad = fetching.check(name) if check else []
        for file in bad:
            hint(f"{name}: {file} is damaged" + ("" if catalogue.offline() else "; fetching it again"))
        if entry.kind != "embedded" and (bad or catalogue.cached(entry) is None):
            hint(f"{name}: {size_text(entry.size)}, license {entry.license}")
        with progress_bar(name) as progress:
            path = prepare(name, fetching.fetch(name, progress), progress)
        if entry.kind == "file" and not entry.sha256 and not check:
            digest = catalogue.record_of(entry).get("sha256", "")
            hint(f"{name}: nobody has published a sha256; recorded {digest[:16]}... and will hold it to that")
        records.append({"name": name, "path": str(path), "damaged": bad, "kind": entry.kind, "license": entry.license})
        if not as_json:
            typer.echo(path)
    if as_json:
        print_json(records)
    elif check:
        hint("all intact" if not any(record["damaged"] for record in records) else "damaged files replaced")


CONVERTED = ("pix2gestalt", "zero123", "syncdreamer")
"""Weights that are a released checkpoint of a latent diffusion model."""


def prepare(name: str, path: Path, progress: Progress) -> Path:
    """Where fetched weights lie in the form that is used: released checkpoints are converted, all others stay as they are."""
    if name not in CONVERTED or find_spec("torch") is None:  # without torch it is converted at its first use
        return path
    from ..networks.latent_diffusion.folder import ready_folder

    return ready_folder(name, progress=progress)
