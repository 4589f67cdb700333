"""COCO's average precision of 13,000 objects: ours from run lengths, pycocotools and faster-coco-eval (which must be installed).

Each in its own process, from the same two files, in turns; the numbers must agree.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Skip, in_turns, report
from benchmarks.scoring import build

OBJECTS = 13_000
OTHERS = {
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "faster_coco_eval", "COCOeval_faster"),
}
"""Package to the modules and the class that its users call."""


def complete(root: Path) -> None:
    """`coco.json`: the annotations with what COCO's own readers need."""
    from amodal.core.mask import Mask

    content = json.loads((root / "annotations.json").read_text())
    for row in content["annotations"]:
        row["area"] = Mask.from_rle(row["segmentation"]).area
    (root / "coco.json").write_text(json.dumps(content))


def ours(root: Path) -> list[float]:
    """AP, AP50 and AP75 by `amodal.evaluation`."""
    from amodal.core.mask import Mask
    from amodal.evaluation.detection import Picture, average_precision

    truth = json.loads((root / "coco.json").read_text())["annotations"]
    found = json.loads((root / "predictions.json").read_text())
    pictures: dict[int, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for row in truth:
        pictures[row["image_id"]][1].append((Mask.from_rle(row["segmentation"]), 0.0))
    for row in found:
        pictures[row["image_id"]][0].append((Mask.from_rle(row["segmentation"]), row["score"]))
    got = average_precision(Picture.of(*pictures[number]) for number in sorted(pictures))
    return [float(got[name] or 0) for name in ("ap", "ap50", "ap75")]


def other(package: str, root: Path) -> list[float]:
    """The same by a package's own COCO and COCOeval."""
    coco, evaluation, name = OTHERS[package]
    with contextlib.redirect_stdout(io.StringIO()):  # they speak while they work
        return _judged(importlib.import_module(coco).COCO, getattr(importlib.import_module(evaluation), name), root)


def _judged(coco: Any, evaluation: Any, root: Path) -> list[float]:
    truth = coco(str(root / "coco.json"))
    found = json.loads((root / "predictions.json").read_text())
    results = truth.loadRes([{**row, "category_id": 1} for row in found])
    judge = evaluation(truth, results, "segm")
    judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], judge.params.areaRngLbl[:1]
    judge.params.maxDets = [100]
    judge.evaluate()
    judge.accumulate()
    precision = np.asarray(judge.eval["precision"])[..., 0, -1]  # (10 thresholds, 101 recalls, 1 category)
    return [float(precision.mean()), float(precision[0].mean()), float(precision[5].mean())]


def child(what: str, root: str) -> None:
    """Report one of the three."""
    report(lambda: ours(Path(root)) if what == "ours" else other(what, Path(root)))


def run(objects: int = OBJECTS, times: int = 3) -> dict[str, Any]:
    """Seconds, processor seconds (median, spread) and peak memory of each."""
    for package in OTHERS:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            raise Skip(f"needs {package}; run: pip install {package}")
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), objects)
        complete(Path(folder))
        rows = in_turns("benchmarks.average_precision", ("ours", *OTHERS), folder, times)
    numbers = rows["ours"][0]["numbers"]
    result: dict[str, Any] = {"objects": objects, "ap, ap50, ap75": numbers}
    for what, runs in rows.items():
        if not np.allclose(runs[0]["numbers"], numbers, rtol=0, atol=1e-9):
            raise AssertionError(f"{what} gives {runs[0]['numbers']}, ours {numbers}")
        cores = sorted(row["cpu_seconds"] for row in runs)
        result[what] = {
            "median_s": round(float(np.median([row["seconds"] for row in runs])), 3),
            "median_cpu_s": round(float(np.median(cores)), 3),
            "lowest_cpu_s": round(cores[0], 3),
            "highest_cpu_s": round(cores[-1], 3),
            "peak_bytes": max(row["peak_bytes"] for row in runs),
            "runs": times,
        }
    for what in OTHERS:
        result[f"{what} over ours"] = round(result[what]["median_cpu_s"] / result["ours"]["median_cpu_s"], 2)
    return result
