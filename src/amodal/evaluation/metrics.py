"""Metrics as pure functions: masks to pixel counts, counts to ratios of sums, ratios to values with bootstrap intervals.

Every number of a table is sum(numerator) / sum(denominator) over objects: a pooled IoU has pixels in both, a mean has the
values over ones. Undefined objects have the denominator 0: they count neither as 0 nor as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.mask import Mask, bounding_box, grown

__all__ = [
    "BINS",
    "METRICS",
    "OCCLUDED",
    "Counts",
    "Interval",
    "Ratio",
    "best_of",
    "boundary_f",
    "calibration_bins",
    "calibration_error",
    "count",
    "interval",
    "majority",
]

Values = NDArray[np.float64]
OCCLUDED = 0.05
"""Objects whose occluded share is above this count as occluded."""
BINS: dict[str, tuple[float, float]] = {
    "0": (-1.0, 0.0),
    "0-10": (0.0, 0.1),
    "10-50": (0.1, 0.5),
    "50-100": (0.5, 1.0),
    "<50": (-1.0, np.nextafter(0.5, 0.0)),
}
"""Occlusion bins by name: low < share occluded <= high; the last is the subset of the tuning-free paper, strictly below 50 %."""


@dataclass(frozen=True)
class Counts:
    """Pixel counts, one entry an object: (n,) float64. P is the prediction, A the amodal truth, V the visible truth.

    Attributes:
        intersection: |P & A|.
        union: |P | A|.
        occluded_intersection: |P & A - V|.
        occluded_union: |(P | A) - V|.
        amodal: |A|.
        visible: |V|.
        predicted: |P|.
    """

    intersection: Values
    union: Values
    occluded_intersection: Values
    occluded_union: Values
    amodal: Values
    visible: Values
    predicted: Values

    @classmethod
    def stack(cls, rows: Iterable[Sequence[float]]) -> Counts:
        """From rows of seven numbers in the order of the fields."""
        table = np.asarray(list(rows), np.float64).reshape(-1, len(fields(cls)))
        return cls(*table.T)

    @property
    def occlusion(self) -> Values:
        """Share of each object that is occluded, in [0, 1]; 0 for an empty truth."""
        return np.maximum(1.0 - _divide(self.visible, self.amodal, 1.0), 0.0)


def count(predicted: Mask, amodal: Mask, visible: Mask) -> tuple[int, int, int, int, int, int, int]:
    """The seven pixel counts of one object, in the order of the fields of `Counts`. Works on crops, never on whole frames."""
    common = predicted & amodal
    both, seen_in_both = common.area, visible.overlap(common)
    total = predicted.area + amodal.area - both
    seen_in_union = visible.overlap(predicted) + visible.overlap(amodal) - seen_in_both
    return (both, total, both - seen_in_both, total - seen_in_union, amodal.area, visible.area, predicted.area)


@dataclass(frozen=True)
class Ratio:
    """sum(numerator) / sum(denominator), one entry an object; a denominator of 0 leaves the object out."""

    numerator: Values
    denominator: Values

    @property
    def value(self) -> float | None:
        """The ratio of the sums; None if nothing is defined."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total > 0 else None

    @property
    def defined(self) -> int:
        """How many objects enter."""
        return int(np.count_nonzero(self.denominator))

    def where(self, keep: NDArray[np.bool_]) -> Ratio:
        """Only the objects in `keep` (n,) bool."""
        return Ratio(np.where(keep, self.numerator, 0.0), np.where(keep, self.denominator, 0.0))

    @classmethod
    def mean(cls, values: Values) -> Ratio:
        """The mean over objects; NaN marks an undefined one."""
        known = ~np.isnan(values)
        return cls(np.where(known, values, 0.0), known.astype(np.float64))


def iou(c: Counts) -> Values:
    """IoU per object; NaN where prediction and truth are both empty."""
    return _divide(c.intersection, c.union, np.nan)


def iou_occluded(c: Counts) -> Values:
    """IoU of the occluded region per object, |P & A - V| / |(P | A) - V|; NaN where neither claims an occluded pixel."""
    return _divide(c.occluded_intersection, c.occluded_union, np.nan)


METRICS: dict[str, Callable[[Counts], Ratio]] = {
    "iou": lambda c: Ratio.mean(iou(c)),
    "iou_pooled": lambda c: Ratio(c.intersection, c.union),
    "recall_pooled": lambda c: Ratio(c.intersection, c.amodal),
    "iou_occluded": lambda c: Ratio.mean(iou_occluded(c)).where(c.occlusion > OCCLUDED),
    "iou_occluded_defined": lambda c: Ratio.mean(iou_occluded(c)),
    "iou_occluded_pooled": lambda c: Ratio(c.occluded_intersection, c.occluded_union),
}
"""Name to metric:
iou: mean over objects. iou_pooled: pooled over the data set (deocclusion, Zhan et al.: "mIOU"). recall_pooled: their "pAcc".
iou_occluded: mean over objects that are more than 5 % occluded. iou_occluded_defined: mean wherever it is defined, so false growth
on an unoccluded object is a 0. iou_occluded_pooled: pooled over all objects (Zhan et al.: "mIOU-inv").
"""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval [low, high], and how many objects it is of. None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    objects: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"value": self.value, "low": self.low, "high": self.high, "objects": self.objects}


