"""`embedded`: the default. One compact network, trained here, finds the occluder and completes the mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.errors import WeightsError
from ...core.image import Image
from ...core.mask import Mask
from ...core.options import Options
from ...core.regions import joined
from ...core.scaling import Levels, in_frame
from ...core.soft_mask import SoftMask
from ...networks import image_encoder
from ...networks.onnx_session import open_session
from ...plugins.protocols import Context, Method, Prediction, Request
from ...runtime.parallel import overlapped
from ...weights.catalogue import embedded
from .inference import Look, Runner, predict

__all__ = ["Embedded", "EmbeddedOptions", "amodal_mask"]

WEIGHTS = "embedded"
NEGLIGIBLE = 0.05
"""Less probable pixels do not count in the expected IoU."""


class EmbeddedOptions(Options):
    """Options of the embedded method. The defaults were chosen on the development sets; see docs/model-card.md."""

    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="amodal probability above which a pixel belongs to the object; none: chosen for each object so that "
        "the expected IoU is largest",
    )
    factors: tuple[float, ...] = Field(
        (2.4,),
        min_length=1,
        max_length=4,
        description="sides of the first crops as multiples of the visible box's longer side; their answers are averaged",
    )
    again: tuple[float, ...] = Field(
        (1.5,), max_length=4, description="sides of further crops over the first answer's longer side; empty: one look"
    )
    flip: bool = Field(False, description="average with the mirrored picture: hardly better, twice the time")
    rim: float = Field(
        0.006, ge=0, le=0.1, description="thinner new parts than this share of the visible box are dropped as rims"
    )
    sure: float = Field(
        0.67,
        ge=0,
        lt=1,
        description="an occluded part is believed if its mean probability of being the object and of lying under "
        "an occluder, averaged, reaches this, within the frame and beyond it apart; otherwise the object counts as whole",
    )
    threads: int = Field(0, ge=0, le=64, description="threads of ONNX Runtime; 0 takes one per core")
    weights: str | None = Field(None, description="an exported ONNX file of your own in place of the embedded one")


class Embedded(Method):
    """A compact relative of Zhan et al.'s OccAmodal: picture and visible mask to amodal mask and occluder, in one pass."""

    name: ClassVar[str] = "embedded"
    summary: ClassVar[str] = "what ships: a compact relative of OccAmodal, mask and occluder in one pass; no GPU"
    paper: ClassVar[str] = "Zhan et al.: Amodal Ground Truth and Completion in the Wild, CVPR 2024, section 4.1"
    license: ClassVar[str] = "Apache-2.0"
    draws: ClassVar[bool] = False
    memory: ClassVar[str] = "200 MB of main memory"
    weights: ClassVar[tuple[str, ...]] = (WEIGHTS,)
    Options: ClassVar[type[Options]] = EmbeddedOptions

    def embed(self, image: Image) -> Levels:
        """The photo and its halves."""
        return Levels.of(image)

    def warm_up(self) -> None:
        image_encoder.warm_up(self.options.threads)
        runner(self.options.threads, self.options.weights)

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        o = self.options
        run, size, temperature = runner(o.threads, o.weights)
        look = Look(size, o.factors, o.flip, o.again)

        def prediction(request: Request) -> Prediction:
            amodal, occluder = predict(run, embedded, request.visible, look)
            amodal = calibrated(amodal, temperature)
            support = supported(amodal, occluder, image, named=bool(request.occluder))
            mask = amodal_mask(amodal, request.visible, o.threshold, o.rim, o.sure, support, image.shape[:2])
            front = in_front(occluder, mask, request.visible, image.shape[:2])
            score = expected_iou(amodal, mask, request.visible)
            return Prediction(mask, probability=amodal, occluder=front, score=score)

        predictions = []
        for done, answer in enumerate(overlapped(prediction, requests), 1):
            predictions.append([answer])
            context.progress("object", done, len(requests))
        return predictions


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
    return SoftMask(values, amodal.origin, amodal.size)


