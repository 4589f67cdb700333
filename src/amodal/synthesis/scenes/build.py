"""Building a data set from 3-D scenes: views over processes, resumable, bad scenes and views listed at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...core.errors import MALFORMED, DataError
from ...core.files import read_bytes, read_json, write_bytes, write_text
from ...data.convert import COCOA_FILE, to_cocoa
from ...data.folder import Folder, FolderWriter, scene_of
from ...engine.local import run_local
from ...engine.store import OtherSettingsError, Store
from ...engine.worker import Result, Row, Runner, Spec
from ...engine.worker import done as finished
from ...geometry.camera import Camera
from ...plugins.protocols import Progress, no_progress
from .config import SPLIT, BuildConfig, SceneConfig, identity
from .stats import statistics, write_statistics
from .view import Stage, camera_record

__all__ = ["BuildReport", "build"]

MADE = ("depth", "failures.txt", "statistics.json", "occlusion.svg", "categories.svg", "images.svg")
"""What lies in the folder beside the splits."""


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        root: the data set's folder.
        views: how many views are done, those of earlier runs included.
        samples: how many objects were kept.
        failures: scenes and views that were left out, one line each.
        notes: what should be known of the truth although nothing is left out, one line each.
        statistics: the paper's table 2 and histogram, JSON-ready.
    """

    root: Path
    views: int = 0
    samples: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)