def group_sums(values: Values, groups: NDArray[np.int64]) -> Values:
    """Sums of `values` (n,) or (n, k) within each group 0 .. g-1: (g,) or (g, k)."""
    out = np.zeros((int(groups.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(out, groups, values)
    return out


def resamples(groups: int, draws: int = 1000, seed: int = 0) -> Values:
    """How often each of `groups` pictures is drawn in each bootstrap sample: (draws, groups)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1.0 / groups), size=draws).astype(np.float64)


def interval(ratio: Ratio, groups: NDArray[np.int64], weights: Values | None = None) -> Interval:
    """The value with its 95 % percentile bootstrap interval.

    Args:
        ratio: the metric.
        groups: (n,) the picture of each object, 0 .. g-1: pictures are drawn, not objects, since objects of one picture are alike.
        weights: from `resamples(g)`; drawn once and reused for many metrics.
    """
    if ratio.value is None:
        return Interval(None, None, None, 0)
    weights = resamples(int(groups.max()) + 1) if weights is None else weights
    return Interval(ratio.value, *bounds(drawn(ratio, groups, weights)), ratio.defined)


def drawn(ratio: Ratio, groups: NDArray[np.int64], weights: Values) -> Values:
    """The value in each bootstrap sample: (draws,), NaN where it is undefined; arguments as in `interval`."""
    top, bottom = (weights @ group_sums(part, groups) for part in (ratio.numerator, ratio.denominator))
    return _divide(top, bottom, np.nan)


def bounds(values: Values) -> tuple[float, float]:
    """The 95 % interval of bootstrap values; NaN is left out."""
    low, high = np.percentile(values[~np.isnan(values)], [2.5, 97.5])
    return float(low), float(high)


def best_of(samples: Sequence[Mask], amodal: Mask) -> Mask:
    """Of several predictions that of the highest IoU, the first of equals: "best of k" (pix2gestalt: k = 3)."""
    return max(samples, key=lambda sample: sample.iou(amodal))


def majority(samples: Sequence[Mask]) -> Mask:
    """The pixels that at least half of the predictions have (pix2gestalt's headline number: 16 predictions)."""
    box = bounding_box(sample.box for sample in samples)
    votes = np.sum([sample.crop(box) for sample in samples], axis=0, dtype=np.int64)
    return Mask.from_array(votes * 2 >= len(samples), box[:2])


def boundary_f(predicted: Mask, amodal: Mask, tolerance: float | None = None, *, diagonal: float) -> float:
    """F measure of the contours: harmonic mean of precision and recall of contour pixels within a distance (DAVIS, BSDS).

    Args:
        predicted: one mask.
        amodal: the other.
        tolerance: in pixels; None takes 0.8 % of the diagonal, as DAVIS does.
        diagonal: of the frame, in pixels.

    Returns:
        in [0, 1]; 1 for two empty masks, 0 if one is empty.
    """
    import cv2

    if not predicted or not amodal:
        return float(not predicted and not amodal)
    reach = float(np.ceil(0.008 * diagonal)) if tolerance is None else tolerance
    box = grown(bounding_box((predicted.box, amodal.box)), 1)
    edges = [_contour(mask.crop(box)) for mask in (predicted, amodal)]
    radius = int(reach)
    steps = np.arange(-radius, radius + 1) ** 2
    disc = (steps[:, None] + steps[None, :] <= reach**2).astype(np.uint8)
    hits = []
    for own, other in (edges, edges[::-1]):
        near = cv2.dilate(other.view(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        hits.append(np.count_nonzero(near[own]) / np.count_nonzero(own))
    precision, recall = hits
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _contour(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Inside pixels with a 4-neighbour outside; `bits` has an empty rim."""
    inner = np.zeros_like(bits)
    inner[1:-1, 1:-1] = bits[:-2, 1:-1] & bits[2:, 1:-1] & bits[1:-1, :-2] & bits[1:-1, 2:]
    return bits & ~inner


def calibration_bins(probability: NDArray[np.float32], truth: NDArray[np.bool_], bins: int = 10) -> Values:
    """What the calibration error needs of some pixels: (bins, 3): count, sum of probability, number that are true.

    Args:
        probability: (n,) float32 in [0, 1].
        truth: (n,) bool.
        bins: equal steps of probability.
    """
    index = np.minimum((probability * bins).astype(np.int64), bins - 1)
    parts = (None, probability.astype(np.float64), truth.astype(np.float64))
    return np.stack([np.bincount(index, weights=part, minlength=bins) for part in parts], axis=1)


def calibration_error(bins: Values) -> float | None:
    """Expected calibration error (Guo et al. 2017, eq. 3) of summed `calibration_bins`: mean |confidence - accuracy| over pixels."""
    total = bins[..., 0].sum()
    return float(np.abs(bins[..., 1] - bins[..., 2]).sum() / total) if total else None


def calibration_interval(bins: Values, groups: NDArray[np.int64], weights: Values) -> Interval:
    """The calibration error of objects' bins (n, bins, 3) with its bootstrap interval over pictures."""
    value = calibration_error(bins.sum(axis=0))
    if value is None:
        return Interval(None, None, None, 0)
    sums = group_sums(bins.reshape(len(bins), -1), groups)
    again = (weights @ sums).reshape(len(weights), *bins.shape[1:])
    errors = _divide(np.abs(again[..., 1] - again[..., 2]).sum(axis=1), again[..., 0].sum(axis=1), np.nan)
    return Interval(value, *bounds(errors), int(np.count_nonzero(bins[..., 0].sum(axis=1))))


def _divide(top: Values, bottom: Values, otherwise: float) -> Values:
    safe = np.where(bottom > 0, bottom, 1.0)
    return np.where(bottom > 0, top / safe, otherwise)
