"""The optional packages: which of them are installed, and the command that installs those that are not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import MissingExtraError, PluginError, reason_of
from .files import read_toml

__all__ = [
    "brought",
    "entry_points",
    "from_checkout",
    "install",
    "load",
    "missing",
    "provider",
    "requirements",
    "told",
    "version_of",
]


def requirements(package: str = "amodal") -> dict[str, dict[str, str | None]]:
    """Extra ("" for the core) to its packages and their versions here; None for those that are not installed."""
    try:
        return _table(metadata.requires(package) or [], package)
    except metadata.PackageNotFoundError:
        return from_checkout() if package == "amodal" else {"": {}}


def brought(table: dict[str, dict[str, str | None]], extra: str) -> dict[str, str | None]:
    """What an extra, or several ("diffusion,scenes"), of a table of `requirements` brings."""
    return {name: version for each in extra.split(",") for name, version in table.get(each, {}).items()}


def _table(lines: list[str], package: str) -> dict[str, dict[str, str | None]]:
    table: dict[str, dict[str, str | None]] = {"": {}}
    for line in lines:
        name = re.match(r"[\w.-]+(\[[\w, -]+\])?", line)
        extra = re.search(r"extra *== *['\"]([\w-]+)['\"]", line)
        if (
            name is None
            or name[0].partition("[")[0] == package
            or ("python_version" in line and sys.version_info >= (3, 11))
        ):
            continue
        table.setdefault(extra[1] if extra else "", {})[name[0]] = version_of(name[0].partition("[")[0])
    return table


def from_checkout() -> dict[str, dict[str, str | None]]:
    """The same from the pyproject.toml of a checkout, which may run without being installed."""
    file = Path(__file__).parents[3] / "pyproject.toml"
    if not file.is_file():
        return {"": {}}
    project = read_toml(file)["project"]
    found = project.get("optional-dependencies", {})
    lines = [*project["dependencies"], *(f"{line}; extra == '{name}'" for name in found for line in found[name])]
    return _table(lines, project["name"])


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def entry_points(group: str) -> Iterable[metadata.EntryPoint]:
    """What installed packages offer under the name of a group; all packages are read once a process."""
    found: Iterable[metadata.EntryPoint] = _offered().select(group=group)
    return found


def provider(point: metadata.EntryPoint) -> str:
    """The package that offers something."""
    return point.dist.name if point.dist is not None else point.value


def load(point: metadata.EntryPoint, what: str) -> Any:
    """What a package offers, imported.

    Args:
        point: the offer.
        what: it is, for the error: "method 'grow'".

    Raises:
        MissingExtraError: a package is missing.
        PluginError: its import fails in any other way.
    """
    try:
        return point.load()
    except ImportError as error:
        raise MissingExtraError(f"{what} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what} of the package {provider(point)} cannot be imported: {type(error).__name__}: {reason_of(error)}"
        ) from error


@cache
def _offered() -> Any:
    return metadata.entry_points()


def install(extra: str, package: str = "amodal", needed: str = "") -> str:
    """The command for what an extra (or several: "diffusion,scenes") brings and is not here. It names the packages themselves, so
    that it works wherever `package` came from: an index, a clone or a file. `needed` stands in where nothing of it is absent."""
    packages = brought(requirements(package), extra)
    absent = (
        [name for name, version in packages.items() if version is None] or [needed] * bool(needed) or list(packages)
    )
    words = " ".join(f'"{name}"' if "[" in name else name for name in absent)
    if not extra:
        return f"pip install {words or package}"
    if not words:  # the package names no requirements of this extra here
        return f'pip install "{package}[{extra}]"'
    named = " and ".join(f'"{each}"' for each in extra.split(","))
    return f"pip install {words}  (the extra{'s' if ',' in extra else ''} {named} of {package})"


def missing(what: str, error: ImportError, extra: str, package: str = "amodal") -> MissingExtraError:
    """The error to raise where `what` ("the client", "training") cannot import a package of `extra`."""
    name = (error.name or str(error)).partition(".")[0]
    return MissingExtraError(f"{what} needs the package {name!r}; run: {install(extra, package, name)}")


def told(error: ImportError) -> MissingExtraError | None:
    """A failed import of anything that an extra brings as the error that says so; None for any other."""
    module = (error.name or "").partition(".")[0].lower().replace("-", "_")
    for extra, packages in requirements().items():
        if extra and module in {name.partition("[")[0].lower().replace("-", "_") for name in packages}:
            return missing("this", error, extra)
    return None
