"""`Report`: from rows to the numbers of `report.json`, with intervals, bins, baselines, protocols and published figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError
from ..core.files import check_targets, write_json, write_text
from ..data import Dataset
from ..data.problems import alike
from .detection import OCCLUSION_BINS, Picture, match
from .metrics import BINS, METRICS, OCCLUDED, Counts, Interval, Ratio, calibration_interval, interval, iou, resamples
from .published import another_set, published_for
from .rows import BASELINES, ScoredObject, read_rows, read_settings

__all__ = ["COLUMNS", "Report"]

FORMAT = "amodal/report/1"
COLUMNS: dict[str, str] = {
    "iou": "mean over objects",
    "iou_pooled": "pooled over the data set: sum of intersections / sum of unions (deocclusion, Zhan et al.)",
    "recall_pooled": "pooled: sum of intersections / sum of truths (Zhan et al.: pAcc)",
    "iou_occluded": f"occluded region, mean over objects more than {OCCLUDED:.0%} occluded",
    "iou_occluded_defined": "occluded region, mean over objects where truth or prediction claims an occluded pixel",
    "iou_occluded_pooled": "occluded region, pooled over all objects (Zhan et al.: mIOU-inv)",
    "boundary_f": "F measure of contours within 0.8 % of the diagonal, mean over objects (DAVIS)",
}
"""Metric to its protocol in words: printed on every column."""


@dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
        content: what `report.json` holds; its keys are documented in docs/evaluate.md.
        rows: the scored objects.
        data: the data set, for the pictures of the HTML page; None where it is not at hand.
    """

    content: dict[str, Any]
    rows: list[ScoredObject]
    data: Dataset | None = None

    def __repr__(self) -> str:
        value, found = self.content["iou"], self.content["settings"]
        scored = "no IoU" if value is None else f"IoU {value:.1%}"
        return (
            f"Report({found['method']['name']} on {found['data']['name']}, {self.content['objects']} objects, {scored})"
        )

    @classmethod
    def build(cls, settings: Mapping[str, Any], rows: Sequence[ScoredObject], data: Dataset | None = None) -> Report:
        """The numbers of some rows.

        Raises:
            DataError: there are no rows; tells what was bad about the data.
        """
        if not rows:
            told = "; ".join(alike(data.problems)[:3]) if data is not None else ""
            raise DataError(f"there is nothing to report: no object was evaluated{f' ({told})' if told else ''}")
        return cls(numbers(settings, list(rows), data), list(rows), data)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], data: Dataset | None = None) -> Report:
        """The report of a run's folder, computed anew from its rows. Raises DataError if it is not one."""
        path = Path(folder)
        settings = read_settings(path / "run.json")
        return cls.build(settings, list(read_rows(path / "rows.jsonl")), data)

    def __getitem__(self, metric: str) -> float | None:
        """The method's value of a metric: `report["iou"]`."""
        return value_of(self.content["metrics"][metric]["method"])

    def __str__(self) -> str:
        from .tables import summary

        return summary(self.content)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = True) -> dict[str, Path]:
        """Write `report.json` and `report.html` (self-contained); pictures need the data set's photos.

        Returns:
            "json" and "html" to their paths.

        Raises:
            OutputError: cannot be written, or exists and `overwrite` is False.
        """
        from .html import page

        paths = {"json": Path(folder) / "report.json", "html": Path(folder) / "report.html"}
        check_targets(paths.values(), overwrite)
        write_text(paths["html"], page(self))
        write_json(paths["json"], self.content)
        return paths


def value_of(entry: Mapping[str, Any]) -> float | None:
    """The value of an interval's record."""
    value: float | None = entry["value"]
    return value


