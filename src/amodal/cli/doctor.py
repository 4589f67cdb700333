"""`amodal doctor`: what this machine has, and for everything that does not work here, what to do."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

from .. import __version__, registry
from ..errors import AmodalError
from .common import AsJson, print_json
from .fetch import size_text, state


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Tell what works here, what does not, and what to do about it. Loads no network, fetches nothing."""
    report = examine()
    print_json(report) if as_json else print_report(report)
    if report["problems"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """The whole report, JSON-ready. `problems` are faults of what ships in the package; all else is a matter of choice."""
    from .. import weights
    from ..devices import memory_info
    from ..hub import hub_cache

    extras = requirements()
    parts = {
        kind: {name: usable(kind, name, extras) for name in registry.names(kind)}
        for kind in ("methods", "inpainters", "segmenters")
    }
    embedded = {name: state(name) for name, entry in weights.catalogue().items() if entry.kind == "embedded"}
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
        "caches": {str(path): folder_size(path) for path in (weights.cache_folder(), hub_cache())},
        "offline": weights.offline(),
        "packages": extras,
        "embedded": embedded,
        **parts,
        "problems": problems,
    }


def requirements() -> dict[str, dict[str, str | None]]:
    """Extra ("" for the core) to its packages and their versions here; None for those that are not installed."""
    try:
        lines = metadata.requires("amodal") or []
    except metadata.PackageNotFoundError:
        lines = _from_checkout()
    table: dict[str, dict[str, str | None]] = {"": {}}
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra *== *['\"]([\w-]+)['\"]", line)
        if name is None or name[0] == "amodal" or ("python_version" in line and sys.version_info >= (3, 11)):
            continue
        table.setdefault(extra[1] if extra else "", {})[name[0]] = version_of(name[0])
    return table


def _from_checkout() -> list[str]:
    """The same from the pyproject.toml of a checkout that runs without being installed."""
    from ..files import read_toml

    file = Path(__file__).parents[3] / "pyproject.toml"
    if not file.is_file():
        return []
    project = read_toml(file)["project"]
    extras = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(f"{line}; extra == '{name}'" for name in extras for line in extras[name])]


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def usable(kind: str, name: str, extras: dict[str, dict[str, str | None]]) -> dict[str, Any]:
    """Whether a plug-in can be loaded with its default options, and the command that would make it so."""
    from .. import weights

    try:
        cls = registry.find(kind, name)
    except AmodalError as error:
        return {"ready": False, "do": str(error)}
    missing = [package for package, version in extras.get(cls.extra, {}).items() if version is None]
    if cls.extra and missing:
        return {"ready": False, "do": f'pip install "amodal[{cls.extra}]"  (missing: {", ".join(missing)})'}
    needed = [weights.find(each) for each in cls.needed_weights() if each in weights.catalogue()]
    broken = [text for entry in needed if (text := state(entry.name)).startswith("damaged")]
    if broken:
        return {"ready": False, "do": broken[0]}
    absent = [entry for entry in needed if weights.cached(entry) is None]
    if absent:
        total = size_text(sum(entry.size for entry in absent))
        return {"ready": False, "do": f"amodal fetch {' '.join(entry.name for entry in absent)}  ({total})"}
    return {"ready": True, "do": ""}


def folder_size(folder: Path) -> int:
    """Bytes of the files under a folder, each counted once (links are not followed); 0 if it does not exist."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def print_report(report: dict[str, Any]) -> None:
    """The report for people."""
    typer.echo(f"amodal {report['amodal']}, Python {report['python']} ({report['executable']}), {report['platform']}")
    for device in report["devices"]:
        free, total = (None if device[key] is None else f"{device[key] / 1e9:.1f}" for key in ("free", "total"))
        memory = f"{free} of {total} GB free" if free else f"{total or '?'} GB"
        typer.echo(f"  {device['device']:<10} {device['name']}, {memory}")
    for folder, size in report["caches"].items():
        typer.echo(f"  cache      {folder}  {size_text(size) if size else 'empty'}")
    if report["offline"]:
        typer.echo("  offline    AMODAL_OFFLINE or HF_HUB_OFFLINE is set: nothing will be fetched")
    for extra, packages in report["packages"].items():
        have = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        lack = [name for name, version in packages.items() if not version]
        wanting = f'; missing {", ".join(lack)}: pip install "amodal{f"[{extra}]" if extra else ""}"' if lack else ""
        typer.echo(f"  {extra or 'core':<10} {have or 'nothing'}{wanting}")
    for name, text in report["embedded"].items():
        typer.echo(f"  weights    {name}: {'whole' if text == 'embedded' else text}")
    for kind in ("methods", "inpainters", "segmenters"):
        typer.echo(kind)
        for name, row in report[kind].items():
            typer.echo(f"  {name:<18} {'ready' if row['ready'] else row['do']}")
    typer.echo("all well" if not report["problems"] else "\n".join(f"PROBLEM: {text}" for text in report["problems"]))
