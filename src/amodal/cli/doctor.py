"""`amodal doctor`: what this machine has, and for everything that does not work here, what to do."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import typer

from .. import __version__
from ..core.extras import install, requirements
from ..plugins import registry
from ..weights.ready import size_text, state, usable
from .common import AsJson, print_json

DEVELOPERS = ("test", "docs", "dev")
"""Extras for work on amodal itself: where nothing of one is there, nobody misses it."""


def doctor(as_json: AsJson = False) -> None:
    """Tell what works here, what does not, and what to do about it. Loads no network, fetches nothing."""
    report = examine()
    print_json(report) if as_json else print_report(report)
    if report["problems"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """The whole report, JSON-ready. `problems` are faults of what ships in the package; all else is a matter of choice."""
    from ..runtime.devices import memory_info
    from ..weights import catalogue
    from ..weights.hub import hub_cache

    extras = requirements()
    parts = {
        kind: {name: usable(kind, name, extras) for name in registry.names(kind)}
        for kind in ("methods", "inpainters", "segmenters")
    }
    embedded = {name: state(name) for name, entry in catalogue.entries().items() if entry.kind == "embedded"}
    problems = [f"weights {name}: {text}" for name, text in embedded.items() if text != "embedded"]
    problems += [f"package {name} is missing" for name, version in extras.get("", {}).items() if version is None]
    problems += [
        f"the default of {kind}, {name!r}, does not work here: {parts[kind][name]['do']}"
        for kind, name in registry.DEFAULTS.items()
        if kind in parts and not parts[kind][name]["ready"]
    ]
    return {
        "amodal": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "devices": memory_info(),
        "caches": {str(path): folder_size(path) for path in (catalogue.cache_folder(), hub_cache())},
        "offline": catalogue.offline(),
        "packages": extras,
        "embedded": embedded,
        **parts,
        "problems": problems,
    }


def folder_size(folder: Path) -> int:
    """Bytes of the files under a folder, each counted once (links are not followed); 0 if it does not exist."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def print_report(report: dict[str, Any]) -> None:
    """The report for people."""
    typer.echo(f"amodal {report['amodal']}, Python {report['python']} ({report['executable']}), {report['platform']}")
    for device in report["devices"]:
        free, total = (None if device[key] is None else size_text(device[key]) for key in ("free", "total"))
        memory = f"{free} of {total} free" if free else total or "memory unknown"
        typer.echo(f"  {device['device']:<10} {device['name']}, {memory}")
    for folder, size in report["caches"].items():
        typer.echo(f"  cache      {folder}  {size_text(size) if size else 'empty'}")
    if report["offline"]:
        typer.echo("  offline    AMODAL_OFFLINE or HF_HUB_OFFLINE is set: nothing will be fetched")
    for extra, packages in report["packages"].items():
        have = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        lack = [name for name, version in packages.items() if not version]
        if extra in DEVELOPERS and not have:
            continue
        wanting = f"; missing {', '.join(lack)}: {install(extra)}" if lack else ""
        typer.echo(f"  {extra or 'core':<10} {have or 'nothing'}{wanting}")
    for name, text in report["embedded"].items():
        typer.echo(f"  weights    {name}: {'intact' if text == 'embedded' else text}")
    for kind in ("methods", "inpainters", "segmenters"):
        typer.echo(kind)
        for name, row in report[kind].items():
            typer.echo(f"  {name:<18} {'ready' if row['ready'] else row['do']}")
    typer.echo("all well" if not report["problems"] else "\n".join(f"PROBLEM: {text}" for text in report["problems"]))
