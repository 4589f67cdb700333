"""How long `import amodal` and the light commands take: wall seconds, and the processor's, which say more on a busy machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.measure import as_installed, repeat

CASES = {
    "python -c pass": ["-c", "pass"],
    "import amodal": ["-c", "import amodal"],
    "amodal --help": ["-m", "amodal", "--help"],
    "amodal list": ["-m", "amodal", "list"],
}


def run() -> dict[str, object]:
    """Seconds per command, from a warm file cache."""
    out: dict[str, object] = {}
    for name, arguments in CASES.items():
        command, cores = [sys.executable, *arguments], []

        def once(command: list[str] = command, cores: list[float] = cores) -> None:
            before = os.times()
            subprocess.run(command, capture_output=True, check=True, env=as_installed())
            after = os.times()
            cores.append(after.children_user + after.children_system - before.children_user - before.children_system)

        out[name] = {**repeat(once), "processor_median_s": round(statistics.median(cores[1:]), 6)}
    return out
