"""Finding the objects of a photo: how many of the annotated ones are found, and the processor's seconds, the segmenter's own way beside
single clicks on a grid. Photos: those of `coco_visible` that are kept out of training."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import amodal
from amodal.core import rle
from amodal.core.files import read_json
from amodal.core.mask import Mask
from amodal.pipeline.objects import SMALLEST, by_clicks, find_objects
from amodal.plugins.protocols import Proposal, no_progress
from amodal.synthesis.composites.build import held_out
from benchmarks.measure import Skip

PHOTOS = 10


def run() -> dict[str, object]:
    """Both ways on the same photos, and the whole scene taken apart."""
    model = amodal.load()
    photos = list(annotated(Path(os.environ.get("AMODAL_DATA", Path(__file__).parents[1] / "data")) / "coco_visible"))[
        :PHOTOS
    ]
    ways: dict[str, Callable[[Any], list[Proposal]]] = {
        "own": find_objects,
        "single clicks": lambda scene: by_clicks(scene, 8, no_progress),
    }
    out: dict[str, Any] = {"photos": len(photos), "objects": sum(len(truth) for _, truth in photos)}
    for name, way in ways.items():
        rows, seconds, count = [], [], 0
        for image, truth in photos:
            scene = model.open(image)
            start = time.process_time()
            found = [proposal.mask for proposal in way(scene)]
            seconds.append(time.process_time() - start)
            count += len(found)
            rows += [max((one.iou(mask) for one in found), default=0.0) for mask in truth]
        best = np.array(rows)
        out[name] = {
            "found": count,
            "recall at IoU 0.5": round(float((best > 0.5).mean()), 4),
            "recall at IoU 0.75": round(float((best > 0.75).mean()), 4),
            "mean best IoU": round(float(best.mean()), 4),
            "processor_s": {"median": round(float(np.median(seconds)), 3), "highest": round(max(seconds), 3)},
        }
    out["layers"] = [layers(model, image) for image, _ in photos]
    return out


def layers(model: amodal.Model, image: amodal.Image) -> dict[str, float]:
    """A scene of 0.3 megapixels taken apart: its objects, seconds of the processor (all cores together) and by the wall."""
    import cv2

    scale = (0.3e6 / (image.shape[0] * image.shape[1])) ** 0.5
    photo = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    start, wall = time.process_time(), time.perf_counter()
    made = model.open(photo).layers()
    seconds = time.process_time() - start
    return {
        "objects": len(made.objects),
        "processor_s": round(seconds, 3),
        "wall_s": round(time.perf_counter() - wall, 3),
        "processor_s_an_object": round(seconds / len(made.objects), 3),
    }


def annotated(root: Path) -> Iterator[tuple[amodal.Image, list[Mask]]]:
    """Photos with the visible masks of their things that count as objects."""
    if not root.is_dir():
        raise Skip(f"needs the development data in {root}")
    data = read_json(root / "instances_visible.json")
    things = {each["id"] for each in data["categories"] if each.get("isthing", 1)}
    for row in data["images"]:
        if not held_out(row["id"]):
            continue
        image = amodal.read(root / "images" / row["file_name"])
        masks = [
            Mask.from_array(rle.decode(each["segmentation"]))
            for each in data["annotations"]
            if each["image_id"] == row["id"] and each["category_id"] in things and not each.get("iscrowd")
        ]
        truth = [mask for mask in masks if mask.area >= SMALLEST * image.shape[0] * image.shape[1]]
        if truth:
            yield image, truth
