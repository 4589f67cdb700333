"""Paired comparison of runs: the same objects, differences with intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from .metrics import BINS, Ratio, bounds, drawn
from .report import COLUMNS, Numbers, counts_of, ratio_of
from .rows import ScoredObject, read_rows, read_settings
from .tables import apart, check_one_truth, data_name, method_name, table

__all__ = ["compare", "comparison_text"]


def compare(folders: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """Differences of runs to the first one, over the objects that all of them have.

    Args:
        folders: of two or more runs on the same data set.

    Returns:
        JSON-ready: `objects`, `images`, `runs` (names), and per metric the values and, for every run but the first, the paired
        difference with its 95 % bootstrap interval over pictures; `bins`: mean IoU by occlusion.

    Raises:
        DataError: fewer than two runs, different data sets, or no object in common.
    """
    if len(folders) < 2:
        raise DataError("compare needs at least two folders of runs")
    paths = [Path(folder) for folder in folders]
    runs = [(read_settings(path / "run.json"), list(read_rows(path / "rows.jsonl"))) for path in paths]
    data = [settings.get("data", {}) for settings, _ in runs]
    for path, other in zip(paths, data, strict=True):
        if data_name(other) != data_name(data[0]):
            raise DataError(
                f"{path} is of the data set {data_name(other)}, {paths[0]} of {data_name(data[0])}; compare runs of one data set"
            )
    check_one_truth(zip(paths, data, strict=True))
    common = set.intersection(*({row.id for row in rows} for _, rows in runs))
    if not common:
        raise DataError(f"{paths[0]} and {paths[1]} have no object in common")
    aligned = [sorted((row for row in rows if row.id in common), key=lambda row: row.id) for _, rows in runs]
    _same_truth(aligned, paths)
    first = Numbers(aligned[0])
    metrics = {metric: _compared([ratio_of(rows, metric, "method") for rows in aligned], first) for metric in COLUMNS}
    occlusion = counts_of(aligned[0]).occlusion
    bins: dict[str, Any] = {}
    for name, (low, high) in BINS.items():
        inside = (occlusion > low) & (occlusion <= high)
        ratios = [ratio_of(rows, "iou", "method").where(inside) for rows in aligned]
        bins[name] = {"objects": int(np.count_nonzero(inside)), **_compared(ratios, first)}
    return {
        "format": "amodal/comparison/1",
        "data": data[0],
        "runs": [
            {"folder": name, "method": method_name(run)} for name, (run, _) in zip(apart(paths), runs, strict=True)
        ],
        "objects": len(common),
        "left_out": [len(rows) - len(common) for _, rows in runs],
        "images": first.images,
        "metrics": {metric: {"protocol": COLUMNS[metric], **entry} for metric, entry in metrics.items()},
        "bins": bins,
    }


def _same_truth(aligned: Sequence[Sequence[ScoredObject]], paths: Sequence[Path]) -> None:
    for rows, path in zip(aligned[1:], paths[1:], strict=True):
        for first, other in zip(aligned[0], rows, strict=True):
            if first.counts["method"][4:6] != other.counts["method"][4:6]:
                raise DataError(
                    f"{path} has another truth for the object {other.id} than {paths[0]}; is the data the same?"
                )


def _compared(ratios: Sequence[Ratio], first: Numbers) -> dict[str, Any]:
    """Values of all runs and paired differences to the first."""
    values = [drawn(ratio, first.groups, first.weights) for ratio in ratios]
    differences: list[dict[str, float | None]] = []
    for ratio, each in zip(ratios[1:], values[1:], strict=True):
        paired = each - values[0]
        if ratio.value is None or ratios[0].value is None or np.isnan(paired).all():
            differences.append({"value": None, "low": None, "high": None})
            continue
        low, high = bounds(paired)
        differences.append({"value": ratio.value - ratios[0].value, "low": low, "high": high})
    return {"values": [ratio.value for ratio in ratios], "differences": differences}


def comparison_text(content: Mapping[str, Any]) -> str:
    """The runs with their numbers, and the comparison as a table: values in per cent, differences to the first run in points."""
    names = [f"#{number}" for number in range(1, len(content["runs"]) + 1)]
    runs = "\n".join(
        f"{name}  {run['folder']} ({run['method']})" for name, run in zip(names, content["runs"], strict=True)
    )
    head = ["per cent", *names, *(f"{name} - {names[0]}" for name in names[1:])]
    lines = [head]
    bins = {f"iou, {label} % occluded ({entry['objects']})": entry for label, entry in content["bins"].items()}
    for metric, entry in {**content["metrics"], **bins}.items():
        values = ["-" if value is None else f"{100 * value:.1f}" for value in entry["values"]]
        points = [
            "-" if d["value"] is None else f"{100 * d['value']:+.1f} [{100 * d['low']:+.1f}, {100 * d['high']:+.1f}]"
            for d in entry["differences"]
        ]
        lines.append([metric, *values, *points])
    note = f"{content['objects']} objects in {content['images']} images; paired, 95 % bootstrap intervals over images"
    return f"{note}\n{runs}\n\n{table(lines)}"