def in_front(occluder: SoftMask, amodal: Mask, visible: Mask, frame: tuple[int, ...]) -> Mask | None:
    """The occluder's parts that touch what is hidden within the (H, W) frame; decided on the canvas, then sampled."""
    import cv2

    occluded = (amodal - visible).clip((frame[0], frame[1]))
    if not occluded:
        return None
    near = cv2.dilate(occluder.cover(occluded).view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    parts = joined((occluder.values > 0.5) & _within(occluder, frame), near)
    region = cv2.dilate(parts.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return occluder.threshold(0.5, region) - visible


def amodal_mask(
    probability: SoftMask,
    visible: Mask,
    threshold: float | None = None,
    rim: float = 0.0,
    sure: float = 0.0,
    support: SoftMask | None = None,
    frame: tuple[int, ...] | None = None,
) -> Mask:
    """The probable pixels that are connected with the visible ones, without the thin rims that a coarse network leaves
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
    import cv2

    seen = probability.cover(visible)
    left, top, right, bottom = visible.box
    step = (probability.box[2] - probability.box[0]) / probability.values.shape[1]  # photo pixels a canvas pixel
    radius = round(rim * max(right - left, bottom - top) / step)
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
    grown = _joined((probability.values > least) & ~doubted, seen, radius) & ~seen
    if step > 1:  # the seam with the visible mask lies somewhere within a canvas pixel
        grown = np.asarray(cv2.dilate(grown.view(np.uint8), np.ones((3, 3), np.uint8))).astype(bool) & ~doubted
    return probability.threshold(least, grown) | visible


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


def expected_iou(probability: SoftMask, amodal: Mask, visible: Mask) -> float:
    """The IoU with the truth that the probability lets one expect, in [0, 1]; the visible pixels are certain.

    As in `best_threshold`: the expectation of the intersection over that of the union.
    """
    seen = probability.cover(visible)
    taken = probability.cover(amodal) | seen
    unsure = np.where(probability.values > NEGLIGIBLE, probability.values, 0).astype(np.float64)
    shown = np.count_nonzero(seen)
    grown = taken & ~seen
    return float((shown + unsure[grown].sum()) / max(1.0, np.count_nonzero(taken) + unsure[~taken].sum()))


def _within(probability: SoftMask, frame: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which of its canvas pixels have their centre in the (H, W) frame."""
    x0, y0, x1, y1 = probability.box
    return in_frame((x0, y0), (x1 - x0, y1 - y0), probability.values.shape, frame)


def _joined(likely: NDArray[np.bool_], seen: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """The visible pixels and the likely parts that touch them, opened with a disc of `radius`."""
    import cv2

    new = likely & ~seen
    if radius >= 1 and new.any():
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        new = np.asarray(cv2.morphologyEx(new.astype(np.uint8), cv2.MORPH_OPEN, disc)).astype(bool)
    whole = new | seen
    return joined(whole, seen)


def calibrated(probability: SoftMask, temperature: float) -> SoftMask:
    """The probability with its logit divided by the temperature that was fitted on the development composites."""
    if temperature == 1:
        return probability
    p = np.clip(probability.values, 1e-6, 1 - 1e-6)
    odds = (p / (1 - p)) ** (1 / temperature)
    return SoftMask((odds / (1 + odds)).astype(np.float32), probability.origin, probability.size)


@cache
def runner(threads: int = 0, weights: str | None = None) -> tuple[Runner, int, float]:
    """The embedded network, or one exported to the file `weights`; its crop size and temperature. One session a process.

    Raises:
        WeightsError: the file is missing, altered, or no network of this kind.
    """
    session = open_session(str(weights or embedded(WEIGHTS)), threads)
    facts = session.get_modelmeta().custom_metadata_map
    if not {"size", "temperature"} <= set(facts):
        raise WeightsError(f"{weights} is no exported network of the method embedded; write one with amodal export")

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        x = np.ascontiguousarray(x, np.float32)
        seen = dict(zip(image_encoder.LEVELS, image_encoder.encode(x[:, :3], threads), strict=True))
        return np.asarray(session.run(None, {"crop": x, **seen})[0], np.float32)

    return run, int(facts["size"]), float(facts["temperature"])
