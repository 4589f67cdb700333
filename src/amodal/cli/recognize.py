"""`amodal recognize`: complete an occluded object, then name it; or measure that on a data set."""

from __future__ import annotations

import itertools
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from .common import (
    AsJson,
    Force,
    Limit,
    ModelOptions,
    Root,
    SampleOptions,
    Split,
    hint,
    new_file,
    print_json,
    progress_bar,
    tell_failures,
    useless,
)
from .prompts import PromptOptions

if TYPE_CHECKING:
    from ..data import Dataset
    from ..downstream.recognition.ranking import Classifier
    from ..pipeline import Model


class ClassifierName(str, Enum):
    """What names the object."""

    embedded = "embedded"
    clip = "clip"


Labels = Annotated[
    str | None,
    typer.Option(help="coco (80 names), a file with one label a line, or cat,dog,cup; default: all of ImageNet."),
]
Views = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        help="photo, circle, visible, completed, visible-crop, completed-crop [default]; several with commas or by "
        "repeating it; or all.",
    ),
]
Judge = Annotated[
    ClassifierName | None,
    typer.Option(
        "--classifier", help="embedded: ImageNet's names; clip: any labels. Default: clip where labels are given."
    ),
]
Clip = Annotated[str, typer.Option("--clip", help="CLIP: fetched name, hub name or folder.")]
Template = Annotated[str, typer.Option(help="The sentence around each label.")]
Top = Annotated[int, typer.Option(min=1, help="How many labels to print.")]
Data = Annotated[str | None, typer.Option("--dataset", help="Measure top-1 and top-3 accuracy on a data set instead.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the rows here.")]


def recognize(
    asked: PromptOptions = PromptOptions(),
    labels: Labels = None,
    classifier: Judge = None,
    view: Views = None,
    clip: Clip = "clip",
    template: Template = "a photo of a {}",
    top: Top = 3,
    model: ModelOptions = ModelOptions(),
    sampling: SampleOptions = SampleOptions(),
    dataset: Data = None,
    root: Root = None,
    split: Split = None,
    limit: Limit = None,
    output: Output = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Name an occluded object: complete it, then ask a classifier which label fits."""
    from ..core.files import write_json
    from ..downstream.recognition.recognition import check_views

    views = check_views(",".join(view or ["completed-crop"]))
    if (asked.image is None) == (dataset is None):
        raise UsageError("give either a photo with a prompt, or --dataset NAME --root DIR")
    if dataset is None:
        useless("without --dataset", "root", "split", "limit")
    else:
        useless("with --dataset, whose masks are given", "point", "box", "mask", "top")
    new_file(output, force, ".json")
    recognizer = judge(classifier, labels, clip, template, model.device)
    chosen = model.load()
    if dataset is None:
        content, lines = on_photo(recognizer, chosen, asked, views, sampling, top)
    else:
        from ..data import dataset as open_data

        if root is None:
            raise UsageError(f"--dataset {dataset} needs its folder: --root DIR")
        data = open_data(dataset, root, split, skip_bad=True)
        content, lines = on_data(recognizer, chosen, data, limit, views, sampling)
    if output is not None:
        write_json(output, content, overwrite=force)
    print_json(content) if as_json else typer.echo("\n".join(lines))
    if dataset is None:
        hint(f"{content['occlusion_rate']:.0%} of the object is occluded")
        return
    hint(f"{content['objects']} objects, {len(content['failures'])} failed, {len(content['skipped'])} bad entries")
    tell_failures(content["failures"])
    if content["skipped"]:
        raise typer.Exit(3)


def judge(name: ClassifierName | None, labels: str | None, clip: str, template: str, device: str) -> Classifier:
    """The classifier: embedded unless CLIP is named or labels are given."""
    from ..downstream.recognition.embedded import EmbeddedClassifier
    from ..downstream.recognition.labels import read_labels

    chosen = read_labels(labels) if labels is not None else None
    if name is ClassifierName.embedded or (name is None and chosen is None):
        useless("with the embedded classifier; --classifier clip reads it", "clip", "template")
        return EmbeddedClassifier(chosen)
    from ..downstream.recognition.clip import Recognizer

    return Recognizer(chosen or read_labels("coco"), clip, template=template, device=device)


def on_photo(
    recognizer: Classifier, model: Model, asked: PromptOptions, views: list[str], sampling: SampleOptions, top: int
) -> tuple[dict[str, Any], list[str]]:
    """One object of one photo, JSON-ready and as lines."""
    from ..downstream.recognition.recognition import recognize as work

    picture, prompt = asked.read()
    with progress_bar(str(asked.image)) as progress:
        rankings, completion = work(
            model,
            recognizer,
            picture,
            prompt,
            views=views,
            samples=sampling.samples,
            seed=sampling.seed,
            progress=progress,
        )
    best = {name: ranking.top(top) for name, ranking in rankings.items()}
    content = {
        "image": str(asked.image),
        "occlusion_rate": round(completion.occlusion_rate, 6),
        "views": {
            name: [{"label": label, "probability": round(p, 6)} for label, p in rows] for name, rows in best.items()
        },
        "provenance": completion.provenance,
    }
    lines = [f"{name}: {', '.join(f'{label} {p:.1%}' for label, p in rows)}" for name, rows in best.items()]
    return content, lines


def on_data(
    recognizer: Classifier, model: Model, data: Dataset, limit: int | None, views: list[str], sampling: SampleOptions
) -> tuple[dict[str, Any], list[str]]:
    """Accuracy on a data set, JSON-ready and as lines."""
    from ..data.problems import alike
    from ..downstream.recognition.recognition import evaluate_recognition

    try:
        with progress_bar(data.name) as progress:
            report = evaluate_recognition(
                itertools.islice(data, limit),
                model,
                recognizer,
                views=views,
                predictions=sampling.samples,
                seed=sampling.seed,
                progress=progress,
            )
    finally:
        for text in [*(f"note: {note}" for note in data.notes), *(f"skipped: {each}" for each in alike(data.problems))]:
            hint(text)
    table = report.table(views)
    content = {
        "data": data.to_dict(),
        "model": model.provenance(),
        "labels": len(recognizer.labels),
        "objects": len(report.rows),
        "table": table,
        "rows": report.rows,
        "failures": report.failures,
        "skipped": [str(problem) for problem in data.problems],
        "notes": data.notes,
    }
    rows = [f"{view:16}{row['top1']:8.2f}{row['top3']:8.2f}" for view, row in table.items()]
    return content, [f"{'':16}{'top 1':>8}{'top 3':>8}", *rows]
