"""`python -m benchmarks.embedded --data DIR`: what ships in the package, on the development photographs.

False growth of `embedded` on whole objects in their own photographs; the segmenters by simulated clicks (each in the
largest error) and from a box; whole objects from one click, a box or the true mask, with their scores; reports go to `results/`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import amodal
from amodal.core.errors import PromptError
from amodal.core.files import write_json
from amodal.core.mask import Mask
from amodal.core.soft_mask import SoftMask
from amodal.evaluation.metrics import calibration_bins, calibration_error
from amodal.plugins.protocols import Context, Request
from amodal.plugins.registry import create_method
from amodal.segmenters.pocket.prompts import next_click
from amodal.synthesis.composites.build import held_out
from amodal.synthesis.composites.library import Library, add_visible
from amodal.training.tasks.sets import Item, fixed_set, whole_photos
from benchmarks import large

RESULTS = Path(__file__).parents[1] / "results"
CLICKS = 5


def growth(items: tuple[Item, ...]) -> dict[str, Any]:
    """IoU of the amodal mask with objects that are whole and unoccluded: anything below 1 is false growth."""
    method = create_method("embedded")
    scores = []
    for item in items:
        truth = Mask.from_array(item.amodal)
        prediction = (
            method.complete(method.embed(item.image), item.image, [Request(truth)], Context())[0][0].amodal | truth
        )
        scores.append(Mask.from_array(prediction.to_array((item.image.shape[0], item.image.shape[1]))).iou(truth))
    return {"objects": len(scores), "iou": statistics.mean(scores), "below_0.95": sum(s < 0.95 for s in scores)}


def completions(items: Sequence[Item]) -> dict[str, Any]:
    """Mean IoU of the amodal mask from one click, the exact box and the true visible mask; and what the last one's scores are worth.

    A completion that fails (nothing found at the click) counts as 0. `calibration_error`: of the probability, see docs/metrics.md.
    `score`: mean score, mean IoU, the expected calibration error of the scores as a forecast of the IoU (Guo et al. 2017, eq. 3, the
    IoU for the accuracy; ten equal steps of score), Spearman's rank correlation of score and IoU, the mean IoU of the surer half.
    """
    model = amodal.load("embedded")
    found: dict[str, list[float]] = {"click": [], "box": [], "mask": []}
    scores, bins = [], np.zeros((10, 3))
    for item in items:
        scene = model.open(item.image)
        visible, truth = Mask.from_array(item.visible), Mask.from_array(item.amodal)
        click = next_click(np.zeros_like(item.visible), item.visible)
        prompts = {
            "click": {"point": click[0]} if click else {},
            "box": {"box": visible.box},
            "mask": {"mask": visible},
        }
        for name, prompt in prompts.items():
            try:
                result = scene.complete(**prompt)
            except PromptError:
                found[name].append(0.0)
                continue
            found[name].append(result.amodal.iou(truth))
            if name == "mask":
                scores.append((result.score, found[name][-1]))
                bins += pixels(item, result.probability)
    return {
        "objects": len(items),
        **{f"iou_from_{name}": statistics.mean(values) for name, values in found.items()},
        "calibration_error": calibration_error(bins),
        "score": worth(np.array(scores, np.float64)),
    }


def pixels(item: Item, probability: SoftMask) -> NDArray[np.float64]:
    """The calibration bins of an object's pixels in the picture that are not visible and that the method or the truth gives to it."""
    height, width = item.visible.shape
    values = probability.crop((0, 0, width, height))
    counted = ((values > 0) | item.amodal) & ~item.visible
    return calibration_bins(values[counted], item.amodal[counted])