def build(
    config: BuildConfig,
    root: Path,
    *,
    run: Runner = run_local,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> BuildReport:
    """Build a data set in the project's own format, with a file in COCO-A's layout beside it (amodal masks cut at the frame).

    Args:
        config: scenes and settings.
        root: the folder to make; one subfolder per split if the scenes name splits.
        run: does the views: in this process, a pool, or on Ray, with the same result; each worker opens the scenes it works on.
        overwrite: replace an existing data set.
        progress: told of every view; may raise Cancelled.

    Raises:
        OutputError: the folder holds a data set with other settings, or views of a scene or camera that is another one now.
        DataError: nothing could be built at all.
    """
    report = BuildReport(root)
    read: dict[str, dict[str, Any]] = {}
    plan = make_plan(config, report.failures, read)
    report.notes += [
        alone(scene)
        for scene in config.scene
        if scene.kind != "bop" and read.get(scene.name, {}).get("instances") == 1  # BOP: of its first view
    ]
    spec = Spec(MakeView, {"config": config.model_dump(mode="json")})
    owns = (*earlier_sets(root), *MADE)
    kept = Store(root, identity(config), head="scenes.json", journal="views.jsonl", owns=owns, overwrite=overwrite)
    with ExitStack() as stack:
        store = stack.enter_context(kept)
        writers = {split: stack.enter_context(writer_of(config, split, root, overwrite)) for split in splits(config)}
        views = {record["image_id"]: record for record in store.entries}
        check_unchanged(root, plan, views, read)
        if gone := [name for name, record in views.items() if name not in plan and record["scene"] in read]:
            report.notes.append(
                f"{len(gone)} views (first: {gone[0]}) are of cameras that are no longer there; they stay in the data set"
            )
        rows = [job.row for job in plan.values() if not is_done(job, views.get(job.image_id), writers)]
        for number, (row, (result,)) in enumerate(run(spec, rows) if rows else (), len(plan) - len(rows) + 1):
            scene = plan[row.id].scene
            if error := result.record["error"] or keep(result, writers[scene.split], root):
                report.failures.append(about(scene.name, error))
            else:
                views[row.id] = {**result.record["view"], "read": read.get(scene.name)}
                store.append(views[row.id])
            progress("views", number, len(plan))
    finish(report, [*views.values()], writers, read)
    return report


def finish(
    report: BuildReport,
    records: list[dict[str, Any]],
    splits: Collection[str],
    read: Mapping[str, dict[str, Any]],
) -> None:
    """Say what was done: report, `failures.txt`, COCO-A's layout of each split, statistics. Raises DataError if there is no view."""
    root = report.root
    report.views, report.samples = len(records), sum(record["kept"] for record in records)
    remarks = {f"scene {record['scene']}: {text}" for record in records for text in record["remarks"]}
    report.failures.extend(sorted(remarks))
    report.notes += noted(records)
    write_text(root / "failures.txt", "".join(f"{line}\n" for line in report.failures))
    if not report.views:
        reasons = list(dict.fromkeys(report.failures))
        raise DataError(f"no view could be made: {'; '.join(reasons[:3]) or 'no cameras'}")
    for split in splits:
        to_cocoa(Folder(root / split), root / split, copy=False, overwrite=True)
    report.statistics = statistics({split: root / split for split in splits}, records)
    report.statistics["scenes_read"] = dict(read)
    report.statistics["notes"] = report.notes
    write_statistics(root, report.statistics)


def alone(scene: SceneConfig) -> str:
    """What to note of a scene with one object."""
    more = "; reader.level = 2 makes objects of the nodes below it" if scene.kind == "gltf" else ""
    return f"scene {scene.name}: there is one object, which no other one can hide{more}"


def earlier_sets(root: Path) -> list[str]:
    """The files and folders of the splits of the build that is there: beginning anew may name other splits."""
    head = root / "scenes.json"
    try:
        scenes = read_json(head, DataError)["scene"] if head.is_file() else []
        splits = list(dict.fromkeys(scene["split"] for scene in scenes if re.match(SPLIT, scene["split"])))
    except (DataError, *MALFORMED):
        return []  # the store says what is wrong
    return [str(Path(split, name)) for split in splits for name in ("annotations.json", "images", COCOA_FILE)]


def noted(records: Sequence[dict[str, Any]]) -> list[str]:
    """The notes of the views, each once for a scene, with the number of views that say so. Earlier versions wrote none."""
    counts = Counter(f"scene {record['scene']}: {text}" for record in records for text in record.get("notes", ()))
    return [line if count == 1 else f"{line} ({count} views)" for line, count in sorted(counts.items())]


def is_done(job: Job, view: dict[str, Any] | None, writers: dict[str, FolderWriter]) -> bool:
    """Whether a view is noted, and its picture, if it has one, is still there."""
    return view is not None and (not view["kept"] or writers[job.scene.split].done(job.image_id))


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


def make_plan(config: BuildConfig, failures: list[str], read: dict[str, dict[str, Any]]) -> dict[str, Job]:
    """All views of all scenes that can be opened, by image id; the others are told in `failures`, what was read in `read`."""
    plan: dict[str, Job] = {}
    for scene in config.scene:
        try:
            stage = Stage(config, scene)
            cameras, bad = stage.cameras()
            with suppress(DataError, IndexError):  # a view that cannot be made is told when its turn comes
                read[scene.name] = stage.checksum(cameras[0])
        except DataError as error:
            failures.append(about(scene.name, str(error)))
            continue
        failures.extend(about(scene.name, line) for line in bad)
        for job in (Job(scene, camera) for camera in cameras):
            if plan.setdefault(job.image_id, job) is not job:
                line = f"view {job.camera.name}: another view is named {job.image_id} too; rename a scene or a camera; left out"
                failures.append(about(scene.name, line))
    return plan


def check_unchanged(
    root: Path, plan: Mapping[str, Job], views: Mapping[str, dict[str, Any]], read: Mapping[str, dict[str, Any]]
) -> None:
    """Refuse to go on where views were made of another scene or camera than is there now.

    Views of earlier versions do not tell the scene; a camera may differ by rounding.

    Raises:
        OtherSettingsError: the first difference.
    """
    for name, record in views.items():
        if name not in plan:
            continue
        scene, camera = plan[name].scene.name, plan[name].camera
        before, now = record.get("read"), read.get(scene)
        what = f"the scene {scene}" if before and now and before != now else ""
        for key, value in camera_record(camera).items():
            old, new = np.asarray(record["camera"][key]), np.asarray(value)
            if old.shape != new.shape or not np.allclose(old, new, rtol=1e-9, atol=1e-9):
                what = what or f"the camera of view {name} ({key})"
        if what:
            raise OtherSettingsError(
                f"{what} has changed since {root} was begun, whose views would not belong together; begin anew, or "
                "choose another folder"
            )


def about(scene: str, line: str) -> str:
    """The line, with the scene's name before it unless it begins with that."""
    return (
        line if line.startswith(f"scene {scene} ") or line.startswith(f"scene {scene}:") else f"scene {scene}: {line}"
    )


def splits(config: BuildConfig) -> list[str]:
    """The splits that scenes name, in order; "" for the whole."""
    return list(dict.fromkeys(scene.split for scene in config.scene))


def writer_of(config: BuildConfig, split: str, root: Path, overwrite: bool) -> FolderWriter:
    """The writer of one split."""
    return FolderWriter(
        root / split,
        name=config.name,
        settings=identity(config),
        beyond_frame=config.beyond_frame > 0,
        license=config.license,
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
            depth = {f"depth/{path.name}": read_bytes(path) for path in Path(folder, "depth").glob("*.png")}
        return finished(row, {"scene": scene, "view": view.record}, {**files, **depth})


def keep(result: Result, writer: FolderWriter, root: Path) -> str:
    """Write what a view gave, unless it is there already; depth lies beside the splits. Returns why it cannot be kept, or nothing."""
    scene = result.record["scene"]
    depth = {name: content for name, content in result.files.items() if name.startswith("depth/")}
    if scene is not None and not writer.done(scene["image"]["name"]):
        try:
            writer.put(scene, {name: content for name, content in result.files.items() if name not in depth})
        except DataError as error:  # an object of another view has the name of one of this
            return f"{error}; rename the camera or the object; the view is left out"
    for name, content in depth.items():
        write_bytes(root / name, content)
    return ""
