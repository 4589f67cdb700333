"""Runs: a model over a data set, object by object, picture by picture; resumable, failures as rows."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import AmodalError, DataError, UsageError
from ..core.prompt import whole_number
from ..data import Dataset, dataset
from ..data.identity import identity
from ..engine.local import run_local
from ..engine.worker import Done, Result, Row, Runner, Spec, done, in_order
from ..pipeline import Model, load
from ..plugins.protocols import Progress, no_progress, progress_of
from ..plugins.registry import check, names
from .answers import Ask, OccluderKind, PromptKind, complete_rows, scene_order
from .report import Report
from .rows import RowFile, ScoredObject, failed_row

__all__ = ["check_truth", "evaluate", "versions"]

MOST = 2**31


def evaluate(
    model: Model,
    data: Dataset,
    *,
    output: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    samples: int = 1,
    seed: int = 0,
    prompt: PromptKind = "mask",
    occluders: OccluderKind = "none",
    raw: bool = False,
    batch: int = 8,
    workers: int = 1,
    run: Runner | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Score a model on a data set.

    Args:
        model: from `amodal.load`.
        data: from `amodal.dataset`.
        output: the run's folder: rows are appended to `rows.jsonl` as they are made. None keeps them in memory.
        limit: only the first objects.
        samples: predictions per object; their majority vote is scored, the best of them reported beside it.
        seed: of every object.
        prompt: "mask" gives the true visible mask (GT-V); "box" and "point" let the segmenter find it (pred-V).
        occluders: "none" leaves it to the method; "truth" gives the true mask of what hides the object (`true_occluder`);
            "recovered" has the method find the order of all objects of the picture from their visible masks and complete each
            under everything in front of it (deocclusion, ASBU): the papers' two stages, scored raw.
        raw: score the method's masks as it made them, as the papers do: not joined with the visible mask, not cut to the
            occluder, before the vote of several samples too. False scores what a user gets.
        batch: objects of one picture that the method gets at once.
        workers: processes; more than one need a model of `amodal.load` and a data set of `amodal.dataset`.
        run: does the work elsewhere (Ray), with the same rows; `workers` is then not used.
        overwrite: replace an earlier run in `output`.
        progress: progress ("object", done, total).

    Raises:
        OutputError: `output` holds a run with other settings; one with the same goes on by itself.
        DataError: images are missing, or annotations are bad and the data set does not skip bad ones.
    """
    check_sides(model, data)
    progress = progress_of(progress)
    ask = Ask(prompt, occluders, samples, seed, raw).check(model.method)
    check_limit(limit)
    for name, value in (("batch", batch), ("workers", workers)):
        whole_number(value, name, 1, MOST)
    settings = settings_of(model, data, ask, limit)
    live = Answer(model, data, ask)
    crew = crew_of(live, workers, run)
    batch = len(data) if ask.occluders == "recovered" else batch
    with RowFile(None if output is None else Path(output), settings, overwrite=overwrite) as rows:
        answer_all(live, crew, rows, limit, batch, progress)
    return Report.build(rows.settings, rows.rows, data)


def settings_of(model: Model, data: Dataset, ask: Ask, limit: int | None) -> dict[str, Any]:
    """What a run's rows depend on, JSON-ready. Raises what `evaluate` raises before it starts."""
    check_data(data)
    return {
        "format": "amodal/run/1",
        **model.provenance(),
        "data": identity(data, photos=True),
        "protocol": ask.protocol,
        **asdict(ask),
        "limit": limit,
        "versions": versions(),
    }


def answer_all(
    live: Answer,
    run: Callable[[Iterable[Row]], Iterable[Done]],
    rows: RowFile,
    limit: int | None,
    batch: int,
    progress: Progress,
) -> None:
    """Add the rows of all objects that have none yet, in order: of `limit` objects in all, `batch` at once."""
    total = min(len(live.data), limit or len(live.data))
    for part, results in in_order(run, parts_of(live, limit, batch, set(rows.done))):
        picture = live.picture(*part.content["picture"])
        failure, made = results[0].record["error"], results[0].record.get("rows")
        if made is None:
            asked = [sample for sample in picture if sample.id in part.parts]
            found = [failed_row(sample, picture, str(failure)) for sample in asked]
        else:
            found = [ScoredObject.from_dict(row, "an answer") for row in made]
        if part.content["last"] and live.ask.occluders == "none":
            found[-1].order = scene_order(picture, [*rows.rows[-len(picture) :], *found])
        for row in found:
            rows.add(row)
            progress("object", len(rows.rows), total)


