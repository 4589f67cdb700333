"""COCO's average precision and recall on amodal masks, and amodalAPI's occlusion bins, without decoding full frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.mask import Mask
from .metrics import bounds

__all__ = ["OCCLUSION_BINS", "Matches", "Picture", "average_precision", "match"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
OCCLUSION_BINS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1.0),
    "none": (0.0, 1e-5),
    "partial": (1e-5, 0.25),
    "heavy": (0.25, 1.0),
}
"""amodalAPI's bins of the truth's occluded share: low < share <= high (0 belongs to the first two)."""


@dataclass(frozen=True)
class Picture:
    """One picture's detections and truths, as average precision sees them.

    Attributes:
        scores: (d,) of the detections.
        overlaps: (d, t) IoU of each detection with each truth.
        occlusion: (t,) share of each truth that is occluded, in [0, 1].
    """

    scores: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    occlusion: NDArray[np.float64]

    @classmethod
    def of(cls, detections: Sequence[tuple[Mask, float]], truths: Sequence[tuple[Mask, float]]) -> Picture:
        """From masks: detections with their scores, truths with their occluded share."""
        overlaps = np.array([[mask.iou(truth) for truth, _ in truths] for mask, _ in detections])
        return cls(
            np.array([score for _, score in detections], np.float64),
            overlaps.reshape(len(detections), len(truths)),
            np.array([share for _, share in truths], np.float64),
        )


@dataclass(frozen=True)
class Matches:
    """All detections after matching: what curves and their resamples need.

    Attributes:
        scores: (n,) of the detections, pictures one after the other.
        hit: (thresholds, n) matched to a truth.
        skip: (thresholds, n) matched to an ignored truth: no error, no success.
        picture: (n,) number of the picture.
        positives: (pictures,) truths that count.
    """

    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    skip: NDArray[np.bool_]
    picture: NDArray[np.int64]
    positives: NDArray[np.int64]

    def precision(self, weights: NDArray[np.float64] | None = None) -> dict[str, float | None]:
        """AP, AP50, AP75 and AR; `weights` (pictures,) says how often each picture counts, as if it were there that often."""
        times = np.ones(self.positives.size) if weights is None else weights
        positives = float((self.positives * times).sum())
        if positives == 0:
            return {"ap": None, "ap50": None, "ap75": None, "ar": None}
        precision, recall = _curve(self.scores, self.hit, self.skip, positives, times[self.picture])
        return {
            "ap": float(precision.mean()),
            "ap50": float(precision[0].mean()),
            "ap75": float(precision[5].mean()),
            "ar": float(recall.mean()),
        }

    def interval(self, weights: NDArray[np.float64]) -> tuple[float | None, float | None]:
        """The 95 % bootstrap interval of AP; `weights` (draws, pictures) as `metrics.resamples` makes them."""
        drawn = [value for row in weights if (value := self.precision(row)["ap"]) is not None]
        return bounds(np.array(drawn)) if drawn else (None, None)


def match(pictures: Sequence[Picture], occlusion: tuple[float, float] = (0.0, 1.0), per_image: int = 100) -> Matches:
    """COCO's matching of all pictures; see `average_precision` for the arguments."""
    low, high = occlusion
    empty = np.zeros((len(THRESHOLDS), 0), bool)
    scores, hits, skips, numbers = [np.zeros(0)], [empty], [empty], [np.zeros(0, np.int64)]
    positives = np.zeros(len(pictures), np.int64)
    for number, picture in enumerate(pictures):
        share = picture.occlusion
        ignore = ~(((share > low) | (low == 0.0)) & (share <= high))
        positives[number] = np.count_nonzero(~ignore)
        best = np.argsort(-picture.scores, kind="mergesort")[:per_image]
        # COCO looks at ignored truths last, so that a detection prefers a truth that counts.
        order = np.argsort(ignore, kind="mergesort")
        hit, skip = _match(picture.overlaps[best][:, order], ignore[order])
        scores.append(picture.scores[best])
        hits.append(hit)
        skips.append(skip)
        numbers.append(np.full(best.size, number, np.int64))
    columns = np.concatenate(hits, axis=1), np.concatenate(skips, axis=1)
    return Matches(np.concatenate(scores), *columns, np.concatenate(numbers), positives)


def average_precision(
    pictures: Iterable[Picture], occlusion: tuple[float, float] = (0.0, 1.0), per_image: int = 100
) -> dict[str, float | None]:
    """AP and AR at IoU .5:.05:.95, AP50 and AP75, as COCOeval computes them for masks of one category.

    Args:
        pictures: in the order of their ids, as COCOeval sorts them (it matters between equal scores alone).
        occlusion: low < share <= high; 0 belongs to bins that start at 0. Other truths are ignored as COCO ignores areas:
            matching one is no error.
        per_image: the best-scored detections a picture that count (COCO: 100).

    Returns:
        `ap`, `ap50`, `ap75`, `ar`; None where there is no truth. For several categories average over them.
    """
    return match(list(pictures), occlusion, per_image).precision()


def _match(overlaps: NDArray[np.float64], ignore: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """COCO's greedy matching in one picture: (thresholds, detections) matched and ignored. Rows sorted by score."""
    found, there = overlaps.shape
    hit = np.zeros((len(THRESHOLDS), found), bool)
    skip = np.zeros_like(hit)
    for level, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(there, bool)
        for number in range(found):
            best, chosen = min(float(threshold), 1 - 1e-10), -1
            for k in np.flatnonzero((overlaps[number] >= best) & ~taken).tolist():
                if chosen >= 0 and not ignore[chosen] and ignore[k]:
                    break
                if overlaps[number, k] >= best:
                    best, chosen = overlaps[number, k], k
            if chosen >= 0:
                taken[chosen] = True
                hit[level, number] = True
                skip[level, number] = ignore[chosen]
    return hit, skip


def _curve(
    scores: NDArray[np.float64],
    hit: NDArray[np.bool_],
    skip: NDArray[np.bool_],
    positives: float,
    times: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolated precision (thresholds, recalls) and the last recall (thresholds,); detections count `times`."""
    order = np.argsort(-scores, kind="mergesort")
    order = order[times[order] > 0]
    right = np.cumsum((hit & ~skip)[:, order] * times[order], axis=1)
    wrong = np.cumsum((~hit & ~skip)[:, order] * times[order], axis=1)
    precision = np.zeros((len(THRESHOLDS), len(RECALLS)))
    last = np.zeros(len(THRESHOLDS))
    for level in range(len(THRESHOLDS)):
        if order.size == 0:
            continue
        recall = right[level] / positives
        values = right[level] / np.maximum(right[level] + wrong[level], np.spacing(1))
        values = np.maximum.accumulate(values[::-1])[::-1]
        place = np.searchsorted(recall, RECALLS, side="left")
        inside = place < values.size
        precision[level, inside] = values[place[inside]]
        last[level] = recall[-1]
    return precision, last
