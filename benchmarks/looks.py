"""`python -m benchmarks.looks --data DIR`: what each look of the shipped mask network buys, in accuracy and in processor seconds.

A look is one pass of the network: the crops of `factors`, those of `again`, each mirrored too with `flip`. The result is
`results/looks.json`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from amodal.core.files import write_json
from amodal.core.mask import Mask
from amodal.evaluation.metrics import boundary_f
from amodal.plugins.protocols import Context, Request
from amodal.plugins.registry import create_method
from amodal.training.tasks.sets import Item, fixed_set, whole_photos
from benchmarks.measure import machine

RESULT = Path(__file__).parents[1] / "results" / "looks.json"
WAYS: dict[str, dict[str, Any]] = {
    "6: two crops, one closer, mirrored": {"factors": (1.7, 2.4), "again": (1.5,), "flip": True},
    "3: two crops, one closer": {"factors": (1.7, 2.4), "again": (1.5,), "flip": False},
    "4: two crops, mirrored": {"factors": (1.7, 2.4), "again": (), "flip": True},
    "2: one crop, one closer": {"factors": (2.4,), "again": (1.5,), "flip": False},
    "2: two crops": {"factors": (1.7, 2.4), "again": (), "flip": False},
    "1: one crop": {"factors": (2.0,), "again": (), "flip": False},
}


def measure(items: list[Item], options: dict[str, Any]) -> dict[str, float]:
    """Mean IoU, mean IoU of the occluded part (of objects more than 5 % occluded), mean boundary F, processor seconds an object."""
    method = create_method("embedded", options)
    whole, hidden, edge, seconds = [], [], [], 0.0
    for item in items:
        visible, truth = Mask.from_array(item.visible), Mask.from_array(item.amodal)
        size = (item.image.shape[0], item.image.shape[1])
        start = time.process_time()
        ((prediction, *_),) = method.complete(method.embed(item.image), item.image, [Request(visible)], Context())
        seconds += time.process_time() - start
        found = (prediction.amodal | visible).clip(size)
        whole.append(found.iou(truth))
        edge.append(boundary_f(found, truth, diagonal=math.hypot(*size)))
        if (truth - visible).area > 0.05 * truth.area:
            hidden.append((found - visible).iou(truth - visible))
    means = {"iou": whole, "iou_occluded": hidden, "boundary_f": edge}
    out = {name: round(100 * float(np.mean(values)), 2) for name, values in means.items() if values}
    return {**out, "processor_s": round(seconds / len(items), 4)}


def main(arguments: list[str]) -> int:
    """Measure every way on every set and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.looks", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the development data")
    parser.add_argument("--every", type=int, default=1, help="only every n-th object, for a quick look")
    given = parser.parse_args(arguments)
    sets = {name: list(fixed_set(given.data / name)) for name in ("composites_dev", "bookstore_dev")}
    sets["whole_photos"] = list(whole_photos(given.data / "photos"))
    found: dict[str, Any] = {}
    for name, items in sets.items():
        part = items[:: given.every]
        found[name] = {"objects": len(part), **{way: measure(part, options) for way, options in WAYS.items()}}
        print(name, found[name], flush=True)
    command = f"python -m benchmarks.looks --data DIR --every {given.every}"
    write_json(RESULT, {"command": command, "machine": machine(), "sets": found})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