def worth(scores: NDArray[np.float64]) -> dict[str, float]:
    """See `completions`; (n, 2): score, IoU."""
    score, iou = scores.T
    step = np.minimum((score * 10).astype(int), 9)
    gaps = [abs(float((score - iou)[step == k].sum())) for k in range(10)]
    surer = iou[np.argsort(-score)[: (len(iou) + 1) // 2]]
    return {
        "mean": float(score.mean()),
        "iou": float(iou.mean()),
        "calibration_error": sum(gaps) / len(iou),
        "rank_correlation": float(spearmanr(score, iou).statistic),
        "iou_of_surer_half": float(surer.mean()),
    }


def clicks(name: str, items: list[Item]) -> dict[str, Any]:
    """Mean IoU of the visible mask after 1, 3 and 5 clicks, of the best that is proposed for one click, and from the exact box."""
    model = amodal.load("visible", segmenter=name)
    scores: dict[str, list[float]] = {k: [] for k in ("click1", "click3", "click5", "best_of_3", "box")}
    for item in items:
        scene = model.open(item.image)
        truth, prediction = Mask.from_array(item.visible), np.zeros_like(item.visible)
        points: list[tuple[float, float]] = []
        labels: list[int] = []
        for k in range(1, CLICKS + 1):
            click = next_click(prediction, item.visible)
            if click is not None:
                points.append(click[0])
                labels.append(click[1])
                prediction = _segment(scene, item, points=points, labels=labels)
            if f"click{k}" in scores:
                scores[f"click{k}"].append(Mask.from_array(prediction).iou(truth))
        scores["best_of_3"].append(max((mask.iou(truth) for mask in _proposed(scene, points[0])), default=0.0))
        scores["box"].append(Mask.from_array(_segment(scene, item, box=truth.box)).iou(truth))
    means = {k: statistics.mean(v) for k, v in scores.items()}
    return {"objects": len(items), **means}


def _segment(scene: amodal.Scene, item: Item, **prompt: Any) -> np.ndarray:
    size = (item.image.shape[0], item.image.shape[1])
    try:
        return scene.segment(**prompt)[0].mask.to_array(size)
    except PromptError:
        return np.zeros(size, bool)


def _proposed(scene: amodal.Scene, point: tuple[float, float]) -> list[Mask]:
    try:
        return [proposal.mask for proposal in scene.propose(point=point)]
    except PromptError:
        return []


def cluttered(folder: Path) -> list[Item]:
    """Objects of the visible-mask pictures that were kept out of training, at least 1 % of the picture."""
    library = Library()
    add_visible(library, folder, held_out, min_area=0.01)
    return [Item(p.name, p.image, p.mask > 0, p.mask > 0) for p in library.scenes]


SETS: dict[str, Callable[[Path], list[Item]]] = {
    "composites_dev": lambda data: list(fixed_set(data / "composites_dev")),
    "coco_visible": lambda data: cluttered(data / "coco_visible"),
    "large_pasted": large.pasted,
    "large_mosaic": large.mosaic,
}
"""What the segmenters are measured on, by name."""


COMPLETED: dict[str, Callable[[Path], Sequence[Item]]] = {
    "composites_dev": lambda data: fixed_set(data / "composites_dev"),
    "bookstore_dev": lambda data: fixed_set(data / "bookstore_dev"),
    "whole_photos": lambda data: whole_photos(data / "photos"),
}
"""What whole objects are completed on, by name."""


def main(arguments: list[str]) -> int:
    """Measure; write `results/whole_photos.embedded.json`, `<set>.clicks.<segmenter>.json` and `<set>.completions.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the development data")
    parser.add_argument("--every", type=int, default=1, help="only every n-th object, for a quick look")
    parser.add_argument("--segmenters", nargs="*", default=["pocket", "grabcut"])
    parser.add_argument("--sets", nargs="*", default=["whole_photos", *SETS], help="what to measure on")
    parser.add_argument("--completed", nargs="*", default=list(COMPLETED), help="what whole objects are completed on")
    given = parser.parse_args(arguments)
    for name in (name for name in COMPLETED if name in given.completed):
        found = completions(COMPLETED[name](given.data)[:: given.every])
        command = f"python -m benchmarks.embedded --data DIR --every {given.every} --completed {name} --sets"
        write_json(RESULTS / f"{name}.completions.json", {"command": command, "set": name, **found})
        print(name, found, flush=True)
    if "whole_photos" in given.sets:
        command = f"python -m benchmarks.embedded --data DIR --every {given.every} --sets whole_photos --completed"
        found = growth(whole_photos(given.data / "photos")[:: given.every])
        write_json(RESULTS / "whole_photos.embedded.json", {"command": command, "set": "whole_photos", **found})
        print("whole photos", found, flush=True)
    for name in (name for name in SETS if name in given.sets):
        items = SETS[name](given.data)[:: given.every]
        for segmenter in given.segmenters:
            found = clicks(segmenter, items)
            path = RESULTS / f"{name}.clicks.{segmenter}.json"
            command = (
                f"python -m benchmarks.embedded --data DIR --every {given.every} --segmenters {segmenter} --sets {name} "
                "--completed"
            )
            write_json(path, {"command": command, "set": name, "segmenter": segmenter, **found})
            print(name, segmenter, found, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
