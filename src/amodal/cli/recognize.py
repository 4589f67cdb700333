"""`amodal recognize`: complete an occluded object, then name it with CLIP; or measure that on a data set."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .common import (
    AsJson,
    Device,
    InpainterName,
    Limit,
    MethodName,
    Root,
    Samples,
    Seed,
    SegmenterName,
    Settings,
    Split,
    hint,
    load_model,
    print_json,
    progress,
    split_settings,
)
from .prompts import Boxes, MaskFile, Picture, Points, one_prompt

if TYPE_CHECKING:
    from ..downstream.clip import Recognizer
    from ..pipeline import Model

__all__ = ["register"]

Labels = Annotated[str, typer.Option(help="coco (80 names), a file with one label a line, or cat,dog,cup.")]
Views = Annotated[str, typer.Option("--view", help="completed, visible, circle, photo; several with commas; or all.")]
Clip = Annotated[str, typer.Option("--clip", help="CLIP: fetched name, hub name or folder.")]
Template = Annotated[str, typer.Option(help="The sentence around each label.")]
Top = Annotated[int, typer.Option(min=1, help="How many labels to print.")]
Data = Annotated[str | None, typer.Option("--dataset", help="Measure top-1 and top-3 accuracy on a data set instead.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the rows here.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("recognize")(recognize)


def recognize(
    image: Picture = None,
    point: Points = None,
    box: Boxes = None,
    mask: MaskFile = None,
    labels: Labels = "coco",
    view: Views = "completed",
    clip: Clip = "clip",
    template: Template = "a photo of a {}",
    top: Top = 3,
    method: MethodName = None,
    inpainter: InpainterName = None,
    segmenter: SegmenterName = None,
    samples: Samples = 1,
    seed: Seed = 0,
    settings: Settings = None,
    dataset: Data = None,
    root: Root = None,
    split: Split = None,
    limit: Limit = None,
    device: Device = "auto",
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Name an occluded object: complete it, then ask CLIP which label fits."""
    from ..downstream.clip import Recognizer
    from ..downstream.labels import read_labels
    from ..downstream.recognition import check_views

    views = check_views(view)
    if (image is None) == (dataset is None):
        raise UsageError("give either a photo with a prompt, or --dataset NAME --root DIR")
    recognizer = Recognizer(read_labels(labels), clip, template=template, device=device)
    model = load_model(method, inpainter, segmenter, device, split_settings(settings or []))
    if dataset is not None:
        where = (dataset, root, split, limit)
        on_data(recognizer, model, where, views, (samples, seed), output, as_json)
        return
    assert image is not None
    content = on_photo(recognizer, model, image, (point, box, mask), views, (samples, seed, top))
    if output is not None:
        from ..files import write_json

        write_json(output, content)
    if as_json:
        print_json(content)
    else:
        for name, best in content["views"].items():
            ranked = ", ".join(f"{row['label']} {row['probability']:.1%}" for row in best)
            typer.echo(f"{name}: {ranked}")
    hint(f"{content['occlusion_rate']:.0%} of the object is occluded")


def on_photo(
    recognizer: Recognizer,
    model: Model,
    path: Path,
    prompt: tuple[list[str] | None, list[str] | None, Path | None],
    views: list[str],
    how: tuple[int, int, int],
) -> dict[str, Any]:
    """One object of one photo, JSON-ready."""
    from ..downstream.recognition import recognize as work
    from ..image import read

    picture = read(path)
    asked = one_prompt(picture, *prompt)
    samples, seed, top = how
    with progress(path.name) as tick:
        rankings, completion = work(
            model, recognizer, picture, asked, views=views, samples=samples, seed=seed, tick=tick
        )
    return {
        "image": str(path),
        "occlusion_rate": round(completion.occlusion_rate, 6),
        "views": {
            name: [{"label": label, "probability": round(p, 6)} for label, p in ranking.top(top)]
            for name, ranking in rankings.items()
        },
        "provenance": completion.provenance,
    }


def on_data(
    recognizer: Recognizer,
    model: Model,
    where: tuple[str, Path | None, str | None, int | None],
    views: list[str],
    how: tuple[int, int],
    output: Path | None,
    as_json: bool,
) -> None:
    """Accuracy on a data set."""
    from ..data import dataset
    from ..downstream.recognition import evaluate_recognition
    from ..files import write_json

    name, root, split, limit = where
    if root is None:
        raise UsageError(f"--dataset {name} needs its folder: --root DIR")
    data = dataset(name, root, split, skip_bad=True)
    with progress(name) as tick:
        report = evaluate_recognition(
            itertools.islice(data, limit), model, recognizer, views=views, guesses=how[0], seed=how[1], tick=tick
        )
    content = {
        "data": data.to_dict(),
        "model": model.provenance(),
        "objects": len(report.rows),
        "table": report.table(views),
        "rows": report.rows,
        "failures": report.failures,
    }
    if output is not None:
        write_json(output, content)
    if as_json:
        print_json(content)
    else:
        typer.echo(f"{'':12}{'top 1':>8}{'top 3':>8}")
        for view, row in report.table(views).items():
            typer.echo(f"{view:12}{row['top1']:8.2f}{row['top3']:8.2f}")
    hint(f"{len(report.rows)} objects, {len(report.failures)} failed")
    for failure in report.failures[:5]:
        hint(f"amodal: {failure}")
    if report.failures:
        raise typer.Exit(3)
