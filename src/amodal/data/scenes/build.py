"""Building a data set from 3-D scenes: views over processes, resumable, bad scenes and views listed at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import DataError, OutputError
from ...files import write_bytes, write_json, write_text
from ...protocols import Tick, no_tick
from ...scale.local import run_local
from ...scale.worker import Result, Row, Runner, Spec
from ...scale.worker import done as finished
from ..convert import to_cocoa
from ..folder import Folder, FolderWriter, scene_of
from .config import BuildConfig, SceneConfig, identity
from .scene import Camera
from .stats import histogram_svg, statistics
from .view import Stage

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
    run: Runner = run_local,
    resume: bool = False,
    overwrite: bool = False,
    tick: Tick = no_tick,
) -> BuildReport:
    """Build a data set in the project's own format, with a file in COCO-A's layout beside it (amodal masks cut at the frame).

    Args:
        config: scenes and settings.
        root: the folder to make; one subfolder per split if the scenes name splits.
        run: does the views: in this process, a pool, or on Ray, with the same result; each worker opens the scenes it works on.
        resume: go on with a build that was stopped.
        overwrite: replace an existing data set.
        tick: told of every view; may raise Cancelled.

    Raises:
        OutputError: the folder holds a data set already.
        DataError: nothing could be built at all.
    """
    report = BuildReport(root)
    journal = Journal(root / "views.jsonl", identity(config), resume, overwrite)
    plan = {job.image_id: job for job in make_plan(config, report.failures)}
    rows = [job.row for job in plan.values() if not journal.done(job.image_id)]
    spec = Spec("amodal.data.scenes.build:MakeView", {"config": config.model_dump(mode="json")})
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(writer_of(config, split, root, resume, overwrite)) for split in splits(config)
        }
        stack.callback(journal.close)
        for number, (row, (result,)) in enumerate(run(spec, rows) if rows else (), len(plan) - len(rows) + 1):
            scene = plan[row.id].scene
            if result.record["error"] is not None:
                report.failures.append(about(scene.name, result.record["error"]))
            else:
                keep(result, writers[scene.split], root)
                journal.add(result.record["view"])
            tick("views", number, len(plan))
    report.views, report.samples = len(journal.records), sum(record["kept"] for record in journal.records)
    remarks = {f"scene {record['scene']}: {text}" for record in journal.records for text in record["remarks"]}
    report.failures.extend(sorted(remarks))
    write_text(root / "failures.txt", "".join(f"{line}\n" for line in report.failures))
    if not report.views:
        raise DataError(f"no view could be made: {'; '.join(report.failures[:3]) or 'no cameras'}")
    for split in writers:
        to_cocoa(Folder(root / split), root / split, copy=False, overwrite=True)
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

    @property
    def row(self) -> Row:
        """For the engine."""
        return Row(self.image_id, {"scene": self.scene.name, "camera": self.camera.to_dict()})


def make_plan(config: BuildConfig, failures: list[str]) -> Iterator[Job]:
    """All views of all scenes that can be opened; the others are told in `failures`."""
    for scene in config.scene:
        try:
            cameras, bad = Stage(config, scene).cameras()
        except DataError as error:
            failures.append(about(scene.name, str(error)))
            continue
        failures.extend(about(scene.name, line) for line in bad)
        yield from (Job(scene, camera) for camera in cameras)


def about(scene: str, line: str) -> str:
    """The line, with the scene's name before it unless it begins with that."""
    return (
        line if line.startswith(f"scene {scene} ") or line.startswith(f"scene {scene}:") else f"scene {scene}: {line}"
    )


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


class MakeView:
    """A camera to its picture, objects and depth; keeps the last scene open."""

    def __init__(self, config: dict[str, Any]) -> None:
        """
        Args:
            config: of `BuildConfig`, with absolute paths.
        """
        self.config = BuildConfig.model_validate(config)
        self.scenes = {scene.name: scene for scene in self.config.scene}
        self.stages: dict[str, Stage] = {}

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        name = row.content["scene"]
        if name not in self.stages:
            self.stages = {name: Stage(self.config, self.scenes[name])}
        with TemporaryDirectory() as folder:
            view = self.stages[name].view(Camera.from_dict(row.content["camera"]), Path(folder))
            scene, files = scene_of(view.samples) if view.samples else (None, {})
            depth = {f"depth/{path.name}": path.read_bytes() for path in Path(folder, "depth").glob("*.png")}
        return finished(row, {"scene": scene, "view": view.record}, {**files, **depth})


def keep(result: Result, writer: FolderWriter, root: Path) -> None:
    """Write what a view gave, unless it is there already; depth lies beside the splits."""
    scene = result.record["scene"]
    depth = {name: content for name, content in result.files.items() if name.startswith("depth/")}
    for name, content in depth.items():
        write_bytes(root / name, content)
    if scene is not None and not writer.done(scene["image"]["name"]):
        writer.put(scene, {name: content for name, content in result.files.items() if name not in depth})


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
