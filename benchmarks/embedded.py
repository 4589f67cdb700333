"""`python -m benchmarks.embedded --data DIR`: what ships in the package, on the development photographs.

False growth of `occamodal` on whole objects in their own photographs, and the segmenters by simulated clicks (each in the
largest error) and from a box; reports go to `results/`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import amodal
from amodal.data.composites.build import held_out
from amodal.data.composites.library import Library, add_visible
from amodal.errors import PromptError
from amodal.files import write_json
from amodal.mask import Mask
from amodal.protocols import Context, Job
from amodal.registry import create_method
from amodal.segmenters.pocket.prompts import next_click
from amodal.training.tasks.sets import Item, fixed_set, whole_photos

RESULTS = Path(__file__).parents[1] / "results"
CLICKS = 5


def growth(items: tuple[Item, ...]) -> dict[str, Any]:
    """IoU of the amodal mask with objects that are whole and unoccluded: anything below 1 is false growth."""
    method = create_method("occamodal")
    scores = []
    for item in items:
        truth = Mask.from_array(item.amodal)
        guess = method.complete(method.embed(item.image), item.image, [Job(truth)], Context())[0][0].amodal | truth
        scores.append(Mask.from_array(guess.to_array((item.image.shape[0], item.image.shape[1]))).iou(truth))
    return {"objects": len(scores), "iou": statistics.mean(scores), "below_0.95": sum(s < 0.95 for s in scores)}


def clicks(name: str, items: list[Item]) -> dict[str, Any]:
    """Mean IoU of the visible mask after 1, 3 and 5 clicks and from the exact box; seconds a click once the scene is open."""
    model = amodal.load("visible", segmenter=name)
    scores: dict[str, list[float]] = {k: [] for k in ("click1", "click3", "click5", "box")}
    seconds = []
    for item in items:
        scene = model.open(item.image)
        truth, guess = Mask.from_array(item.visible), np.zeros_like(item.visible)
        points: list[tuple[float, float]] = []
        labels: list[int] = []
        for k in range(1, CLICKS + 1):
            click = next_click(guess, item.visible)
            if click is not None:
                points.append(click[0])
                labels.append(click[1])
                began = time.perf_counter()
                guess = _segment(scene, item, points=points, labels=labels)
                if k > 1:
                    seconds.append(time.perf_counter() - began)
            if f"click{k}" in scores:
                scores[f"click{k}"].append(Mask.from_array(guess).iou(truth))
        scores["box"].append(Mask.from_array(_segment(scene, item, box=truth.box)).iou(truth))
    means = {k: statistics.mean(v) for k, v in scores.items()}
    return {"objects": len(items), **means, "seconds_a_click_median": statistics.median(seconds)}


def _segment(scene: amodal.Scene, item: Item, **prompt: Any) -> np.ndarray:
    size = (item.image.shape[0], item.image.shape[1])
    try:
        return scene.segment(**prompt)[0].mask.to_array(size)
    except PromptError:
        return np.zeros(size, bool)


def cluttered(folder: Path) -> list[Item]:
    """Objects of the visible-mask pictures that were kept out of training, at least 1 % of the picture."""
    library = Library()
    add_visible(library, folder, held_out, min_area=0.01)
    return [Item(p.name, p.image, p.mask > 0, p.mask > 0) for p in library.scenes]


def main(arguments: list[str]) -> int:
    """Measure and write `results/whole_photos.occamodal.json`, `results/<set>.clicks.<segmenter>.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the development data")
    parser.add_argument("--every", type=int, default=1, help="only every n-th object, for a quick look")
    parser.add_argument("--segmenters", nargs="*", default=["pocket", "grabcut"])
    given = parser.parse_args(arguments)
    command = f"python -m benchmarks.embedded --data DIR --every {given.every}"
    found = growth(whole_photos(given.data / "photos")[:: given.every])
    write_json(RESULTS / "whole_photos.occamodal.json", {"command": command, "set": "whole_photos", **found})
    print("whole photos", found, flush=True)
    sets = {
        "composites_dev": list(fixed_set(given.data / "composites_dev"))[:: given.every],
        "coco_visible": cluttered(given.data / "coco_visible")[:: given.every],
    }
    for name, items in sets.items():
        for segmenter in given.segmenters:
            found = clicks(segmenter, items)
            path = RESULTS / f"{name}.clicks.{segmenter}.json"
            write_json(path, {"command": command, "set": name, "segmenter": segmenter, **found})
            print(name, segmenter, found, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
