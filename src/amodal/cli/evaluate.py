"""`amodal evaluate`: methods and predictions measured on data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ..core.errors import AmodalError, UsageError
from ..core.options import parse_settings
from .common import (
    Device,
    InpainterName,
    Limit,
    OutputOptions,
    Resume,
    RunOptions,
    SampleOptions,
    SegmenterName,
    choice_of,
    hint,
    progress_bar,
    show,
    useless,
    word,
)

if TYPE_CHECKING:
    from ..data import Dataset
    from ..evaluation import Report
    from ..evaluation.ablation import Variant
    from ..pipeline.choice import ModelChoice

MethodNames = Annotated[
    list[str] | None, typer.Option("--method", help="See: amodal list methods. Several: give it several times.")
]
DataNames = Annotated[
    list[str], typer.Option("--dataset", help="See: amodal list datasets. Several: give it several times.")
]
Roots = Annotated[
    list[Path],
    typer.Option("--root", metavar="DIR", help="The data set's folder in the official layout; one for each."),
]
Splits = Annotated[list[str] | None, typer.Option("--split", help="One for all data sets, or one for each.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Option of the method, or inpainter.KEY, segmenter.KEY, data.KEY; of one of several: NAME.KEY=VALUE.",
    ),
]
PromptName = Annotated[str, typer.Option("--prompt", help="mask (true visible mask), box or point (segmenter).")]
OccluderName = Annotated[
    str,
    typer.Option(
        "--occluders",
        help="none; truth: give the true mask of what hides each object; recovered: the network finds the order (deocclusion).",
    ),
]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Score the method's masks as it made them, as the papers do; see docs/evaluate.md."),
]
Batch = Annotated[int, typer.Option(min=1, help="Objects of one picture at once.")]
Given = Annotated[
    Path | None, typer.Option("--predictions", metavar="PATH", help="Score these masks instead: COCO results or PNGs.")
]
Ablate = Annotated[
    str | None,
    typer.Option(metavar="PART,...", help="Take parts of tuning-free away; inpainter=NAME,NAME tries others."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad/--strict", help="Go on past bad annotations and list them; or stop at the first.")
]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, beside methods and data sets.

    Attributes:
        common: what all methods share of the model.
        device: where it runs.
        own: options of single methods and data sets, by name.
        output: the folder.
        force: whether what is there may be replaced.
        score: `amodal.evaluate` with everything else that is asked for.
    """

    common: ModelChoice
    device: str
    own: dict[str, dict[str, str]]
    output: Path
    force: bool
    score: Callable[..., Report]

    def run(self, method: str | None, data: Dataset, folder: Path, variant: Variant | None = None) -> Report:
        """One method, or a variant of it, on one data set."""
        own = {**self.own.get(method or "", {}), **(variant.options if variant else {})}
        chosen: dict[str, Any] = {"method": method, "options": {**self.common.options, **own}}
        if variant is not None and variant.inpainter is not None:
            chosen["inpainter"] = variant.inpainter
        model = self.common.model_copy(update=chosen).load(self.device)
        with progress_bar(model.method.name) as progress:
            return self.score(model, data, output=folder, progress=progress)


