"""Methods by data sets: runs on several data sets in one table, with the average and the subset below 50 % occlusion."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, OutputError, UsageError
from ..core.files import check_targets, read_json, write_text
from .metrics import BINS
from .report import counts_of, ratio_of
from .rows import ScoredObject, read_rows, read_settings
from .tables import apart, check_one_truth, data_name, markdown, method_name

__all__ = ["Run", "check_place", "find_runs", "matrix", "matrix_rows", "read_runs", "write_table"]

METRICS = ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled")
BELOW = "<50"
"""The subset of the tuning-free paper, a name of `metrics.BINS`."""


@dataclass(frozen=True)
class Run:
    """A run's folder: its settings, its rows by object, and the data set in words ("cocoa val")."""

    folder: Path
    settings: dict[str, Any]
    rows: dict[str, ScoredObject]

    @property
    def data(self) -> str:
        """The data set with its split, and its label if it has one."""
        return data_name(self.settings.get("data", {}))

    @property
    def method(self) -> str:
        """The method's name."""
        return method_name(self.settings)


def check_place(folder: Path, files: Sequence[str], overwrite: bool) -> None:
    """To be asked before several runs go to `folder`, each in one of its own, and then `files`, of which the first is JSON.

    Raises:
        ExistsError: there are such files, which no earlier run of several wrote, and they may not be replaced.
        OutputError: the folder holds a run of one method, or other files and no run.
    """
    paths = [folder / name for name in files]
    if _is_ours(paths[0]):
        return
    check_targets(paths, overwrite)
    if (folder / "run.json").is_file():
        raise OutputError(f"{folder} holds a run of one method; choose another folder for several")
    others = sorted(path.name for path in folder.glob("[!.]*") if path not in paths)
    if others and not any(any(folder.glob(f"{inner}run.json")) for inner in ("*/", "*/*/")):
        raise OutputError(f"{folder} holds other files ({others[0]}); choose an empty folder")


def _is_ours(file: Path) -> bool:
    try:
        content = read_json(file, DataError)
    except DataError:  # absent, or not JSON
        return False
    return isinstance(content, dict) and content.get("format") in ("amodal/table/1", "amodal/comparison/1")


