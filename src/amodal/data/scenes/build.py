"""Building a data set from 3-D scenes: views over processes, resumable, bad scenes and views listed at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ...errors import AmodalError, DataError, OutputError
from ...files import write_json, write_text
from ...protocols import Tick, no_tick
from ..folder import FolderWriter
from .config import BuildConfig, SceneConfig, identity
from .scene import Camera
from .stats import histogram_svg, statistics
from .view import Stage, ViewResult

__all__ = ["BuildReport", "build"]


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        root: the data set's folder.
        views: how many views are done, those of earlier runs included.
        samples: how many objects were kept.
        failures: scenes and views that were left out, one line each.
        statistics: the paper's table 2 and histogram, JSON-ready.
    """

    root: Path
    views: int = 0
    samples: int = 0
    failures: list[str] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)


def build(
    config: BuildConfig,
    root: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    tick: Tick = no_tick,
) -> BuildReport:
    """Build a data set in the project's own format.

    Args:
        config: scenes and settings.
        root: the folder to make; one subfolder per split if the scenes name splits.
        workers: processes; each opens the scenes it works on.
        resume: go on with a build that was stopped.
        overwrite: replace an existing data set.
        tick: told of every view; may raise Cancelled.

    Raises:
        OutputError: the folder holds a data set already.
        DataError: nothing could be built at all.
    """
    report = BuildReport(root)
    work = root / ".work"
    journal = Journal(root / "views.jsonl", identity(config), resume, overwrite)
    plan = list(make_plan(config, report.failures))
    todo = [job for job in plan if not journal.done(job.image_id)]
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(writer_of(config, split, root, resume, overwrite)) for split in splits(config)
        }
        stack.callback(journal.close)
        for number, (job, result) in enumerate(run(config, todo, work, workers), 1):
            if isinstance(result, str):
                report.failures.append(result)
            else:
                writer = writers[job.scene.split]
                if result.samples and not writer.done(job.image_id):
                    writer.add(result.samples)
                journal.add(result.record)
                forget(result, work)
            tick("views", len(plan) - len(todo) + number, len(plan))
    if (work / "depth").is_dir():
        shutil.copytree(work / "depth", root / "depth", dirs_exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    report.views, report.samples = len(journal.records), sum(record["kept"] for record in journal.records)
    remarks = {f"scene {record['scene']}: {text}" for record in journal.records for text in record["remarks"]}
    report.failures.extend(sorted(remarks))
    write_text(root / "failures.txt", "".join(f"{line}\n" for line in report.failures))
    if not report.views:
        raise DataError(f"no view could be made: {'; '.join(report.failures[:3]) or 'no cameras'}")
    report.statistics = statistics({split: root / split for split in writers}, journal.records)
    write_json(root / "statistics.json", report.statistics)
    write_text(root / "occlusion.svg", histogram_svg(report.statistics))
    return report


@dataclass(frozen=True)
class Job:
    """One view to make."""

    scene: SceneConfig
    camera: Camera

    @property
    def image_id(self) -> str:
        """Unique in the data set."""
        return f"{self.scene.name}-{self.camera.name}"


def make_plan(config: BuildConfig, failures: list[str]) -> Iterator[Job]:
    """All views of all scenes that can be opened; the others are told in `failures`."""
    for scene in config.scene:
        try:
            cameras, bad = Stage(config, scene).cameras()
        except DataError as error:
            failures.append(f"scene {scene.name}: {error}")
            continue
        failures.extend(f"scene {scene.name}: {line}" if scene.name not in line else line for line in bad)
        yield from (Job(scene, camera) for camera in cameras)


def splits(config: BuildConfig) -> list[str]:
    """The splits that scenes name, in order; "" for the whole."""
    return list(dict.fromkeys(scene.split for scene in config.scene))


def writer_of(config: BuildConfig, split: str, root: Path, resume: bool, overwrite: bool) -> FolderWriter:
    """The writer of one split."""
    return FolderWriter(
        root / split,
        name=config.name,
        settings=identity(config),
        beyond_frame=config.beyond_frame > 0,
        licence=config.licence,
        resume=resume,
        overwrite=overwrite,
    )


def run(config: BuildConfig, jobs: list[Job], work: Path, workers: int) -> Iterator[tuple[Job, ViewResult | str]]:
    """Each job with its result, or with one line on what went wrong."""
    if workers <= 1 or len(jobs) <= 1:
        bench = Bench(config, work)
        for job in jobs:
            yield job, bench.make(job)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=start_worker, initargs=(config, work))
    try:
        futures = {pool.submit(work_on, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died (out of memory?); run again with --resume and fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


class Bench:
    """Makes views; keeps the last scene open."""

    def __init__(self, config: BuildConfig, work: Path) -> None:
        self.config, self.work = config, work
        self.stages: dict[str, Stage] = {}

    def make(self, job: Job) -> ViewResult | str:
        """One view, or one line on what went wrong."""
        try:
            if job.scene.name not in self.stages:
                self.stages = {job.scene.name: Stage(self.config, job.scene)}
            return self.stages[job.scene.name].view(job.camera, self.work)
        except OutputError:
            raise
        except AmodalError as error:
            return f"scene {job.scene.name}: {error}"


worker: Bench | None = None
"""The bench of a worker process."""


def start_worker(config: BuildConfig, work: Path) -> None:
    """Called once in each worker process."""
    global worker  # noqa: PLW0603  the pool gives no other place for a process's own state
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    worker = Bench(config, work)


def work_on(job: Job) -> ViewResult | str:
    """Called in a worker process for each view."""
    assert worker is not None
    return worker.make(job)


def forget(result: ViewResult, work: Path) -> None:
    """Remove the picture from the working folder once it is in the data set."""
    for sample in result.samples[:1]:
        if isinstance(sample.picture, Path) and sample.picture.parent == work:
            sample.picture.unlink(missing_ok=True)


class Journal:
    """`views.jsonl`: one line for the settings, one for each finished view (also for views without a kept object)."""

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool, overwrite: bool) -> None:
        self.records: list[dict[str, Any]] = []
        if path.exists() and not resume and not overwrite:
            raise OutputError(
                f"{path} exists already; add --resume to go on with it, --force to replace it, or choose another folder"
            )
        head = json.dumps({"settings": settings}, sort_keys=True)
        whole = path.read_text(encoding="utf-8").split("\n")[:-1] if resume and path.exists() else []
        if whole and whole[0] != head:
            raise OutputError(
                f"{path.parent} was built with other settings; use the same ones or choose another folder"
            )
        self.records = [json.loads(line) for line in whole[1:]]
        self._done = {record["image_id"] for record in self.records}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(f"{line}\n" for line in (whole or [head])))
        self._file = path.open("a", encoding="utf-8")

    def done(self, image_id: str) -> bool:
        """Whether this view is finished."""
        return image_id in self._done

    def add(self, record: dict[str, Any]) -> None:
        """Note a finished view."""
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()
        self.records.append(record)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
