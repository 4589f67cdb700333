"""Runs: a model over a data set, object by object, picture by picture; resumable, failures as rows."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..completion import Completion
from ..data import Dataset, Sample, dataset
from ..errors import AmodalError, Cancelled, DataError, UsageError
from ..mask import Mask, union
from ..ordering import order_accuracy, order_from_masks, order_of_samples
from ..pipeline import Model, Scene, load
from ..prompt import Prompt
from ..protocols import Tick, no_tick
from ..scale.local import run_local
from ..scale.worker import Done, Result, Row, Runner, Spec, done, in_order
from .report import Report
from .rows import RowFile, completion_fields, make_row, predicted_mask, within

__all__ = ["PROTOCOLS", "OccluderKind", "PromptKind", "evaluate", "prompt_for", "true_occluder"]

PromptKind = Literal["mask", "box", "point"]
OccluderKind = Literal["none", "truth"]
PROTOCOLS: dict[str, str] = {
    "mask": "GT-V: the true visible mask is given",
    "box": "pred-V: the box of the true visible mask is given, the segmenter finds the visible mask",
    "point": "pred-V: one click in the middle of the true visible mask is given, the segmenter finds the visible mask",
}
OCCLUDER_GIVEN = "; the true occluder mask is given where the data set knows it"
NOTHING = Mask.from_array(np.zeros((0, 0), bool))


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
    batch: int = 8,
    run: Runner = run_local,
    recipe: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    tick: Tick = no_tick,
) -> Report:
    """Score a model on a data set.

    Args:
        model: from `amodal.load`.
        data: from `amodal.dataset`.
        output: the run's folder: rows are appended to `rows.jsonl` as they are made. None keeps them in memory.
        limit: only the first objects.
        samples: guesses per object; their majority vote is scored, the best of them reported beside it.
        seed: of every object.
        prompt: "mask" gives the true visible mask (GT-V); "box" and "point" let the segmenter find it (pred-V).
        occluders: "truth" gives the true mask of what hides the object (`true_occluder`), the papers' "occluder given"; "none"
            leaves it to the method.
        batch: objects of one picture that the method gets at once.
        run: does the work: in this process, a pool, or on Ray, with the same rows.
        recipe: how other processes make `model` and `data` again: the arguments of `amodal.load` and `amodal.dataset`, as
            {"model": {...}, "data": {...}}. None: everything is done in this process.
        resume: go on with an earlier run in `output`.
        overwrite: replace an earlier run in `output`.
        tick: progress ("object", done, total).

    Raises:
        OutputError: `output` holds a run already, or one with other settings.
        DataError: images are missing, or annotations are bad and the data set does not skip bad ones.
    """
    ask = Ask(prompt, occluders, samples, seed)
    settings = settings_of(model, data, ask, limit)
    live = Answer(model, data, ask)
    spec = Spec(live if recipe is None else "amodal.evaluation.run:Answer", {**(recipe or {}), "ask": asdict(ask)})
    with RowFile(None if output is None else Path(output), settings, resume=resume, overwrite=overwrite) as rows:
        answer_all(live, partial(run, spec), rows, (limit, batch), tick)
    return Report.build(rows.settings, rows.rows, data)


def settings_of(model: Model, data: Dataset, ask: Ask, limit: int | None) -> dict[str, Any]:
    """What a run's rows depend on, JSON-ready. Raises what `evaluate` raises before it starts."""
    if ask.prompt not in PROTOCOLS:
        raise UsageError(f"prompt must be one of {', '.join(PROTOCOLS)}, got {ask.prompt!r}")
    if ask.occluders not in get_args(OccluderKind):
        raise UsageError(f"occluders must be one of {', '.join(get_args(OccluderKind))}, got {ask.occluders!r}")
    check_data(data)
    return {
        "format": "amodal/run/1",
        **model.provenance(),
        "data": data.to_dict(),
        "protocol": PROTOCOLS[ask.prompt] + (OCCLUDER_GIVEN if ask.occluders == "truth" else ""),
        **asdict(ask),
        "limit": limit,
        "versions": versions(),
    }


def answer_all(
    live: Answer,
    run: Callable[[Iterable[Row]], Iterable[Done]],
    rows: RowFile,
    amount: tuple[int | None, int],
    tick: Tick,
) -> None:
    """Add the rows of all objects that have none yet, in order; `amount` is how many objects in all, and how many at once."""
    limit, batch = amount
    total = min(len(live.data), limit or len(live.data))
    for part, results in in_order(run, parts_of(live, limit, batch, set(rows.done))):
        picture = live.picture(*part.content["picture"])
        failure, made = results[0].record["error"], results[0].record.get("rows")
        if made is None:
            asked = [sample for sample in picture if sample.id in part.parts]
            made = [{**make_row(sample, NOTHING, picture, seconds=0.0), "error": failure} for sample in asked]
        if part.content["last"]:
            made[-1]["order"] = scene_order(picture, [*rows.rows[-len(picture) :], *made])
        for row in made:
            rows.add(row)
            tick("object", len(rows.rows), total)


def parts_of(live: Answer, limit: int | None, batch: int, done: Collection[str]) -> Iterator[Row]:
    """Up to `batch` objects of one picture at a time, without those that are done."""
    ids = live.data.ids()
    for span in live.data.pictures(limit):
        if all(name in done for name in ids[span.start : span.stop]):
            continue
        todo = [sample.id for sample in live.picture(span.start, span.stop) if sample.id not in done]
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
        return done(row, {"rows": list(complete_rows(self.model, picture, part, self.ask))})


