"""`amodal batch`: all objects of all photos, resumable, on one machine or on many."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OutputError
from .common import (
    Device,
    InpainterName,
    MethodName,
    RayAddress,
    Samples,
    SegmenterName,
    Settings,
    Workers,
    choose_runner,
    hint,
    print_json,
    split_settings,
)

if TYPE_CHECKING:
    from ..scale.output import Output
    from ..scale.worker import Runner, Spec


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("batch")(batch)


Source = Annotated[Path, typer.Argument(metavar="PHOTOS|PROMPTS", help="A folder, PROMPTS.jsonl, or a COCO .json.")]
Output_ = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
Images = Annotated[Path | None, typer.Option(help="Folder that image names start from [that of PROMPTS].")]
Boxes = Annotated[bool, typer.Option("--boxes", help="Prompt by the boxes of a COCO file even where it has masks.")]
Seed = Annotated[int, typer.Option(help="Each object's seed comes from it and the object's id.")]
Cutouts = Annotated[bool, typer.Option("--cutouts", help="Write the RGBA picture of every object too.")]
Gpus = Annotated[float, typer.Option(min=0, help="With --ray: GPUs per actor.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many photos.")]
Largest = Annotated[int, typer.Option(min=1, help="Without prompts: at most so many objects a photo.")]
Force = Annotated[bool, typer.Option("--force", help="Begin anew: delete the batch that is in the folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]


def batch(
    source: Source,
    output: Output_,
    images: Images = None,
    boxes: Boxes = False,
    method: MethodName = None,
    inpainter: InpainterName = None,
    segmenter: SegmenterName = None,
    samples: Samples = 1,
    seed: Seed = 0,
    settings: Settings = None,
    device: Device = "auto",
    cutouts: Cutouts = False,
    workers: Workers = 1,
    ray: RayAddress = None,
    gpus: Gpus = 0.0,
    limit: Limit = None,
    largest: Largest = 50,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Complete all objects of all photos. Stopped at any moment, the same command goes on where it was."""
    from ..scale.output import Output
    from ..scale.plan import read_plan
    from ..scale.worker import Spec

    root, rows = read_plan(source, images, boxes)
    rows = rows[:limit]
    parts = split_settings(settings or [])
    model = model_arguments(method, inpainter, segmenter, parts)
    how = {"model": model, "samples": samples, "cutouts": cutouts, "largest": largest}
    spec = Spec(
        "amodal.scale.complete:Complete", {"root": str(root), **how, "model": {**model, "device": device}}, seed
    )
    runner = choose_runner(workers, ray, gpus)
    if force:
        remove_batch(output)
    with Output(output, plan_of(how, seed), rows) as folder:
        run(folder, spec, runner)
        counts = folder.finish()
    if as_json:
        print_json({**counts, "output": str(output)})
    hint(f"{counts['done']} objects, {counts['failed']} failed: {output}/shards, {output}/coco.json")
    hint(f"next: python -c \"import pandas; print(pandas.read_json('{output}/shards/00000.jsonl', lines=True))\"")
    if counts["failed"]:
        raise typer.Exit(3 if counts["done"] else 1)


def model_arguments(
    method: str | None, inpainter: str | None, segmenter: str | None, parts: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """The arguments of `amodal.load`, the names of the defaults written out: a batch goes on with what it began with."""
    from .. import registry

    method = method or registry.DEFAULTS["methods"]
    chosen = {
        "method": method,
        "inpainter": inpainter or registry.default_inpainter(method),
        "segmenter": segmenter or registry.DEFAULTS["segmenters"],
    }
    for part, name in chosen.items():
        registry.check(f"{part}s", name, parts[part])  # wrong use shows before any worker starts
    return {
        **chosen,
        "options": parts["method"],
        "inpainter_options": parts["inpainter"],
        "segmenter_options": parts["segmenter"],
    }


def plan_of(how: dict[str, Any], seed: int) -> dict[str, Any]:
    """What must be the same for a batch to go on; neither paths, nor device, nor workers."""
    from .. import __version__

    return {"amodal": __version__, "work": "complete", "settings": how, "seed": seed}


def run(folder: Output, spec: Spec, runner: Runner) -> None:
    """Do what is missing, with a bar on a terminal."""
    missing = folder.missing()
    before = len(folder.rows) - len(missing)
    if before:
        hint(f"{before} of {len(folder.rows)} photos are done already; going on")
    if not missing:
        return
    with bar(len(folder.rows), before) as show:
        for row, results in runner(spec, missing):
            folder.add(row, results)
            show(len(results), sum(result.record["status"] == "failed" for result in results))


def remove_batch(folder: Path) -> None:
    """Delete a batch's own files, and nothing that is not a batch."""
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / "plan.json").exists():
        raise OutputError(f"{folder} is not a batch (it has no plan.json); choose another folder with -o")
    for name in ("shards", "cutouts"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("manifest.json", "coco.json", "objects.parquet", "journal.jsonl", "plan.json"):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def bar(total: int, before: int) -> Iterator[Callable[[int, int], None]]:
    """Photos done, objects per second, failures and time left, on stderr and only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda objects, failures: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("photos  {task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=total, completed=before)
        start, objects, failures = time.perf_counter(), 0, 0

        def show(more: int, bad: int) -> None:
            nonlocal objects, failures
            objects, failures = objects + more, failures + bad
            speed = objects / (time.perf_counter() - start)
            bars.update(task, advance=1, description=f"{speed:.1f} objects/s  {failures} failed")

        yield show
