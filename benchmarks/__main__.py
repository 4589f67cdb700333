"""`python -m benchmarks [NAME...]`: run benchmarks and keep their results with machine and versions."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.measure import Skip, save


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; returns 1 if one failed."""
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in ("__main__", "measure"))
    runnable = [name for name in known if hasattr(importlib.import_module(f"benchmarks.{name}"), "run")]
    unknown = set(names) - set(runnable)
    if unknown:
        print(f"no benchmark named {', '.join(sorted(unknown))}; all: {', '.join(runnable)}", file=sys.stderr)
        return 2
    for name in names or runnable:
        print(f"{name} ...", flush=True)
        try:
            path = save(name, importlib.import_module(f"benchmarks.{name}").run())
        except Skip as reason:
            print(f"  skipped: {reason}")
            continue
        print(f"  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