def check_truth(data: Dataset) -> None:
    """Data sets without amodal truth cannot be scored."""
    if not data.amodal_known:
        raise UsageError(
            f"{data.name} has no amodal truth, so that masks cannot be scored on it; it is for recognition"
        )


def check_data(data: Dataset) -> None:
    """Missing truth or images stop a run before it starts; images are listed instead if bad entries are skipped."""
    check_truth(data)
    missing = data.missing()
    if missing and not data.skip_bad:
        raise DataError(
            f"{len(missing)} image(s) of {data.name} are missing, the first is {missing[0]}; "
            "see the data set's page in docs/datasets, or go on with --skip-bad"
        )
    for path in missing:
        data.bad(path, path.stem, "this image is absent")


def prompt_for(sample: Sample, kind: PromptKind) -> Prompt:
    """The prompt that stands for the object: its visible mask, the box of it, or the pixel deepest inside it."""
    if kind == "mask":
        return Prompt.make(mask=sample.visible)
    if kind == "box":
        return Prompt.make(box=sample.visible.box)
    import cv2

    depth = cv2.distanceTransform(np.pad(sample.visible.bits, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    x, y = sample.visible.origin
    return Prompt.make(point=(x + int(column) - 0.5, y + int(row) - 0.5))


def true_occluder(sample: Sample, picture: Sequence[Sample]) -> Mask | None:
    """Everything that hides the object, as far as it is seen: the data set's own mask of it, else the picture's other objects
    that are visible where this one is hidden. Empty where nothing of it is hidden; None where the occluder is not known.
    """
    known, hidden = sample.occluder, sample.occluded
    if known is None:
        inside = within(hidden, sample.size)
        known = union(other.visible for other in picture if other.id != sample.id and other.visible.overlap(inside))
    return known if known or not hidden else None


@dataclass(frozen=True)
class Ask:
    """How a method is asked about each object; see `evaluate`."""

    prompt: PromptKind
    occluders: OccluderKind
    samples: int
    seed: int

    def occluder(self, sample: Sample, picture: Sequence[Sample]) -> Mask | None:
        """What the method is told of the occluder."""
        return true_occluder(sample, picture) if self.occluders == "truth" else None


def complete_rows(
    model: Model, picture: Sequence[Sample], part: Sequence[Sample], ask: Ask
) -> Iterable[dict[str, Any]]:
    """The rows of some objects of a picture. What fails becomes a row that scores as an empty mask."""
    visible = [sample for sample in part if sample.visible]
    hides = {sample.id: ask.occluder(sample, picture) for sample in visible}
    answers: dict[str, tuple[Completion | str, float]] = {}
    try:
        answers = complete_batch(model.open(part[0].image), visible, hides, ask)
    except Cancelled:
        raise
    except (AmodalError, OSError) as error:
        answers = {sample.id: (str(error), 0.0) for sample in visible}
    for sample in part:
        answer, seconds = answers.get(sample.id, ("no pixel of it is visible, so that nothing can prompt it", 0.0))
        more = {"occluder_given": hides.get(sample.id) is not None} if ask.occluders == "truth" else {}
        if isinstance(answer, Completion):
            fields = completion_fields(sample, answer)
            yield make_row(sample, answer.amodal, picture, seconds=round(seconds, 4), **fields, **more)
        else:
            yield {**make_row(sample, NOTHING, picture, seconds=0.0, **more), "error": answer}


def complete_batch(
    scene: Scene, part: Sequence[Sample], hides: Mapping[str, Mask | None], ask: Ask
) -> dict[str, tuple[Completion | str, float]]:
    """Completions with their seconds by id; if the batch fails, each object alone, so that one bad object costs only itself."""
    start = time.perf_counter()
    if not part:
        return {}
    try:
        results = scene.complete_all(
            [prompt_for(sample, ask.prompt) for sample in part],
            samples=ask.samples,
            seeds=[ask.seed] * len(part),
            occluders=[hides[sample.id] for sample in part],
            paint=False,
        )
        each = (time.perf_counter() - start) / len(part)
        return {sample.id: (result, each) for sample, result in zip(part, results, strict=True)}
    except Cancelled:
        raise
    except (AmodalError, RuntimeError, ValueError, MemoryError) as error:
        if len(part) == 1:
            return {part[0].id: (f"{type(error).__name__}: {error}", time.perf_counter() - start)}
    answers: dict[str, tuple[Completion | str, float]] = {}
    for sample in part:
        answers |= complete_batch(scene, [sample], hides, ask)
    return answers


def scene_order(scene: Sequence[Sample], rows: Sequence[dict[str, Any]]) -> list[int] | None:
    """Right and all ordered pairs of a picture, from its rows; None where its order is not known."""
    if not any(sample.occluders for sample in scene):
        return None
    masks = {row["id"]: predicted_mask(row) for row in rows}
    known = [sample for sample in scene if sample.id in masks]
    implied = order_from_masks([sample.visible for sample in known], [masks[sample.id] for sample in known])
    return list(order_accuracy(implied, order_of_samples(known)))


def versions() -> dict[str, str]:
    """What the numbers depend on beside the settings."""
    from .. import __version__

    return {
        "amodal": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }
