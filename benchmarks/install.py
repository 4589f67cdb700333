"""`python -m benchmarks install`: how large what each extra brings is, as it is installed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from benchmarks.measure import Skip


def run() -> dict[str, Any]:
    """Bytes of the light install, and of what each extra adds to it; dependencies included."""
    from amodal.core.extras import requirements

    declared = requirements()
    light = together(list(declared[""]))
    sizes = {"": sum(light.values())}
    for extra, packages in declared.items():
        if extra and None not in packages.values():
            added = together(list(packages))
            sizes[extra] = sum(size for name, size in added.items() if name not in light)
    return {"bytes": sizes, "torch": distribution("torch").version}


def together(names: list[str]) -> dict[str, int]:
    """Bytes of packages and of all that they need, by name. Raises Skip: one is not installed."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    sizes: dict[str, int] = {}
    todo = [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in sizes:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError as error:
            raise Skip(f"{name} is not installed") from error
        files = [found.locate_file(file) for file in found.files or ()]
        sizes[name] = sum(file.stat().st_size for file in files if file.is_file())  # type: ignore[attr-defined]
        needed = [Requirement(text) for text in found.requires or ()]
        extras = ["", *wanted.extras]
        todo += [
            each for each in needed if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras)
        ]
    return sizes
