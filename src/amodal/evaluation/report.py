"""`Report`: from rows to the numbers of `report.json`, with intervals, bins, baselines, protocols and published figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import DataError, OutputError
from ..files import read_json, write_json, write_text
from .detection import OCCLUSION_BINS, Picture, match
from .metrics import (
    BINS,
    METRICS,
    OCCLUDED,
    Counts,
    Interval,
    Ratio,
    calibration_interval,
    interval,
    iou,
    resamples,
)
from .published import published_for
from .rows import BASELINES, read_rows

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
        rows: one record per object.
        data: the data set, for the pictures of the HTML page; None where it is not at hand.
    """

    content: dict[str, Any]
    rows: list[dict[str, Any]] = field(repr=False)
    data: Dataset | None = field(default=None, repr=False)

    @classmethod
    def build(cls, settings: Mapping[str, Any], rows: Sequence[dict[str, Any]], data: Dataset | None = None) -> Report:
        """The numbers of some rows.

        Raises:
            DataError: there are no rows.
        """
        if not rows:
            raise DataError("there is nothing to report: no object was evaluated")
        return cls(numbers(settings, list(rows), data), list(rows), data)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], data: Dataset | None = None) -> Report:
        """The report of a run's folder, computed anew from its rows. Raises DataError if it is not one."""
        path = Path(folder)
        settings = read_json(path / "run.json", DataError)
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
        if not overwrite and any(path.exists() for path in paths.values()):
            raise OutputError(f"{paths['json']} exists already; add --force to replace it, or choose another folder")
        write_text(paths["html"], page(self))
        write_json(paths["json"], self.content)
        return paths


def value_of(entry: Mapping[str, Any]) -> float | None:
    """The value of an interval's record."""
    value: float | None = entry["value"]
    return value


