"""Scoring a COCOA-sized prediction set: 13,000 objects at 640 x 480, against full masks with pycocotools and NumPy in a loop."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import in_turns, report

OBJECTS, PER_IMAGE, SIZE = 13_000, 10, (480, 640)


def blob(rng: np.random.Generator) -> np.ndarray:
    """A wobbly disc: (480, 640) bool."""
    rows, columns = np.indices(SIZE)
    y, x = rng.uniform(60, 420), rng.uniform(60, 580)
    angle = np.arctan2(rows - y, columns - x)
    radius = rng.uniform(25, 110) * (1 + 0.2 * np.sin(rng.integers(2, 9) * angle + rng.uniform(0, 6)))
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def build(root: Path, objects: int = OBJECTS) -> None:
    """`annotations.json` in the project's own format and `predictions.json`, COCO results with names, in another order."""
    from amodal.core.mask import Mask

    rng = np.random.default_rng(0)
    shapes = [blob(rng) for _ in range(400)]
    pool = []
    for amodal in shapes:
        visible = amodal & ~shapes[rng.integers(len(shapes))]
        visible = visible if visible.any() else amodal
        predicted = visible | (amodal & np.roll(amodal, int(rng.integers(3, 40)), axis=1))
        pool.append([Mask.from_array(bits).to_rle(SIZE) for bits in (amodal, visible, predicted)])
    images, annotations, predictions = [], [], []
    for number in range(objects):
        image, name = number // PER_IMAGE, f"{number:05d}"
        if number % PER_IMAGE == 0:
            file = f"{image:05d}.jpg"
            images.append({"id": image + 1, "name": f"{image:05d}", "file_name": file, "height": 480, "width": 640})
        amodal, visible, predicted = pool[rng.integers(len(pool))]
        row = {"id": number + 1, "image_id": image + 1, "category_id": 1, "name": name, "segmentation": amodal}
        annotations.append({**row, "visible_mask": visible, "iscrowd": 0})
        predictions.append(
            {"image_id": image + 1, "name": name, "segmentation": predicted, "score": float(rng.random())}
        )
    content = {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    (root / "annotations.json").write_text(json.dumps(content))
    (root / "predictions.json").write_text(json.dumps(predictions[::-1]))


def loop(root: Path) -> dict[str, float]:
    """The reference: full masks decoded by pycocotools, NumPy on whole frames, one object after the other."""
    from pycocotools import mask as coco

    truth = json.loads((root / "annotations.json").read_text())["annotations"]
    found = {row["name"]: row for row in json.loads((root / "predictions.json").read_text())}
    ious, hidden, pooled = [], [], np.zeros(4)
    for row in truth:
        a, v, p = (
            coco.decode(rle).astype(bool)
            for rle in (row["segmentation"], row["visible_mask"], found[row["name"]]["segmentation"])
        )
        counts = np.array([(p & a).sum(), (p | a).sum(), (p & a & ~v).sum(), ((p | a) & ~v).sum()], float)
        pooled += counts
        ious.append(counts[0] / counts[1])
        if 1 - v.sum() / a.sum() > 0.05:
            hidden.append(counts[2] / counts[3])
    return {
        "iou": float(np.mean(ious)),
        "iou_pooled": pooled[0] / pooled[1],
        "iou_occluded": float(np.mean(hidden)),
        "iou_occluded_pooled": pooled[2] / pooled[3],
    }


def ours(root: Path) -> dict[str, float]:
    """The same numbers by `amodal.evaluation`, from the same two files."""
    from amodal.data import dataset
    from amodal.evaluation.metrics import METRICS
    from amodal.evaluation.predictions import Predictions, score

    counts = score(Predictions(root / "predictions.json"), dataset("folder", root))
    return {
        name: float(METRICS[name](counts).value or 0)
        for name in ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled")
    }


def whole(root: Path) -> dict[str, float]:
    """All of `amodal evaluate --predictions`: rows, baselines, boundary F, average precision, intervals, JSON; no pictures."""
    from amodal.data import dataset
    from amodal.evaluation import Predictions, evaluate_predictions

    shutil.rmtree(root / "run", ignore_errors=True)  # of the turn before
    report = evaluate_predictions(Predictions(root / "predictions.json"), dataset("folder", root), output=root / "run")
    return {name: report.content[name] for name in ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled")}


def child(what: str, root: str) -> None:
    """Report one of the three."""
    report(lambda: {"loop": loop, "ours": ours, "whole": whole}[what](Path(root)))


def run(objects: int = OBJECTS, times: int = 2) -> dict[str, Any]:
    """Seconds (median, spread), processor seconds and peak memory of the three, in turns, each in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), objects)
        rows = in_turns("benchmarks.scoring", ("loop", "ours", "whole"), folder, times)
    for what in ("ours", "whole"):
        for name, value in rows["loop"][0]["numbers"].items():
            assert abs(rows[what][0]["numbers"][name] - value) < 1e-9, (what, name)
    result: dict[str, Any] = {"objects": objects, "size": list(SIZE), "numbers": rows["ours"][0]["numbers"]}
    for what, runs in rows.items():
        seconds = sorted(row["seconds"] for row in runs)
        result[what] = {
            "median_s": round(float(np.median(seconds)), 3),
            "lowest_s": round(seconds[0], 3),
            "highest_s": round(seconds[-1], 3),
            "median_cpu_s": round(float(np.median([row["cpu_seconds"] for row in runs])), 3),
            "peak_bytes": max(row["peak_bytes"] for row in runs),
            "runs": times,
        }
    result["loop_over_ours"] = round(result["loop"]["median_s"] / result["ours"]["median_s"], 2)
    result["loop_over_ours_cpu"] = round(result["loop"]["median_cpu_s"] / result["ours"]["median_cpu_s"], 2)
    return result
