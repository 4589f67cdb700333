"""What a method is asked about the objects of a picture, and its answers as rows; what fails becomes a row too."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..core.completion import Completion
from ..core.errors import AmodalError, Cancelled, UsageError
from ..core.mask import Mask, bounding_box, union
from ..core.prompt import MAX_SAMPLES, Prompt, seed_of, whole_number
from ..core.regions import deepest
from ..core.soft_mask import SoftMask
from ..data import Sample
from ..pipeline import Model, Scene
from ..pipeline.order import OrderCount, order_accuracy, order_from_masks, order_of_samples
from ..plugins.protocols import Method, Prediction, Request
from .metrics import majority
from .rows import ScoredObject, answered_row, failed_row

__all__ = [
    "Ask",
    "OccluderKind",
    "Outcome",
    "PromptKind",
    "complete_rows",
    "prompt_for",
    "scene_order",
    "true_occluder",
]

PromptKind = Literal["mask", "box", "point"]
OccluderKind = Literal["none", "truth", "recovered"]
PROTOCOLS: dict[str, str] = {
    "mask": "GT-V: the true visible mask is given",
    "box": "pred-V: the box of the true visible mask is given, the segmenter finds the visible mask",
    "point": "pred-V: one click in the middle of the true visible mask is given, the segmenter finds the visible mask",
}
OCCLUDERS_GIVEN: dict[str, str] = {
    "none": "",
    "truth": "; the true occluder mask is given where the data set knows it",
    "recovered": "; the method finds the order from the true visible masks of all objects, and completes under all in front",
}
SCORED = {
    True: "; raw: scored as the method made it",
    False: "; sealed: joined with the visible mask, and cut to the occluder where it is given",
}


@dataclass(frozen=True)
class Ask:
    """How a method is asked about each object; see `evaluate`."""

    prompt: PromptKind
    occluders: OccluderKind
    samples: int
    seed: int
    raw: bool = False

    @property
    def protocol(self) -> str:
        """The protocol in words, as reports print it."""
        return PROTOCOLS[self.prompt] + OCCLUDERS_GIVEN[self.occluders] + SCORED[self.raw]

    def check(self, method: Method) -> Ask:
        """Itself, with raw scoring where the occluders are recovered.

        Raises:
            UsageError: an unknown word, a number below its least value, or a method that recovers no order.
        """
        for name, value, known in (("prompt", self.prompt, PROTOCOLS), ("occluders", self.occluders, OCCLUDERS_GIVEN)):
            if not isinstance(value, str) or value not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        whole_number(self.samples, "samples", 1, MAX_SAMPLES)
        seed_of(self.seed)
        if self.occluders != "recovered":
            return self
        if not hasattr(method, "complete_scene"):
            raise UsageError(
                f"the method {method.name} does not recover the order of a picture's objects; deocclusion and asbu do"
            )
        if self.prompt != "mask":
            raise UsageError("the order is recovered from the true visible masks; leave the prompt at 'mask'")
        return replace(self, raw=True)


@dataclass(frozen=True)
class Outcome:
    """A method's answer for one object, as it is scored.

    Attributes:
        visible: the visible mask that the method got.
        amodal: the mask that is scored: of several samples their majority.
        samples: the mask of each sample.
        probability: how sure each pixel is of the object.
        score: the method's own quality, or None.
    """

    visible: Mask
    amodal: Mask
    samples: tuple[Mask, ...]
    probability: SoftMask
    score: float | None

    @classmethod
    def sealed(cls, made: Completion) -> Outcome:
        """Of a completion, with the pipeline's promises."""
        return cls(made.visible, made.amodal, tuple(each.amodal for each in made.samples), made.probability, made.score)

    @classmethod
    def raw(cls, visible: Mask, predictions: Sequence[Prediction]) -> Outcome:
        """Of a method's predictions as they are: nothing is added to them and nothing cut off."""
        masks = tuple(prediction.amodal for prediction in predictions)
        soft = [prediction.probability for prediction in predictions if prediction.probability is not None]
        box = bounding_box([*(mask.box for mask in masks), *(part.box for part in soft)])
        votes = np.stack([part.crop(box) for part in soft or masks]).astype(np.float32).mean(axis=0)
        return cls(visible, majority(masks), masks, SoftMask(votes, box[:2]), predictions[0].score)


def prompt_for(sample: Sample, kind: PromptKind) -> Prompt:
    """The prompt that stands for the object: its visible mask, the box of it, or the pixel deepest inside it."""
    if kind == "mask":
        return Prompt.make(mask=sample.visible)
    if kind == "box":
        return Prompt.make(box=sample.visible.box)
    return Prompt.make(point=deepest(sample.visible, exact=True))


def true_occluder(sample: Sample, picture: Sequence[Sample]) -> Mask | None:
    """Everything that hides the object, as far as it is seen: the data set's own mask of it, else the picture's other objects
    that are visible where this one is hidden. Empty where nothing of it is hidden; None where the occluder is not known.
    """
    known, occluded = sample.occluder, sample.occluded
    if known is None:
        inside = occluded.clip(sample.size)
        known = union(other.visible for other in picture if other.id != sample.id and other.visible.overlap(inside))
    return known if known or not occluded else None


