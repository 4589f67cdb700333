"""`python -m benchmarks.ablation --data DIR [--parts PARTS]`: tuning-free with the embedded inpainter, changed part by part.

Runs `amodal evaluate --ablate` and keeps its comparison as `results/ablation.tuning-free.json`, or `results/ablation.PARTS.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from amodal.cli import run
from amodal.core.files import write_json

RESULTS = Path(__file__).parents[1] / "results"
PARTS = "leak,background,area"


def main(arguments: list[str]) -> int:
    """Run the ablation; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with composites_dev")
    parser.add_argument("--limit", type=int, default=60, help="only the first objects")
    parser.add_argument("--parts", default=PARTS, help="what to change: see amodal evaluate --ablate")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = ["evaluate", "--dataset", "masks", "--root", str(given.data / "composites_dev")]
        command += ["--method", "tuning-free", "--ablate", given.parts, "--limit", str(given.limit)]
        code = run([*command, "-o", f"{folder}/run"])
        if code:
            return code
        content = json.loads(Path(folder, "run", "ablation.json").read_text())
    own = "" if given.parts == PARTS else f" --parts {given.parts}"
    command_line = f"python -m benchmarks.ablation --data DIR --limit {given.limit}{own}"
    name = given.parts.replace(",", "-") if own else "tuning-free"
    write_json(given.results / f"ablation.{name}.json", {"command": command_line, **content})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
