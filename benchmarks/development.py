"""`python -m benchmarks.development --data DIR [METHOD...]`: methods on the development sets; reports go to `results/`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import amodal
from amodal.core.errors import AmodalError
from amodal.core.files import write_json

RESULTS = Path(__file__).parents[1] / "results"
SETS = {"cocoa_demo": ("cocoa", "demo"), "composites_dev": ("masks", None), "bookstore_dev": ("masks", None)}
"""Folder of the development data to reader and split."""


def main(arguments: list[str]) -> int:
    """Evaluate every method on every set, with default options, and write `results/<set>.<method>.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.development", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder with cocoa_demo, composites_dev, bookstore_dev"
    )
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("methods", nargs="*", default=["visible", "hull"])
    given = parser.parse_args(arguments)
    for name in given.sets:
        reader, split = SETS[name]
        data = amodal.dataset(reader, given.data / name, split)
        for method in given.methods:
            try:
                report = amodal.evaluate(amodal.load(method), data)
            except AmodalError as error:
                print(f"{name}, {method}: {error}", file=sys.stderr)
                return 1
            content = {**report.content, "set": name}
            command = f"python -m benchmarks.development --data DIR {method} --sets {name}"
            write_json(RESULTS / f"{name}.{method}.json", {"command": command, **content})
            print(f"{name}, {method}: iou {report['iou']:.4f}, occluded {report['iou_occluded']:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
