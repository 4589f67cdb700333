"""Timing and bookkeeping that all benchmarks share."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch", "diffusers", "transformers", "pycocotools")


def as_installed() -> dict[str, str]:
    """The environment of a command that is timed: Python keeps its compiled modules, as `pip install` leaves them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Skip(Exception):
    """The benchmark cannot run here (no GPU, no data); the text says why."""


def repeat(work: Callable[[], Any], times: int = 7, warm_up: int = 1) -> dict[str, float]:
    """Seconds of `work()`: median and spread (lowest, highest) of `times` runs after `warm_up` runs."""
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return {
        "median_s": round(statistics.median(seconds), 6),
        "lowest_s": round(min(seconds), 6),
        "highest_s": round(max(seconds), 6),
        "runs": times,
    }


def report(work: Callable[[], Any]) -> None:
    """Do it in this process and print its seconds, the process's own, its peak memory and what it gives, as one line of JSON."""
    import resource  # not on Windows

    start = time.perf_counter()
    numbers = work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": time.process_time(), "peak_bytes": peak, "numbers": numbers}))


def in_turns(module: str, names: Sequence[str], folder: str, times: int) -> dict[str, list[dict[str, Any]]]:
    """What `child(name, folder)` of a module reports (`report`), each in a process of its own, in turns."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(times):
        for name, runs in rows.items():
            code = f"from {module} import child; child({name!r}, {folder!r})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def side_by_side(
    first: Callable[[], Any], second: Callable[[], Any], times: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Two pieces of work run in turns, so that a slow moment of the machine hits both; `ratio` is first over second.

    `clock` is `time.process_time` where other work shares the machine.
    """
    first(), second()
    pairs = []
    for _ in range(times):
        row = []
        for work in (first, second):
            start = clock()
            work()
            row.append(clock() - start)
        pairs.append(row)
    a, b = (statistics.median(row[i] for row in pairs) for i in (0, 1))
    ratios = sorted(row[0] / row[1] for row in pairs)
    return {
        "first_median_s": round(a, 6),
        "second_median_s": round(b, 6),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_lowest": round(ratios[0], 4),
        "ratio_highest": round(ratios[-1], 4),
        "runs": times,
    }


def machine() -> dict[str, Any]:
    """Processor, cores and versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
        "versions": versions,
    }


def save(name: str, result: dict[str, Any]) -> Path:
    """Write `results/NAME.json`: the result with the machine it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"benchmark": name, "machine": machine(), "result": result}, indent=1) + "\n")
    return path
