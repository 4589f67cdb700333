"""`python -m benchmarks.ablation --data DIR`: tuning-free with the embedded inpainter on composites, part by part taken away.

Runs `amodal evaluate --ablate` and keeps its comparison as `results/ablation.tuning-free.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from amodal.cli import run
from amodal.files import write_json

RESULT = Path(__file__).parents[1] / "results" / "ablation.tuning-free.json"


def main(arguments: list[str]) -> int:
    """Run the ablation; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with composites_dev")
    parser.add_argument("--limit", type=int, default=60, help="only the first objects")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = ["evaluate", "--dataset", "masks", "--root", str(given.data / "composites_dev")]
        command += ["--method", "tuning-free", "--ablate", "leak,background,area", "--limit", str(given.limit)]
        code = run([*command, "-o", f"{folder}/run"])
        if code:
            return code
        content = json.loads(Path(folder, "run", "ablation.json").read_text())
    write_json(RESULT, {"command": f"python -m benchmarks.ablation --data DIR --limit {given.limit}", **content})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