def groups_of(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """The picture of each row as a number, 0 .. g-1, in the order of first appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(row["image"], len(numbers)) for row in rows], np.int64)


def counts_of(rows: Sequence[Mapping[str, Any]], who: str = "method") -> Counts:
    """The pixel counts of "method", "visible" or "hull"."""
    return Counts.stack(row["counts"][who] for row in rows)


def ratio_of(rows: Sequence[Mapping[str, Any]], metric: str, who: str) -> Ratio:
    """A metric of `COLUMNS` as a ratio of sums."""
    if metric == "boundary_f":
        return Ratio.mean(np.array([row["boundary_f"][who] for row in rows], np.float64))
    return METRICS[metric](counts_of(rows, who))


def numbers(settings: Mapping[str, Any], rows: list[dict[str, Any]], data: Dataset | None) -> dict[str, Any]:
    """Everything in `report.json`."""
    groups = groups_of(rows)
    weights = resamples(int(groups.max()) + 1)
    who = ("method", *BASELINES)
    metrics: dict[str, Any] = {}
    for metric, protocol in COLUMNS.items():
        entries = {name: interval(ratio_of(rows, metric, name), groups, weights).to_dict() for name in who}
        metrics[metric] = {"protocol": protocol, **entries}
    occlusion = counts_of(rows).occlusion
    failed = [{"id": row["id"], "error": row["error"]} for row in rows if row.get("error")]
    headline = ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled")
    seconds = [row["seconds"] for row in rows if row.get("seconds")]
    return {
        "format": FORMAT,
        **{metric: metrics[metric]["method"]["value"] for metric in headline},
        "objects": len(rows),
        "images": int(groups.max()) + 1,
        "occluded_objects": int(np.count_nonzero(occlusion > OCCLUDED)),
        "failures": len(failed),
        "occluders_given": sum(bool(row.get("occluder_given")) for row in rows),
        "settings": dict(settings),
        "metrics": metrics,
        "bins": binned(rows, occlusion, groups, weights),
        "kinds": by_kind(rows, groups, weights),
        "calibration_error": calibration(rows, groups, weights).to_dict(),
        "best_of": best_of_samples(rows, groups, weights),
        "average_precision": precision_bins(rows, weights[:100]),
        "order": order_totals(rows, groups, weights),
        "prompt_iou": mean_of(rows, "visible_iou", groups, weights),
        "seconds_per_object": float(np.median(seconds)) if seconds else None,
        "published": published_for(str(settings.get("data", {}).get("name", ""))),
        "failed": failed,
        "skipped": [str(problem) for problem in dict.fromkeys(data.problems)] if data is not None else [],
    }


def binned(
    rows: Sequence[dict[str, Any]], occlusion: NDArray[np.float64], groups: NDArray[np.int64], weights: Any
) -> dict[str, Any]:
    """Mean IoU and mean occluded IoU by occlusion bin, for the method and the baselines."""
    out: dict[str, Any] = {}
    for name, (low, high) in BINS.items():
        inside = (occlusion > low) & (occlusion <= high)
        entry: dict[str, Any] = {"objects": int(np.count_nonzero(inside))}
        for metric in ("iou", "iou_occluded_defined"):
            entry[metric] = {
                who: interval(ratio_of(rows, metric, who).where(inside), groups, weights).to_dict()
                for who in ("method", *BASELINES)
            }
        out[name] = entry
    return out


def by_kind(rows: Sequence[dict[str, Any]], groups: NDArray[np.int64], weights: Any) -> dict[str, Any]:
    """Mean IoU by the data set's own `kind`, where it has one."""
    kinds = sorted({str(row["kind"]) for row in rows if row.get("kind") is not None})
    out: dict[str, Any] = {}
    for kind in kinds:
        inside = np.array([str(row.get("kind")) == kind for row in rows])
        values = {
            who: interval(ratio_of(rows, "iou", who).where(inside), groups, weights).to_dict()
            for who in ("method", *BASELINES)
        }
        out[kind] = {"objects": int(np.count_nonzero(inside)), "iou": values}
    return out


def calibration(rows: Sequence[dict[str, Any]], groups: NDArray[np.int64], weights: Any) -> Interval:
    """The expected calibration error of `probability`, over pixels that are not visible."""
    known = [index for index, row in enumerate(rows) if row.get("calibration") is not None]
    if not known:
        return Interval(None, None, None, 0)
    bins = np.zeros((len(rows), *np.shape(rows[known[0]]["calibration"])))
    for index in known:
        bins[index] = rows[index]["calibration"]
    return calibration_interval(bins, groups, weights)


def best_of_samples(rows: Sequence[dict[str, Any]], groups: NDArray[np.int64], weights: Any) -> dict[str, Any] | None:
    """The mean over objects of the best sample's IoU, where several were drawn."""
    if not any(row.get("best_of") for row in rows):
        return None
    values = np.array([row["best_of"]["iou"] if row.get("best_of") else np.nan for row in rows], np.float64)
    k = max(row["best_of"]["k"] for row in rows if row.get("best_of"))
    return {"k": k, "iou": interval(Ratio.mean(values), groups, weights).to_dict()}


def mean_of(rows: Sequence[dict[str, Any]], key: str, groups: NDArray[np.int64], weights: Any) -> dict[str, Any]:
    """The mean of a field over the rows that have it."""
    values = np.array([np.nan if row.get(key) is None else row[key] for row in rows], np.float64)
    return interval(Ratio.mean(values), groups, weights).to_dict()


def precision_bins(rows: Sequence[dict[str, Any]], weights: Any) -> dict[str, Any]:
    """Class-agnostic COCO AP (with its interval) and AR of the amodal masks, for all objects and amodalAPI's occlusion bins."""
    scenes: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        scenes.setdefault(row["image"], []).append(row)
    pictures = []
    for scene in scenes.values():
        place = {row["id"]: number for number, row in enumerate(scene)}
        found = [(row["score"], row["overlaps"]) for row in scene if not row.get("error")]
        found += [(score, overlaps) for row in scene for score, overlaps in row.get("unmatched") or ()]
        overlaps = np.zeros((len(found), len(scene)))
        for number, (_, near) in enumerate(found):
            for name, value in near:
                if name in place:
                    overlaps[number, place[name]] = value
        scores = np.array([1.0 if score is None else score for score, _ in found], np.float64)
        pictures.append(Picture(scores, overlaps, np.array([row["occlusion"] for row in scene], np.float64)))
    out: dict[str, Any] = {}
    for name, bounds in OCCLUSION_BINS.items():
        matches = match(pictures, bounds)
        low, high = matches.interval(weights)
        out[name] = {**matches.precision(), "ap_low": low, "ap_high": high}
    return out


def order_totals(rows: Sequence[dict[str, Any]], groups: NDArray[np.int64], weights: Any) -> dict[str, Any] | None:
    """Share of pairs with a known order that the predicted masks order right; None where no order is known."""
    pairs = np.array([row.get("order") or (0, 0) for row in rows], np.float64)
    if not pairs[:, 1].any():
        return None
    found = interval(Ratio(pairs[:, 0], pairs[:, 1]), groups, weights)
    return {"accuracy": found.value, "low": found.low, "high": found.high, "pairs": int(pairs[:, 1].sum())}


def ious_of(rows: Sequence[dict[str, Any]], who: str = "method") -> NDArray[np.float64]:
    """IoU of every object; NaN where undefined."""
    return iou(counts_of(rows, who))