def complete_rows(model: Model, picture: Sequence[Sample], part: Sequence[Sample], ask: Ask) -> Iterable[ScoredObject]:
    """The rows of some objects of a picture. What fails becomes a row that scores as an empty mask."""
    hides = {sample.id: true_occluder(sample, picture) for sample in part} if ask.occluders == "truth" else {}
    answers: dict[str, tuple[Outcome | str, float]] = {}
    order: OrderCount | None = None
    try:
        scene = model.open(part[0].image)
        if ask.occluders == "recovered":
            answers, order = recover(scene, picture, ask)
        else:
            usable = [sample for sample in part if sample.visible or takes(model.method, ask)]
            answers = answer_batch(scene, usable, hides, ask)
    except Cancelled:
        raise
    except (AmodalError, OSError, RuntimeError, ValueError, MemoryError) as error:
        text = str(error) if isinstance(error, AmodalError | OSError) else f"{type(error).__name__}: {error}"
        answers = {sample.id: (text, 0.0) for sample in part}
    for sample in part:
        answer, seconds = answers.get(sample.id, ("no pixel of it is visible, so that nothing can prompt it", 0.0))
        row = (
            failed_row(sample, picture, answer)
            if isinstance(answer, str)
            else answered_row(sample, answer, picture, seconds)
        )
        if ask.occluders == "truth":
            row.occluder_given = hides.get(sample.id) is not None
        if order is not None and sample is part[-1]:
            row.order = order
        yield row


def takes(method: Method, ask: Ask) -> bool:
    """Whether objects of which nothing is visible are asked about: from the box of the amodal mask, as the papers do."""
    return method.takes_unseen and ask.prompt == "mask"


def job_of(sample: Sample, visible: Mask, ask: Ask, occluder: Mask | None = None) -> Request:
    """The method's request for an object."""
    box = None if visible else sample.amodal.box
    return Request(visible, ask.seed, ask.samples, occluder, sample.category_id, box)


def recover(
    scene: Scene, picture: Sequence[Sample], ask: Ask
) -> tuple[dict[str, tuple[Outcome | str, float]], OrderCount]:
    """All objects of a picture from their visible masks, and how much of the recovered order is right."""
    start = time.perf_counter()
    requests = [job_of(sample, sample.visible, ask) for sample in picture]
    order, predictions = getattr(scene.model.method, "complete_scene")(scene.image, requests)  # noqa: B009  `Ask.check` saw it
    each = (time.perf_counter() - start) / len(picture)
    answers: dict[str, tuple[Outcome | str, float]] = {
        sample.id: (Outcome.raw(sample.visible, [prediction]), each)
        for sample, prediction in zip(picture, predictions, strict=True)
    }
    return answers, order_accuracy(order, order_of_samples(picture))


def answer_batch(
    scene: Scene, part: Sequence[Sample], hides: Mapping[str, Mask | None], ask: Ask
) -> dict[str, tuple[Outcome | str, float]]:
    """Answers with their seconds by id; if the batch fails, each object alone, so that one bad object costs only itself."""
    start = time.perf_counter()
    if not part:
        return {}
    try:
        made = raw_outcomes(scene, part, hides, ask) if ask.raw else sealed_outcomes(scene, part, hides, ask)
        each = (time.perf_counter() - start) / len(part)
        return {sample.id: (outcome, each) for sample, outcome in zip(part, made, strict=True)}
    except Cancelled:
        raise
    except (AmodalError, RuntimeError, ValueError, MemoryError) as error:
        if len(part) == 1:
            return {part[0].id: (f"{type(error).__name__}: {error}", time.perf_counter() - start)}
    answers: dict[str, tuple[Outcome | str, float]] = {}
    for sample in part:
        answers |= answer_batch(scene, [sample], hides, ask)
    return answers


def raw_outcomes(scene: Scene, part: Sequence[Sample], hides: Mapping[str, Mask | None], ask: Ask) -> list[Outcome]:
    """The method's own masks."""
    requests = []
    for sample in part:
        given = ask.prompt == "mask"
        visible = sample.visible if given else scene.segment(prompt=prompt_for(sample, ask.prompt))[0].mask
        requests.append(job_of(sample, visible, ask, hides.get(sample.id)))
    predictions = scene.predict(requests)
    return [Outcome.raw(request.visible, made) for request, made in zip(requests, predictions, strict=True)]


def sealed_outcomes(scene: Scene, part: Sequence[Sample], hides: Mapping[str, Mask | None], ask: Ask) -> list[Outcome]:
    """What a user of the pipeline gets. Objects of which nothing is visible cannot be prompted there: they stay raw."""
    seen = [sample for sample in part if sample.visible]
    made = scene.complete_all(
        [prompt_for(sample, ask.prompt) for sample in seen],
        samples=ask.samples,
        seeds=[ask.seed] * len(seen),
        occluders=[hides.get(sample.id) for sample in seen],
        categories=[sample.category_id for sample in seen],
        paint=False,
    )
    found = {sample.id: Outcome.sealed(each) for sample, each in zip(seen, made, strict=True)}
    rest = [sample for sample in part if sample.id not in found]
    if rest:
        found |= {s.id: each for s, each in zip(rest, raw_outcomes(scene, rest, hides, ask), strict=True)}
    return [found[sample.id] for sample in part]


def scene_order(scene: Sequence[Sample], rows: Sequence[ScoredObject]) -> OrderCount | None:
    """How many pairs of a picture the scored masks order right, see `OrderCount`; None for fewer than two objects."""
    masks = {row.id: row.amodal for row in rows}
    known = [sample for sample in scene if sample.id in masks]
    if len(known) < 2:
        return None
    implied = order_from_masks([sample.visible for sample in known], [masks[sample.id] for sample in known])
    return order_accuracy(implied, order_of_samples(known))
