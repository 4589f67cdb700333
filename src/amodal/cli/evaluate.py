"""`amodal evaluate` and `amodal compare`: methods and predictions measured on data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ..errors import OutputError, UsageError
from ..options import parse_settings
from .common import (
    AsJson,
    DataRoot,
    Device,
    Force,
    InpainterName,
    Limit,
    RayAddress,
    Resume,
    Seed,
    SegmenterName,
    SkipBad,
    Split,
    Workers,
    choose_runner,
    hint,
    load_arguments,
    print_json,
    progress,
    split_settings,
)

if TYPE_CHECKING:
    from ..data import Dataset
    from ..evaluation import Report

__all__ = ["register"]

MethodName = Annotated[str | None, typer.Option(help="See: amodal list methods. Default: that of amodal segment.")]
DataName = Annotated[str, typer.Option("--dataset", help="See: amodal list datasets.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of the method, or inpainter.KEY, segmenter.KEY, data.KEY."),
]
Samples = Annotated[int, typer.Option(min=1, max=256, help="Guesses per object; their majority is scored.")]
PromptName = Annotated[str, typer.Option("--prompt", help="mask (true visible mask), box or point (segmenter).")]
OccluderName = Annotated[
    str, typer.Option("--occluders", help="none, or truth: give the true mask of what hides each object.")
]
Batch = Annotated[int, typer.Option(min=1, help="Objects of one picture at once.")]
Given = Annotated[
    Path | None, typer.Option("--predictions", metavar="PATH", help="Score these masks instead: COCO results or PNGs.")
]
Ablate = Annotated[
    str | None, typer.Option(metavar="PART,...", help="Take away leak, background, area of tuning-free.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("evaluate")(evaluate)
    app.command("compare")(compare)


def evaluate(
    dataset: DataName,
    root: DataRoot,
    method: MethodName = None,
    inpainter: InpainterName = None,
    segmenter: SegmenterName = None,
    split: Split = None,
    limit: Limit = None,
    settings: Settings = None,
    samples: Samples = 1,
    seed: Seed = 0,
    prompt: PromptName = "mask",
    occluders: OccluderName = "none",
    batch: Batch = 8,
    device: Device = "auto",
    workers: Workers = 1,
    ray: RayAddress = None,
    predictions: Given = None,
    ablate: Ablate = None,
    output: Output = Path("amodal-run"),
    resume: Resume = False,
    force: Force = False,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Measure a method, or masks made elsewhere, on a data set. Exits with 3 if some objects failed."""
    from ..evaluation.run import OccluderKind, PromptKind

    if predictions is not None and (method or ablate or occluders != "none"):
        raise UsageError("--predictions scores masks that are there; leave out --method, --ablate and --occluders")
    for flag, value, kinds in (("--prompt", prompt, PromptKind), ("--occluders", occluders, OccluderKind)):
        if value not in get_args(kinds):
            raise UsageError(f"{flag} is one of {', '.join(get_args(kinds))}, got {value!r}")
    chosen, of_data = _settings(settings or [])
    data = _open(dataset, root, split, of_data, skip_bad)
    keep: dict[str, Any] = {"limit": limit, "resume": resume, "overwrite": force}
    if predictions is not None:
        report = _given(predictions, data, output, keep)
    else:
        parts = (method, inpainter, segmenter, device)
        ask = {"samples": samples, "seed": seed, "prompt": prompt, "occluders": occluders, "batch": batch}
        keep |= ask | _crew(workers, ray, data)
        if ablate:
            _ablation(ablate.split(","), parts, chosen, data, output, keep)
            return
        report = _run(parts, chosen, data, output, keep)
    files = report.save(output)
    if as_json:
        print_json(report.content)
    else:
        typer.echo(str(report))
    hint(f"next: look at {files['html']}, then: amodal compare {output} OTHER_RUN")
    for problem in report.content["skipped"]:
        hint(f"skipped: {problem}")
    if report.content["failures"] or report.content["skipped"]:
        hint(
            f"{report.content['failures']} objects failed, {len(report.content['skipped'])} bad entries: see {files['json']}"
        )
        raise typer.Exit(3)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of amodal evaluate.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Also write it here.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the same objects: paired differences to the first one, with intervals."""
    from ..evaluation.compare import compare as compare_runs
    from ..evaluation.compare import comparison_text
    from ..files import write_json

    content = compare_runs(runs)
    if output is not None:
        write_json(output, content, overwrite=force)
    if as_json:
        print_json(content)
    else:
        typer.echo(comparison_text(content))
    hint(f"next: open {runs[0] / 'report.html'} for pictures")


def _settings(items: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """`--set` items of the model's parts, and those of the data set (`data.KEY`)."""
    of_data = [item.removeprefix("data.") for item in items if item.startswith("data.")]
    return split_settings([item for item in items if not item.startswith("data.")]), parse_settings(of_data)


