"""The batch engine: what it costs beside the bare method, what more workers bring, in processes or on Ray, what kills do.

Sizes are such that all of it takes about two minutes of processor time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import amodal
from amodal.batch.complete import Complete
from amodal.batch.export import write_exports
from amodal.batch.plan import read_plan
from amodal.engine.local import run_local
from amodal.engine.output import Output
from amodal.engine.worker import Spec, seed_of
from benchmarks.measure import side_by_side

DEMO = Path(amodal.__file__).parent / "_demo"
BOXES = [(150, 70, 490, 360), (180, 90, 460, 300), (120, 60, 500, 380), (200, 100, 420, 280)]
OVERHEAD = 4
"""Photos of the batch that runs inside this process."""
KILLS = 8
ENOUGH = 24
"""Photos of a batch that is long against the start of a process."""


def prompts(folder: Path, photos: int) -> Path:
    """Copies of a bundled photo, four objects each."""
    content = (DEMO / "coffee.jpg").read_bytes()
    lines = []
    for number in range(photos):
        name = f"{number:03d}.jpg"
        (folder / name).write_bytes(content)
        lines += [{"image": name, "box": box} for box in BOXES]
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    """All files of a batch."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def overhead(folder: Path) -> dict[str, Any]:
    """The engine (plan, seeds, records, journal, shards, exports) against the same calls in a bare loop, in processor seconds."""
    path = prompts(folder, OVERHEAD)
    rows = read_plan(path)
    spec = Spec(Complete, {"root": str(rows.root), "model": {}})
    model = amodal.load()
    turn = iter(range(1000))

    def engine() -> None:
        with Output(folder / f"out{next(turn)}", {}, rows) as out:
            for row, results in run_local(spec, out.missing()):
                out.add(row, results)
            out.finish(write_exports)

    def bare() -> None:
        for row in rows:
            scene = model.open(amodal.read(rows.root / row.content["image"]))
            things = row.content["objects"]
            scene.complete_all(
                [amodal.Prompt.make(box=thing["given"]["box"]) for thing in things],
                seeds=[seed_of(thing["id"], 0) for thing in things],
                paint=False,
            )

    compared = side_by_side(engine, bare, times=7, clock=time.process_time)
    return {"objects": OVERHEAD * len(BOXES), "engine_over_bare": compared, "overhead": round(compared["ratio"] - 1, 4)}


def start(
    path: Path, out: Path, workers: int, cores: set[int] | None = None, more: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """`amodal batch` as users run it, on some of the cores or all, with `more` options."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "amodal", "batch", str(path), "-o", str(out), "--workers", str(workers), *more]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if cores:
        os.sched_setaffinity(process.pid, cores)
    return process


def workers(folder: Path) -> dict[str, Any]:
    """One worker on one core, two on two, and four of Ray's own local cluster on all cores: the whole command.

    (A worker with two cores for itself uses both: objects of one photo overlap, and the network runs on several threads.)
    """
    path = prompts(folder, ENOUGH)
    ways: dict[str, tuple[int, set[int] | None, list[str]]] = {
        "one": (1, {0}, []),
        "two": (2, {0, 1}, []),
        "ray_four": (4, None, ["--ray", "local"]),
    }
    seconds = {}
    for name, (count, cores, more) in ways.items():
        begin = time.perf_counter()
        assert start(path, folder / name, count, cores, more).wait() == 0
        seconds[name] = time.perf_counter() - begin
    whole = content_of(folder / "one")
    return {
        "photos": ENOUGH,
        "objects": ENOUGH * len(BOXES),
        **{f"{name}_s": round(value, 2) for name, value in seconds.items()},
        "speed_up": round(seconds["one"] / seconds["two"], 3),
        "same_bytes": all(content_of(folder / name) == whole for name in ways),
        "load_average": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
    }


def kills(folder: Path) -> dict[str, Any]:
    """kill -9 at moments drawn from a batch's whole duration, then the same command again, until it is done."""
    path = prompts(folder, 5)
    begin = time.perf_counter()
    assert start(path, folder / "whole", 1).wait() == 0
    duration = time.perf_counter() - begin
    whole = content_of(folder / "whole")
    dice = random.Random(0)
    done = batches = 0
    while done < KILLS:
        out = folder / f"broken{batches}"
        batches += 1
        for _ in range(5):
            process = start(path, out, dice.choice((1, 2)))
            try:
                process.wait(dice.uniform(0.2, 1.0) * duration)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                done += 1
        assert start(path, out, 1).wait() == 0
        assert content_of(out) == whole
    return {"kills": done, "batches": batches, "identical_to_unbroken": True}


def run() -> dict[str, object]:
    """All three."""
    out: dict[str, object] = {"model": amodal.load().provenance()}
    for part in (overhead, workers, kills):
        with tempfile.TemporaryDirectory() as folder:
            out[part.__name__] = part(Path(folder))
    return out
