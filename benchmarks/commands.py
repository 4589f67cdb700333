"""`python -m benchmarks commands`: how long each command takes on the sample set, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Skip, as_installed

COMMANDS = {
    "amodal --version": "start",
    "amodal segment photo.jpg --point 290,60 --force": "one object, its files written",
    "amodal segment photo.jpg --box 150,70,490,360 --box 170,15,415,310 --force": "two objects of one photo",
    "amodal layers photo.jpg --force": "a photo taken apart: all objects that are found",
    "amodal order photo.jpg --masks masks/": "who hides whom among three objects",
    "amodal batch prompts.jsonl -o named --force": "three objects of two photos",
    "amodal batch instances.json --images photos/ -o marked --force": "35 objects of eight photos",
    "amodal recognize photo.jpg --point 290,60": "name an object",
    "amodal views photo.jpg --point 290,60 -o views --force": "look at it from around",
    "amodal reconstruct photo.jpg --point 290,60 -o lifted --force": "lift it to 3-D",
    "amodal evaluate --method embedded --dataset masks --root data/composites_dev -o runs/one --force": "measure 24 objects",
    "amodal data build scenes room.toml -o rooms --force": "eight views of a scene, rendered with truth",
    "amodal data sample sample": "write the sample set",
}
"""Command to what it does."""


def run() -> dict[str, Any]:
    """Processor seconds of each command, with its start."""
    from amodal.synthesis.sample import write_sample

    if not hasattr(os, "wait4"):
        raise Skip("the processor time of a child process is not told here")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "sample"
        write_sample(root)
        for command, what in COMMANDS.items():
            seconds = measure(command, root)
            rows.append({"command": command, "what": what, "processor_s": round(seconds, 2)})
            print(f"  {seconds:6.2f} s  {command}", flush=True)
    return {"rows": rows}


def measure(command: str, root: Path) -> float:
    """Processor seconds of one run. Raises Skip where it fails."""
    quiet = {"cwd": root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": as_installed()}
    process = subprocess.Popen([sys.executable, "-m", "amodal", *command.split()[1:]], **quiet)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Skip(f"{command} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