def _open(name: str, root: Path, split: str | None, options: dict[str, str], skip_bad: bool) -> Dataset:
    from ..data import dataset

    return dataset(name, root, split, options=options, skip_bad=skip_bad)


def _crew(workers: int, ray: str | None, data: Dataset) -> dict[str, Any]:
    """Who does the work, and, where it is not this process alone, how the data set is opened there."""
    again = {"root": str(data.root.resolve()), "split": data.split, "options": data.options.model_dump(mode="json")}
    recipe = {"data": {"name": data.name, **again, "skip_bad": data.skip_bad}} if workers > 1 or ray else None
    return {"run": choose_runner(workers, ray), "recipe": recipe}


def _given(path: Path, data: Dataset, output: Path, keep: dict[str, Any]) -> Report:
    from ..evaluation import Predictions, evaluate_predictions

    with progress("scoring") as tick:
        return evaluate_predictions(Predictions(path), data, output=output, tick=tick, **keep)


def _run(
    parts: tuple[str | None, str | None, str | None, str],
    chosen: dict[str, dict[str, Any]],
    data: Dataset,
    output: Path,
    keep: dict[str, Any],
) -> Report:
    from ..evaluation import evaluate as evaluate_model
    from ..pipeline import load

    how = load_arguments(*parts, chosen)
    model = load(**how)
    if keep["recipe"]:
        keep = {**keep, "recipe": {**keep["recipe"], "model": how}}
    with progress(model.method.name) as tick:
        return evaluate_model(model, data, output=output, tick=tick, **keep)


def _ablation(
    names: Sequence[str],
    parts: tuple[str | None, str | None, str | None, str],
    chosen: dict[str, dict[str, Any]],
    data: Dataset,
    output: Path,
    keep: dict[str, Any],
) -> None:
    """One run a variant in subfolders of `output`, and their comparison."""
    from ..evaluation.ablation import REPORTED, variants
    from ..evaluation.compare import compare as compare_runs
    from ..evaluation.compare import comparison_text
    from ..files import write_json
    from ..registry import DEFAULTS, find

    runs = variants(names, find("methods", parts[0] or DEFAULTS["methods"]).Options)
    if output.exists() and not (keep["resume"] or keep["overwrite"]) and any(output.iterdir()):
        raise OutputError(
            f"{output} is not empty; add --resume to go on with it, --force to replace it, or choose another -o"
        )
    folders: list[Path] = []
    for name, options in runs.items():
        hint(f"{len(folders) + 1} of {len(runs)}: {name}")
        folder = output / name.replace("=", "-").replace(",", "-")
        settings = {**chosen, "method": {**chosen["method"], **options}}
        _run(parts, settings, data, folder, keep).save(folder)
        folders.append(folder)
    content = compare_runs(folders)
    content["reported"] = {part: REPORTED[part] for part in names}
    write_json(output / "ablation.json", content)
    typer.echo(comparison_text(content))
    reported = ", ".join(f"without {part} {points:+.1f}" for part, points in content["reported"].items())
    typer.echo(f"\nthe paper, on COCO-A, in points of mIoU: {reported}")
    hint(f"next: look at {folders[0] / 'report.html'}")
