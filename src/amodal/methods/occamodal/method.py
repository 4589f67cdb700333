"""`occamodal`: the embedded default. One compact network, trained here, finds the occluder and completes the mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...image import Image
from ...mask import Mask, SoftMask
from ...networks.onnx_session import open_session
from ...options import Options
from ...parallel import overlapped
from ...protocols import Context, Guess, Job, Method
from ...weights import embedded
from .inference import Look, Runner, predict

__all__ = ["OccAmodal", "OccAmodalOptions", "amodal_mask"]

WEIGHTS = "occamodal"
NEGLIGIBLE = 0.05
"""Less probable pixels do not count in the expected IoU."""


class OccAmodalOptions(Options):
    """Options of OccAmodal. The defaults were chosen on the development sets; see docs/model-card.md."""

    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="amodal probability above which a pixel belongs to the object; none: chosen for each object so that "
        "the expected IoU is largest",
    )
    factors: tuple[float, ...] = Field(
        (1.7, 2.4),
        min_length=1,
        max_length=4,
        description="sides of the first crops as multiples of the visible box's longer side; their answers are averaged",
    )
    again: tuple[float, ...] = Field(
        (1.5,), max_length=4, description="sides of further crops over the first answer's longer side; empty: one look"
    )
    flip: bool = Field(True, description="average with the mirrored picture: steadier, twice the time")
    rim: float = Field(
        0.006, ge=0, le=0.1, description="thinner new parts than this share of the visible box are dropped as rims"
    )
    sure: float = Field(
        0.7,
        ge=0,
        lt=1,
        description="an occluded part is believed if its mean probability of being the object and of lying under "
        "an occluder, averaged, reaches this, within the frame and beyond it apart; otherwise the object counts as whole",
    )
    threads: int = Field(0, ge=0, le=64, description="threads of ONNX Runtime; 0 takes one per core")


class OccAmodal(Method):
    """The joint compact variant of Zhan et al.'s OccAmodal: picture and visible mask to amodal mask and occluder."""

    name: ClassVar[str] = "occamodal"
    summary: ClassVar[str] = "embedded network for mask and occluder; no GPU, no download"
    paper: ClassVar[str] = "Zhan et al.: Amodal Ground Truth and Completion in the Wild, CVPR 2024, section 4.1"
    licence: ClassVar[str] = "Apache-2.0"
    memory: ClassVar[str] = "200 MB of main memory"
    weights: ClassVar[tuple[str, ...]] = (WEIGHTS,)
    Options: ClassVar[type[Options]] = OccAmodalOptions

    def complete(self, embedded: Any, image: Image, jobs: Sequence[Job], context: Context) -> list[list[Guess]]:
        o = self.options
        run, size, temperature = runner(o.threads)
        look = Look(size, o.factors, o.flip, o.again)

        def guess(job: Job) -> Guess:
            amodal, occluder = predict(run, image, job.visible, look)
            amodal = calibrated(amodal, temperature)
            support = supported(amodal, occluder, image, named=bool(job.occluder))
            mask = amodal_mask(amodal, job.visible, o.threshold, o.rim, o.sure, support, image.shape[:2])
            return Guess(mask, probability=amodal, occluder=occluder.threshold(0.5) - job.visible)

        guesses = []
        for done, answer in enumerate(overlapped(guess, jobs), 1):
            guesses.append([answer])
            context.tick("object", done, len(jobs))
        return guesses


def supported(amodal: SoftMask, occluder: SoftMask, image: Image, named: bool = False) -> SoftMask:
    """What speaks for an occluded part at each pixel: that it is the object, and that something is in front of it.

    The mean of both probabilities; outside of the picture, where nothing is in front, the first alone.

    Args:
        amodal: of belonging to the object.
        occluder: of belonging to what hides it; on the same pixels.
        image: (H, W, 3) uint8 RGB.
        named: somebody said what is in front, and so knows that something is hidden: within the picture that is enough.
    """
    inside = np.float32(1) if named else (amodal.values + occluder.values) / 2
    values = np.where(_within(amodal, image.shape[:2]), inside, amodal.values)
    return SoftMask(values, amodal.origin)


