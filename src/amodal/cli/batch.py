"""`amodal batch`: all objects of all photos, resumable, on one machine or on many."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from .common import ModelOptions, RunOptions, Samples, hint, print_json, progress_bar, useless, word

if TYPE_CHECKING:
    from ..engine.output import Output
    from ..engine.worker import Runner, Spec


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
    model: ModelOptions = ModelOptions(),
    samples: Samples = 1,
    seed: Seed = 0,
    cutouts: Cutouts = False,
    workers: RunOptions = RunOptions(),
    gpus: Gpus = 0.0,
    limit: Limit = None,
    largest: Largest = 50,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Complete all objects of all photos. Stopped at any moment, the same command goes on where it was."""
    from ..batch.complete import Complete
    from ..batch.export import write_exports
    from ..batch.plan import read_plan, told
    from ..engine.output import Output
    from ..engine.worker import Spec

    if source.is_dir():
        useless("with a folder of photos", "images", "boxes")
    else:
        prompted = f"with {source.name}, which says what to complete"
        useless(prompted, "largest", *(["boxes"] if source.suffix.lower() != ".json" else []))
    plan = read_plan(source, images, boxes, limit)
    if plan.passed:
        hint(f"{len(plan)} photos{told(plan.passed)}")
    work = {
        "model": model.choice().named().model_dump(),
        "samples": samples,
        "cutouts": cutouts,
        "largest": largest,
    }
    spec = Spec(Complete, {**work, "root": str(plan.root), "device": model.device}, seed)
    runner = workers.runner(gpus)
    # What must be the same for a batch to go on: neither paths, nor device, nor workers.
    same = {"amodal": __version__, "work": "complete", "settings": {**work, "boxes": boxes}, "seed": seed}
    with Output(output, same, plan, digest=plan.digest, overwrite=force) as folder:
        run(folder, spec, runner)
        counts = folder.finish(partial(write_exports, source=plan.coco))
    if as_json:
        print_json({**counts, "output": str(output)})
    hint(f"{counts['done']} objects, {counts['failed']} failed: {output}/shards, {output}/coco.json")
    if counts["failed"]:
        first = next(record for record in folder.records() if record["status"] == "failed")
        hint(f"the first that failed: {str(first['id'])[:100]}: {first['error']}")
    hint(f"next: python -m json.tool --json-lines {word(output / 'shards' / '00000.jsonl')}  shows the records")
    if counts["failed"]:
        raise typer.Exit(3 if counts["done"] else 1)


def run(folder: Output, spec: Spec, runner: Runner) -> None:
    """Do what is missing."""
    total, left = len(folder.rows), folder.left()
    if left < total:
        hint(f"{total - left} of {total} photos are done already; going on")
    if not left:
        return
    with progress_bar("batch") as show:
        for number, (row, results) in enumerate(runner(spec, folder.missing()), total - left + 1):
            folder.add(row, results)
            show("photos", number, total)