def evaluate(
    dataset: DataNames,
    root: Roots,
    method: MethodNames = None,
    inpainter: InpainterName = None,
    segmenter: SegmenterName = None,
    split: Splits = None,
    limit: Limit = None,
    settings: Settings = None,
    sampling: SampleOptions = SampleOptions(),
    prompt: PromptName = "mask",
    occluders: OccluderName = "none",
    raw: Raw = False,
    batch: Batch = 8,
    device: Device = "auto",
    workers: RunOptions = RunOptions(),
    predictions: Given = None,
    ablate: Ablate = None,
    results: OutputOptions = OutputOptions(Path("amodal-run")),
    resume: Resume = False,
    skip_bad: SkipBad = True,
) -> None:
    """Measure methods, or masks made elsewhere, on data sets. Exits with 3 if some objects failed."""
    from ..evaluation import Predictions, evaluate_predictions
    from ..evaluation import evaluate as evaluate_model

    if predictions is not None:
        made = ("method", "inpainter", "segmenter", "samples", "seed", "prompt", "occluders", "raw", "batch", "ablate")
        useless("with --predictions, which scores masks that are there", *made)
    methods: list[str | None] = [*dict.fromkeys(method or [])] or [None]
    shared, own = _settings(settings or [], [*filter(None, methods), *dataset])
    if predictions is not None and shared:
        raise UsageError(f"--set {shared[0]} is of a method; with --predictions only data.KEY=VALUE is read")
    sets = _open(dataset, root, split or [], own, skip_bad)
    score = partial(
        evaluate_model,
        limit=limit,
        samples=sampling.samples,
        seed=sampling.seed,
        prompt=_one_of("--prompt", prompt),
        occluders=_one_of("--occluders", occluders),
        raw=raw,
        batch=batch,
        workers=workers.workers,
        run=workers.runner() if workers.ray else None,
        overwrite=results.force,
    )
    asked = Asked(choice_of(None, inpainter, segmenter, shared), device, own, results.output, results.force, score)
    if len(methods) * len(sets) > 1:
        if predictions or ablate:
            raise UsageError("--predictions and --ablate are for one data set and one method")
        _several(methods, sets, asked, results.as_json)
    elif ablate:
        _ablation(ablate, methods[0], sets[0], asked, results.as_json)
    elif predictions:
        score = partial(evaluate_predictions, Predictions(predictions), limit=limit, overwrite=results.force)
        with progress_bar("scoring") as progress:
            _tell(score(sets[0], output=results.output, progress=progress), asked, results.as_json)
    else:
        _tell(asked.run(methods[0], sets[0], results.output), asked, results.as_json)


def _one_of(flag: str, value: str) -> Any:
    from ..evaluation.answers import OccluderKind, PromptKind

    kinds = get_args(PromptKind if flag == "--prompt" else OccluderKind)
    if value not in kinds:
        raise UsageError(f"{flag} is one of {', '.join(kinds)}, got {value!r}")
    return value