def groups_of(rows: Sequence[ScoredObject]) -> NDArray[np.int64]:
    """The picture of each row as a number, 0 .. g-1, in the order of first appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(row.image, len(numbers)) for row in rows], np.int64)


def counts_of(rows: Sequence[ScoredObject], who: str = "method") -> Counts:
    """The pixel counts of "method", "visible" or "hull"."""
    return Counts.stack(row.counts[who] for row in rows)


def ratio_of(rows: Sequence[ScoredObject], metric: str, who: str) -> Ratio:
    """A metric of `COLUMNS` as a ratio of sums."""
    if metric == "boundary_f":
        return Ratio.mean(np.array([row.boundary_f[who] for row in rows], np.float64))
    return METRICS[metric](counts_of(rows, who))


class Numbers:
    """Numbers of scored objects, with intervals by drawing pictures again.

    Args:
        rows: at least one.
    """

    def __init__(self, rows: Sequence[ScoredObject]) -> None:
        self.rows = rows
        self.groups = groups_of(rows)
        self.images = int(self.groups.max()) + 1
        self.weights = resamples(self.images)

    def interval(self, ratio: Ratio) -> dict[str, Any]:
        """A ratio's value with its interval, JSON-ready."""
        return interval(ratio, self.groups, self.weights).to_dict()

    def all(self, metric: str, inside: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """A metric of `COLUMNS` of the method and the baselines, over all rows or those `inside`."""
        ratios = {who: ratio_of(self.rows, metric, who) for who in ("method", *BASELINES)}
        return {who: self.interval(ratio if inside is None else ratio.where(inside)) for who, ratio in ratios.items()}

    def mean(self, values: Sequence[float | None]) -> dict[str, Any]:
        """The mean of the values that are known, one a row."""
        known = [np.nan if value is None else value for value in values]
        return self.interval(Ratio.mean(np.array(known, np.float64)))

    def binned(self) -> dict[str, Any]:
        """Mean IoU and mean occluded IoU by occlusion bin, for the method and the baselines."""
        occlusion = counts_of(self.rows).occlusion
        out: dict[str, Any] = {}
        for name, (low, high) in BINS.items():
            inside = (occlusion > low) & (occlusion <= high)
            entry = {metric: self.all(metric, inside) for metric in ("iou", "iou_occluded_defined")}
            out[name] = {"objects": int(np.count_nonzero(inside)), **entry}
        return out

    def by_kind(self) -> dict[str, Any]:
        """Mean IoU by the data set's own `kind`, where it has one."""
        out: dict[str, Any] = {}
        for kind in sorted({str(row.kind) for row in self.rows if row.kind is not None}):
            inside = np.array([str(row.kind) == kind for row in self.rows])
            out[kind] = {"objects": int(np.count_nonzero(inside)), "iou": self.all("iou", inside)}
        return out

    def calibration(self) -> dict[str, Any]:
        """The expected calibration error of `probability`, over pixels that are not visible."""
        known = [row.calibration for row in self.rows if row.calibration is not None]
        if not known:
            return Interval(None, None, None, 0).to_dict()
        nothing = np.zeros(np.shape(known[0]))
        bins = np.array([nothing if row.calibration is None else row.calibration for row in self.rows])
        return calibration_interval(bins, self.groups, self.weights).to_dict()

    def best_of(self) -> dict[str, Any] | None:
        """Mean and pooled IoU of each object's best sample, where several were drawn.

        Where one was made, or none (a failure), the scored mask is the best. Pooled it is unknown where rows do not tell the best
        sample's pixels.
        """
        pairs = [(row, row.best_of) for row in self.rows]
        drawn = [best.k for _, best in pairs if best is not None]
        if not drawn:
            return None
        ious = [row.iou if best is None else best.iou for row, best in pairs]
        pixels = [row.counts["method"] if best is None else best.counts for row, best in pairs]
        told = [each for each in pixels if each is not None]
        pooled = METRICS["iou_pooled"](Counts.stack(told)) if len(told) == len(pixels) else None
        unknown = Interval(None, None, None, 0).to_dict()
        return {
            "k": max(drawn),
            "iou": self.mean(ious),
            "iou_pooled": unknown if pooled is None else self.interval(pooled),
        }

    def precision(self) -> dict[str, Any]:
        """Class-agnostic COCO AP (with its interval) and AR of the amodal masks, for all objects and amodalAPI's occlusion bins."""
        scenes: dict[str, list[ScoredObject]] = {}
        for row in self.rows:
            scenes.setdefault(row.image, []).append(row)
        pictures = [detections(scene) for scene in scenes.values()]
        out: dict[str, Any] = {}
        for name, bounds in OCCLUSION_BINS.items():
            matches = match(pictures, bounds)
            low, high = matches.interval(self.weights[:100])
            out[name] = {**matches.precision(), "ap_low": low, "ap_high": high}
        return out

    def order(self, recovered: bool) -> dict[str, Any] | None:
        """Share of pairs that are ordered right: of those in which one hides the other (`accuracy`), and of all pairs."""
        pairs = np.array([row.order or (0, 0, 0, 0) for row in self.rows], np.float64)
        if not pairs[:, 3].any():
            return None
        known, every = (interval(Ratio(pairs[:, k], pairs[:, k + 1]), self.groups, self.weights) for k in (0, 2))
        return {
            "of": "the recovered order" if recovered else "the order that the scored masks imply",
            "accuracy": known.value,
            "low": known.low,
            "high": known.high,
            "pairs": int(pairs[:, 1].sum()),
            "accuracy_all": every.value,
            "pairs_all": int(pairs[:, 3].sum()),
        }


def numbers(settings: Mapping[str, Any], rows: Sequence[ScoredObject], data: Dataset | None) -> dict[str, Any]:
    """Everything in `report.json`."""
    made = Numbers(rows)
    name = str(settings.get("data", {}).get("name", ""))
    metrics = {metric: {"protocol": protocol, **made.all(metric)} for metric, protocol in COLUMNS.items()}
    failed = [{"id": row.id, "error": row.error} for row in rows if row.error]
    headline = ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled")
    seconds = [row.seconds for row in rows if row.seconds]
    return {
        "format": FORMAT,
        **{metric: metrics[metric]["method"]["value"] for metric in headline},
        "objects": len(rows),
        "images": made.images,
        "occluded_objects": int(np.count_nonzero(counts_of(rows).occlusion > OCCLUDED)),
        "failures": len(failed),
        "occluders_given": sum(bool(row.occluder_given) for row in rows),
        "settings": dict(settings),
        "metrics": metrics,
        "bins": made.binned(),
        "kinds": made.by_kind(),
        "calibration_error": made.calibration(),
        "best_of": made.best_of(),
        "average_precision": made.precision(),
        "order": made.order(settings.get("occluders") == "recovered"),
        "prompt_iou": made.mean([row.visible_iou for row in rows]),
        "seconds_per_object": float(np.median(seconds)) if seconds else None,
        "published": published_for(name, settings, made.images),
        "not_compared": another_set(name, settings, made.images),
        "failed": failed,
        "notes": [*(data.notes if data is not None else ()), *astray(rows)],
        "skipped": [str(problem) for problem in dict.fromkeys(data.problems)] if data is not None else [],
    }


def astray(rows: Sequence[ScoredObject]) -> list[str]:
    """What to note where true visible masks are not inside the amodal ones: no prediction can agree with both."""
    seen = [(row.id, counts_of([row], "visible")) for row in rows]
    found = [name for name, c in seen if float((c.predicted - c.intersection)[0]) > 0.01 * float(c.predicted[0])]
    if not found:
        return []
    return [
        f"{len(found)} objects have more than 1 % of their true visible mask outside of their amodal one, the first {found[0]}"
    ]


def detections(scene: Sequence[ScoredObject]) -> Picture:
    """What was found in a picture, of its objects and beside them, as average precision counts it."""
    place = {row.id: number for number, row in enumerate(scene)}
    found = [(row.score, row.overlaps) for row in scene if not row.error]
    found += [each for row in scene for each in row.unmatched or ()]
    overlaps = np.zeros((len(found), len(scene)))
    for number, (_, near) in enumerate(found):
        for name, value in near:
            if name in place:
                overlaps[number, place[name]] = value
    scores = np.array([1.0 if score is None else score for score, _ in found], np.float64)
    return Picture(scores, overlaps, np.array([row.occlusion for row in scene], np.float64))


def ious_of(rows: Sequence[ScoredObject], who: str = "method") -> NDArray[np.float64]:
    """IoU of every object; NaN where undefined."""
    return iou(counts_of(rows, who))
