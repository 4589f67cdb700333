"""`python -m benchmarks.datasets NAME[/SPLIT]=DIR...`: what our readers count in data sets; to `results/datasets.json`.

A set that was counted before stays as it was, so that one can be added where the others are not at hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import amodal
from amodal.core.files import read_json, write_json
from amodal.data.check import statistics

FILE = Path(__file__).parents[1] / "results" / "datasets.json"
KEPT = ("images", "objects", "stuff", "bad_entries", "occlusion_percent")


def count(name: str, split: str | None, root: Path) -> dict[str, Any]:
    """Images, objects and categories of a set, and its objects by share occluded."""
    found = statistics(amodal.dataset(name, root, split))
    categories = [each for each in found["categories"] if each != "(none)"]
    return {"reader": name, "split": split, **{key: found[key] for key in KEPT}, "categories": len(categories)}


def main(arguments: list[str], file: Path = FILE) -> int:
    """Count, and write."""
    if not arguments or any("=" not in each for each in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    sets: dict[str, Any] = read_json(file, ValueError)["sets"] if file.exists() else {}
    for each in arguments:
        what, _, root = each.partition("=")
        name, _, split = what.partition("/")
        sets[Path(root).name if name in ("masks", "folder") else what] = count(name, split or None, Path(root))
    command = "python -m benchmarks.datasets cocoa/demo=DIR/cocoa_demo masks=DIR/composites_dev masks=DIR/bookstore_dev"
    write_json(file, {"command": command, "sets": sets})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