def amodal_mask(
    probability: SoftMask,
    visible: Mask,
    threshold: float | None = None,
    rim: float = 0.0,
    sure: float = 0.0,
    support: SoftMask | None = None,
    frame: tuple[int, ...] | None = None,
) -> Mask:
    """The probable pixels that hang together with the visible ones, without the thin rims that a coarse network leaves
    along sharp edges. Growth that little speaks for as a whole is no growth: most objects are not occluded.

    Args:
        probability: of belonging to the object.
        visible: the visible mask.
        threshold: least probability; None takes 0.5 to see whether the object grows, then `best_threshold`.
        rim: new parts thinner than this share of the visible box's longer side are dropped.
        sure: least mean of `support` over all new pixels together, those within the frame and those beyond it apart.
        support: see `supported`, on the same pixels as `probability`; None takes that itself.
        frame: (H, W) of the picture; None for one without end.
    """
    seen = visible.crop(probability.box)
    left, top, right, bottom = visible.box
    radius = round(rim * max(right - left, bottom - top))
    new = _joined(probability.values > (threshold or 0.5), seen, radius) & ~seen
    belief = (probability if support is None else support).values
    within = np.ones(new.shape, bool) if frame is None else _within(probability, frame)
    doubted = np.zeros(new.shape, bool)
    for place in (within, ~within):
        part = new & place
        if not part.any() or belief[part].mean() < sure:
            doubted |= place
    if not (new & ~doubted).any():
        return visible
    least = best_threshold(probability.values, seen) if threshold is None else threshold
    whole = _joined((probability.values > least) & ~doubted, seen, radius)
    return Mask.from_array(whole, probability.origin) | visible


def best_threshold(probability: NDArray[np.float32], seen: NDArray[np.bool_]) -> float:
    """The threshold whose mask, joined with the visible one, has the largest expected IoU; at most 0.5.

    The IoU's expectation is taken as that of the intersection over that of the union (Nowozin: Optimal Decisions from
    Probabilistic Models, CVPR 2014). The less is known for sure, the more of the unsure is worth taking.

    Args:
        probability: (H, W), of belonging to the object.
        seen: (H, W), the visible mask, which is certain.
    """
    unsure = np.sort(probability[~seen & (probability > NEGLIGIBLE)].astype(np.float64))[::-1]
    if not unsure.size:
        return 0.5
    inside = np.cumsum(unsure)
    shown = np.count_nonzero(seen)
    taken = np.arange(1, unsure.size + 1)
    expected = (shown + inside) / (shown + taken + inside[-1] - inside)
    least = np.float32(unsure[np.argmax(expected)])
    return min(0.5, float(np.nextafter(least, np.float32(0))))  # itself above the threshold


def _within(probability: SoftMask, frame: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which of its pixels lie in the (H, W) frame."""
    return Mask.from_box((0, 0, frame[1], frame[0])).crop(probability.box)


def _joined(likely: NDArray[np.bool_], seen: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """The visible pixels and the likely parts that touch them, opened with a disc of `radius`."""
    import cv2

    new = likely & ~seen
    if radius >= 1 and new.any():
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        new = np.asarray(cv2.morphologyEx(new.astype(np.uint8), cv2.MORPH_OPEN, disc)).astype(bool)
    whole = new | seen
    _, labels = cv2.connectedComponents(whole.astype(np.uint8), connectivity=8)
    return whole & np.isin(labels, np.unique(labels[seen]))


def calibrated(probability: SoftMask, temperature: float) -> SoftMask:
    """The probability with its logit divided by the temperature that was fitted on the development composites."""
    if temperature == 1:
        return probability
    p = np.clip(probability.values, 1e-6, 1 - 1e-6)
    odds = (p / (1 - p)) ** (1 / temperature)
    return SoftMask((odds / (1 + odds)).astype(np.float32), probability.origin)


@cache
def runner(threads: int = 0) -> tuple[Runner, int, float]:
    """The embedded network, its crop size and temperature; one session a process, shared by threads.

    Raises:
        WeightsError: the file is missing from the installation or altered.
    """
    session = open_session(str(embedded(WEIGHTS)), threads)
    facts = session.get_modelmeta().custom_metadata_map

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {"crop": np.ascontiguousarray(x, np.float32)})[0], np.float32)

    return run, int(facts["size"]), float(facts["temperature"])
