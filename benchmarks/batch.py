"""The batch engine: what it costs beside the bare method, what a second worker brings, what kills do."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
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
KILLS = 20


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
    path = prompts(folder, 6)
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

    compared = side_by_side(engine, bare, times=9, clock=time.process_time)
    return {"objects": 6 * len(BOXES), "engine_over_bare": compared, "overhead": round(compared["ratio"] - 1, 4)}


def start(path: Path, out: Path, workers: int, cores: set[int] | None = None) -> subprocess.Popen[bytes]:
    """`amodal batch` as users run it, on some of the cores or all."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "amodal", "batch", str(path), "-o", str(out), "--workers", str(workers)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if cores:
        os.sched_setaffinity(process.pid, cores)
    return process


def workers(folder: Path) -> dict[str, Any]:
    """One worker on one core and two on two, the whole command, on a batch that is long against the start of a process.

    (A worker with two cores for itself uses both: objects of one photo overlap, and the network runs on several threads.)
    """
    path = prompts(folder, 60)
    seconds = {}
    for count in (1, 2):
        begin = time.perf_counter()
        assert start(path, folder / f"out{count}", count, set(range(count))).wait() == 0
        seconds[count] = time.perf_counter() - begin
    same = content_of(folder / "out1") == content_of(folder / "out2")
    busy = os.getloadavg()[0]
    return {
        "objects": 60 * len(BOXES),
        "one_s": round(seconds[1], 2),
        "two_s": round(seconds[2], 2),
        "speed_up": round(seconds[1] / seconds[2], 3),
        "same_bytes": same,
        "load_average": round(busy, 2),
        "cores": os.cpu_count(),
    }


def kills(folder: Path) -> dict[str, Any]:
    """kill -9 at moments drawn from a batch's whole duration, then the same command again, until it is done."""
    path = prompts(folder, 12)
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
