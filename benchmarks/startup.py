"""How long `import amodal` and the light commands take, and whether they load torch."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measure import repeat

CASES = {
    "python -c pass": ["-c", "pass"],
    "import amodal": ["-c", "import amodal"],
    "amodal --help": ["-m", "amodal", "--help"],
    "amodal list": ["-m", "amodal", "list"],
}


def run() -> dict[str, object]:
    """Wall seconds per command, from a warm file cache."""
    out: dict[str, object] = {}
    for name, arguments in CASES.items():
        command = [sys.executable, *arguments]
        out[name] = repeat(lambda command=command: subprocess.run(command, capture_output=True, check=True))
    return out