def find_runs(folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The folders of runs among `folders` and inside of them, in order.

    Raises:
        DataError: a folder that is no run and holds none.
    """
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        inside = (
            [folder] if (folder / "run.json").exists() else [file.parent for file in sorted(folder.rglob("run.json"))]
        )
        if not inside:
            raise DataError(f"cannot read {folder / 'run.json'}: is {folder} the folder of a run?")
        for path in inside:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def read_runs(folders: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Runs from their folders, see `find_runs`. Raises DataError for a damaged one."""
    runs = []
    for path in find_runs(folders):
        rows = {row.id: row for row in read_rows(path / "rows.jsonl")}
        if not rows:
            raise DataError(f"{path} holds no evaluated object")
        runs.append(Run(path, read_settings(path / "run.json"), rows))
    return runs


def labels_of(runs: Sequence[Run]) -> list[str]:
    """What each run is called: its method; with what tells the folders apart where one data set has several runs of it."""
    alike: dict[tuple[str, str], list[Path]] = {}
    for run in runs:
        alike.setdefault((run.data, run.method), []).append(run.folder)
    names = {key: dict(zip(folders, apart(folders), strict=True)) for key, folders in alike.items()}
    told = [names[run.data, run.method] for run in runs]
    return [
        run.method if len(folders) == 1 else f"{run.method} ({folders[run.folder]})"
        for run, folders in zip(runs, told, strict=True)
    ]


def matrix(folders: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """The table of methods by data sets.

    Args:
        folders: of runs, or folders that hold such; on any number of data sets.

    Returns:
        JSON-ready: `sets` with the number of common objects, `methods`, `protocols` of the runs, and `values`: metric to
        part ("all", "<50": less than half of the object occluded) to method to data set to value in [0, 1]; the data set
        "average" is the mean over all sets, None where the method has not run on all of them. A data set counts the objects
        that all of its runs have.

    Raises:
        DataError: a damaged run; runs on data sets of one name that differ, or that have no object in common.
    """
    runs = read_runs(folders)
    check_one_truth((run.folder, run.settings.get("data", {})) for run in runs)
    labels = labels_of(runs)
    sets = list(dict.fromkeys(run.data for run in runs))
    common = {name: sorted(set.intersection(*(set(run.rows) for run in runs if run.data == name))) for name in sets}
    for name in sets:
        if not common[name]:
            raise DataError(f"the runs on {name} have no object in common")
    methods = list(dict.fromkeys(labels))
    values: dict[str, Any] = {metric: {part: {m: {} for m in methods} for part in ("all", BELOW)} for metric in METRICS}
    for run, label in zip(runs, labels, strict=True):
        rows = [run.rows[name] for name in common[run.data]]
        occlusion = counts_of(rows).occlusion
        low, high = BINS[BELOW]
        inside = (occlusion > low) & (occlusion <= high)
        for metric in METRICS:
            ratio = ratio_of(rows, metric, "method")
            values[metric]["all"][label][run.data] = ratio.value
            values[metric][BELOW][label][run.data] = ratio.where(inside).value
    for metric in METRICS:
        for part in values[metric].values():
            for row in part.values():
                known = [row.get(name) for name in sets]
                numbers = [value for value in known if value is not None]
                row["average"] = float(np.mean(numbers)) if len(numbers) == len(sets) else None
    return {
        "format": "amodal/table/1",
        "sets": {name: len(common[name]) for name in sets},
        "methods": methods,
        "protocols": sorted({str(run.settings.get("protocol")) for run in runs}),
        "values": values,
    }


def matrix_rows(content: Mapping[str, Any], metric: str = "iou") -> list[list[str]]:
    """One metric of a table in per cent, head first: data sets and their average, then the same below 50 % occlusion.

    Raises:
        UsageError: an unknown metric.
    """
    if metric not in content["values"]:
        raise UsageError(f"the metric is one of {', '.join(content['values'])}, got {metric!r}")
    sets = [*content["sets"], "average"] if len(content["sets"]) > 1 else [*content["sets"]]
    names = [f"{name} ({content['sets'][name]})" if name in content["sets"] else name for name in sets]
    rows = [[metric, *names, *(f"{name}, < 50 % occluded" for name in sets)]]
    for method in content["methods"]:
        parts = [content["values"][metric][part][method] for part in ("all", BELOW)]
        cells = [part.get(name) for part in parts for name in sets]
        rows.append([method, *("-" if value is None else f"{100 * value:.1f}" for value in cells)])
    return rows


def latex(rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX `tabular`; the first row is its head."""

    def escape(cell: str) -> str:
        for sign in "&%_#$":
            cell = cell.replace(sign, f"\\{sign}")
        return cell.replace("<", "$<$")

    lines = [" & ".join(map(escape, row)) + r" \\" for row in rows]
    body = "\n".join([lines[0], r"\hline", *lines[1:]])
    return "\\begin{tabular}{l" + "r" * (len(rows[0]) - 1) + "}\n" + body + "\n\\end{tabular}\n"


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


WRITERS: dict[str, Callable[[Sequence[Sequence[str]]], str]] = {
    ".md": lambda rows: markdown(rows) + "\n",
    ".csv": as_csv,
    ".tex": latex,
}


def write_table(rows: Sequence[Sequence[str]], path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
    """Write a table as Markdown (`.md`), CSV (`.csv`) or LaTeX (`.tex`), by the file's ending.

    Raises:
        UsageError: another ending.
        OutputError: the file exists and `overwrite` is False, or cannot be written.
    """
    file = Path(path)
    if file.suffix.lower() not in WRITERS:
        raise UsageError(f"a table is written as {', '.join(WRITERS)}, got {file.name!r}")
    write_text(file, WRITERS[file.suffix.lower()](rows), overwrite=overwrite)
    return file