def _settings(items: Sequence[str], names: Sequence[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """`--set` items for all methods, and the options of single methods and data sets (`NAME.KEY`, `data.KEY`)."""
    own: dict[str, list[str]] = {}
    common = []
    for item in items:
        head, dot, tail = item.partition(".")
        if dot and "=" not in head and head in ("data", *names):
            own.setdefault(head, []).append(tail)
        else:
            common.append(item)
    return common, {name: parse_settings(tails) for name, tails in own.items()}


def _open(
    names: Sequence[str],
    roots: Sequence[Path],
    splits: Sequence[str],
    own: Mapping[str, dict[str, str]],
    skip_bad: bool,
) -> list[Dataset]:
    from ..data import dataset

    if len(names) != len(roots):
        raise UsageError(f"give one --root for each --dataset, in the same order; got {len(roots)} for {len(names)}")
    if len(splits) not in (0, 1, len(names)):
        raise UsageError(f"give one --split for all data sets or one for each; got {len(splits)} for {len(names)}")
    parts = list(splits) if len(splits) == len(names) else [*splits, None][:1] * len(names)
    sets = []
    for name, root, split in zip(names, roots, parts, strict=True):
        options = {**own.get("data", {}), **own.get(name, {})}
        sets.append(dataset(name, root, split, options=options, skip_bad=skip_bad))
    _tell_apart(sets)
    return sets


def _tell_apart(sets: Sequence[Dataset]) -> None:
    """Label the sets that one reader reads from several folders, by as much of the folders' ends as tells them apart."""
    for data in sets:
        same = [other for other in sets if (other.name, other.split) == (data.name, data.split)]
        places = [other.root.resolve().parts for other in same]
        if len(set(places)) < len(places):
            raise UsageError("the same data set, split and folder is given twice")
        mine = data.root.resolve().parts
        for length in range(1, len(mine) + 1) if len(same) > 1 else ():
            data.label = "-".join(part.strip("/") for part in mine[-length:])
            if sum(place[-length:] == mine[-length:] for place in places) == 1:
                break


def _tell(report: Report, asked: Asked, as_json: bool) -> None:
    """Write and print a report; exit code 3 if something failed."""
    files = report.save(asked.output)
    show(as_json, report.content, str(report))
    hint(f"next: look at {word(files['html'])}, then: amodal compare {word(asked.output)} OTHER_RUN")
    if _faults(report):
        raise typer.Exit(3)


def _faults(report: Report) -> bool:
    """Whether objects failed or entries were skipped, which is then told; notes on the data are told too."""
    from ..data.problems import alike

    content = report.content
    for note in content["notes"]:
        hint(f"note: {note}")
    for problem in alike(report.data.problems if report.data is not None else ()):
        hint(f"skipped: {problem}")
    if content["failures"] or content["skipped"]:
        hint(f"{content['failures']} objects failed, {len(content['skipped'])} bad entries: see report.json")
    return bool(content["failures"] or content["skipped"])


def _several(methods: Sequence[str | None], sets: Sequence[Dataset], asked: Asked, as_json: bool) -> None:
    """Each method on each data set, in `output/DATA-SPLIT/METHOD`, and one table of them. A run that fails is told; others go on."""
    from ..core.files import write_json
    from ..evaluation.matrix import WRITERS, check_place, matrix, matrix_rows, write_table
    from ..evaluation.tables import table
    from ..plugins.registry import DEFAULTS

    names = ["-".join(part for part in (data.name, data.split, data.label) if part) for data in sets]
    check_place(asked.output, ["table.json", *(f"table{ending}" for ending in WRITERS)], asked.force)
    folders: list[Path] = []
    failed: list[AmodalError] = []
    faults = False
    for method in methods:
        for name, data in zip(names, sets, strict=True):
            folder = asked.output / name / (method or DEFAULTS["methods"])
            hint(f"{len(folders) + len(failed) + 1} of {len(methods) * len(sets)}: {folder}")
            try:
                report = asked.run(method, data, folder)
            except AmodalError as error:
                hint(f"failed: {error}")
                failed.append(error)
                continue
            report.save(folder)
            faults |= _faults(report)
            folders.append(folder)
    if not folders:
        raise failed[0]
    content = matrix(folders)
    rows = matrix_rows(content)
    write_json(asked.output / "table.json", content)
    for ending in WRITERS:
        write_table(rows, asked.output / f"table{ending}")
    show(as_json, content, table(rows))
    hint(f"next: amodal compare {word(asked.output)} --html page.html --root DIR ... shows them side by side")
    if failed or faults:
        raise typer.Exit(3)


def _ablation(text: str, method: str | None, data: Dataset, asked: Asked, as_json: bool) -> None:
    """One run a variant in subfolders of `output`, and their comparison; exit code 3 if something failed.

    Args:
        text: parts with commas between; the last may be `inpainter=NAME,NAME...`.
    """
    from ..core.files import write_json
    from ..evaluation.ablation import REPORTED, parts_of, variants
    from ..evaluation.compare import compare as compare_runs
    from ..evaluation.compare import comparison_text
    from ..evaluation.matrix import check_place
    from ..plugins.registry import DEFAULTS, find

    names, inpainters = parts_of(text)
    runs = variants(names, find("methods", method or DEFAULTS["methods"]).Options, inpainters)
    output = asked.output
    check_place(output, ["ablation.json"], asked.force)
    folders: list[Path] = []
    faults = False
    for name, variant in runs.items():
        hint(f"{len(folders) + 1} of {len(runs)}: {name}")
        folder = output / name.replace("=", "-").replace(",", "-")
        report = asked.run(method, data, folder, variant)
        report.save(folder)
        faults |= _faults(report)
        folders.append(folder)
    content = compare_runs(folders)
    content["reported"] = {part: REPORTED[part] for part in names if part in REPORTED}
    write_json(output / "ablation.json", content)
    reported = ", ".join(f"without {part} {points:+.1f}" for part, points in content["reported"].items())
    told = f"\n\nthe paper, on COCO-A, in points of mIoU: {reported}" if reported else ""
    show(as_json, content, comparison_text(content) + told)
    hint(f"next: look at {word(folders[0] / 'report.html')}")
    if faults:
        raise typer.Exit(3)