def parts_of(live: Answer, limit: int | None, batch: int, done: Collection[str]) -> Iterator[Row]:
    """Up to `batch` objects of one picture at a time, without those that are done.

    `limit` cuts what is asked about, never the picture itself: its other objects still hide what they hide.
    """
    ids = live.data.ids()
    for span in live.data.pictures():
        wanted = set(ids[span.start : min(span.stop, limit or len(ids))]) - set(done)
        if not wanted:
            continue
        todo = [sample.id for sample in live.picture(span.start, span.stop) if sample.id in wanted]
        for start in range(0, len(todo), batch):
            part = tuple(todo[start : start + batch])
            last = start + batch >= len(todo)
            yield Row(part[0], {"picture": [span.start, span.stop], "last": last}, part)


class Answer:
    """Some objects of a picture to their rows."""

    def __init__(
        self, model: Model | Mapping[str, Any], data: Dataset | Mapping[str, Any], ask: Ask | Mapping[str, Any]
    ) -> None:
        """Each argument as it is, or as the arguments that make it.

        Args:
            model: or the arguments of `amodal.load`.
            data: or the arguments of `amodal.dataset`.
            ask: or its fields.
        """
        self.model = model if isinstance(model, Model) else load(**model)
        self.data = data if isinstance(data, Dataset) else dataset(**data)
        self.ask = ask if isinstance(ask, Ask) else Ask(**ask)
        self.picture = lru_cache(maxsize=32)(lambda first, last: self.data.at(range(first, last)))

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        picture = self.picture(*row.content["picture"])
        part = [sample for sample in picture if sample.id in row.parts]
        return done(row, {"rows": [each.to_dict() for each in complete_rows(self.model, picture, part, self.ask)]})


def crew_of(live: Answer, workers: int, run: Runner | None) -> Callable[[Iterable[Row]], Iterable[Done]]:
    """What does the work: this process with what it has, or others, which make model and data set again."""
    if run is None and workers == 1:
        return partial(run_local, Spec(live, {}))
    again = {**recipe_of(live.model, live.data), "ask": asdict(live.ask)}
    return partial(run or partial(run_local, workers=workers), Spec("amodal.evaluation.run:Answer", again))


def recipe_of(model: Model, data: Dataset) -> dict[str, Any]:
    """How other processes make the model and the data set again: the arguments of `amodal.load` and `amodal.dataset`.

    Raises:
        UsageError: a part of the model, or the data set, is not known by its name.
    """
    made: dict[str, Any] = {"device": model.method.device}
    for kind, part in (("method", model.method), ("inpainter", model.inpainter), ("segmenter", model.segmenter)):
        options = part.options.model_dump(mode="json")
        try:
            check(f"{kind}s", part.reference, options)
        except AmodalError as error:
            raise UsageError(
                f"other processes cannot make the {kind} {part.name!r} again ({error}); use one worker"
            ) from error
        made |= {kind: part.reference, "options" if kind == "method" else f"{kind}_options": options}
    if data.name not in names("datasets"):
        raise UsageError(f"other processes cannot open the data set {data.name!r} again; use one worker")
    where = {"root": str(data.root.resolve()), "split": data.split, "options": data.options.model_dump(mode="json")}
    return {"model": made, "data": {"name": data.name, **where, "skip_bad": data.skip_bad}}


def check_truth(data: Dataset) -> None:
    """Data sets without amodal truth cannot be scored."""
    if not data.amodal_known:
        raise UsageError(
            f"{data.name} has no amodal truth, so that masks cannot be scored on it; it is for recognition"
        )


def check_sides(model: Any, data: Any) -> None:
    """What is measured, and on what. Raises UsageError."""
    if not isinstance(model, Model):
        raise UsageError(f"the model is what amodal.load(...) returns, got {type(model).__name__}")
    if not isinstance(data, Dataset):
        raise UsageError(f"the data are what amodal.dataset(...) returns, got {type(data).__name__}")


def check_limit(limit: Any) -> None:
    """None, or how many of the first objects. Raises PromptError."""
    if limit is not None:
        whole_number(limit, "limit", 1, MOST)


def check_data(data: Dataset) -> None:
    """Missing truth or images stop a run before it starts; some missing images are listed instead if bad entries are skipped."""
    check_truth(data)
    missing = data.missing()
    if missing and (not data.skip_bad or len(missing) == len(list(data.pictures()))):
        raise DataError(
            f"{len(missing)} image(s) of {data.name} are missing, the first is {missing[0]}; "
            "see the data set's page in docs/datasets"
        )
    for path in missing:
        data.bad(path, path.stem, "this image is absent")


def versions() -> dict[str, str]:
    """What the numbers depend on beside the settings."""
    from .. import __version__

    return {
        "amodal": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }
