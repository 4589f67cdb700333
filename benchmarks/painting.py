"""`python -m benchmarks.painting --data DIR`: how close painted pixels come to the truth; goes to `results/painting.json`.

The occluded pixels of composites of held-out photographs whose whole objects are known: the true visible and amodal masks are given,
so that the inpainter alone is measured. And photographs of which a piece with the shape of an object is taken for removed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amodal.core.files import write_json
from amodal.core.image import Image
from amodal.core.mask import Mask, grown, overlap
from amodal.core.scaling import Levels
from amodal.networks.image_encoder import encode
from amodal.pipeline.painting import hole_of, paint_behind, paint_occluded
from amodal.plugins.protocols import Inpainter
from amodal.plugins.registry import create_inpainter
from amodal.synthesis.composites.build import LibraryConfig, open_library
from amodal.synthesis.composites.fixed import CompositesConfig, composite
from amodal.synthesis.composites.library import Library
from amodal.synthesis.composites.place import Placer
from benchmarks.measure import machine

RESULT = Path(__file__).parents[1] / "results" / "painting.json"
SMALLEST = 30
"""Objects with fewer occluded pixels in the frame are not counted."""
REMOVED, AROUND = 60, 40
"""Photographs of which a piece is removed, and pixels about it that are looked at with it."""


def detail(picture: np.ndarray, hidden: np.ndarray) -> float:
    """Mean change from a pixel to its right and lower neighbours, in grey levels, where all three are hidden."""
    grey = picture.astype(np.float64).mean(axis=2)
    inner = hidden[:-1, :-1] & hidden[1:, :-1] & hidden[:-1, 1:]
    change = np.abs(grey[:-1, 1:] - grey[:-1, :-1]) + np.abs(grey[1:, :-1] - grey[:-1, :-1])
    return float(change[inner].mean()) + 1e-6 if inner.any() else 1e-6


def unit_features(picture: np.ndarray) -> list[np.ndarray]:
    """Features of (h, w, 3) float64 RGB in [-1, 1] at 1/4, 1/8 and 1/16, each place's vector of length 1."""
    size = (-(-picture.shape[1] // 32) * 32, -(-picture.shape[0] // 32) * 32)
    whole = cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    levels = encode(whole.transpose(2, 0, 1)[None])[:3]
    return [level[0] / np.maximum(np.linalg.norm(level[0], axis=0), 1e-6) for level in levels]


def looks(made: np.ndarray, truth: np.ndarray, whole: np.ndarray, hidden: np.ndarray) -> float:
    """Perceptual distance (docs/metrics.md) of two pictures (h, w, 3) uint8 of an object (h, w) over its hidden pixels."""
    pictures = [np.where(whole[..., None], p / 127.5 - 1, 0.0) for p in (made, truth)]
    total = 0.0
    for mine, other in zip(*map(unit_features, pictures), strict=True):
        place = cv2.resize(hidden.astype(np.float32), mine.shape[:0:-1], interpolation=cv2.INTER_AREA)
        total += float((((mine - other) ** 2).sum(0) * place).sum() / max(float(place.sum()), 1e-6)) / 3
    return total


def grade(made: Image, truth: Image, whole: np.ndarray, hidden: np.ndarray) -> dict[str, float]:
    """What one painting is worth: (h, w, 3) uint8 both, of an object (h, w) whose pixels `hidden` (h, w) were painted. A mean squared
    error below 1 counts as 1: one white ground would be worth more than all other paintings."""
    made = np.where(hidden[..., None], made, truth)  # what is visible is the photo's
    apart = made[hidden].astype(np.float64) - truth[hidden]
    return {
        "absolute": float(np.abs(apart).mean()),
        "psnr": float(10 * np.log10(255**2 / max((apart**2).mean(), 1.0))),
        "looks": looks(made, truth, whole, hidden),
        "detail": detail(made, hidden) / detail(truth, hidden),
    }


def occluded(library: Library, painters: dict[str, Inpainter], count: int) -> dict[str, Any]:
    """The occluded pixels of the objects of `count` composites by each inpainter."""
    config = CompositesConfig(seed=17, wear=False)
    placer = Placer(library, {"person": 0.5, "thing": 0.5}, {"one": 0.5, "two": 0.3, "bars": 0.2})
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in painters}
    for number in range(count):
        whole, sample = composite(placer, config, number)
        inside = sample.amodal.clip(sample.size)
        hidden = (inside - sample.visible).crop(inside.box)
        if hidden.sum() < SMALLEST:
            continue
        x0, y0, x1, y1 = inside.box
        for name, painter in painters.items():
            (picture,) = paint_occluded(Levels(sample.image), [(sample.visible, inside)], painter, [0])
            scores[name].append(grade(picture, whole.image[y0:y1, x0:x1], inside.bits, hidden))
    return summary(scores)


def removed(library: Library, painters: dict[str, Inpainter]) -> dict[str, Any]:
    """Photographs of which a piece with the shape of an object is taken away, 0.3 to 0.8 of the photo high, by each inpainter."""
    rng = np.random.default_rng(18)
    shapes = [each for group in ("person", "thing") for each in library.wholes[group]]
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in painters}
    for number in rng.permutation(len(library.backgrounds))[:REMOVED]:
        photo = library.backgrounds[number]
        shape = shapes[rng.integers(len(shapes))]
        x0, y0, x1, y1 = shape.box
        bits = shape.levels[0][y0:y1, x0:x1, 3] > 127
        height, width = photo.shape[:2]
        scale = min(rng.uniform(0.3, 0.8) * height / bits.shape[0], 0.6 * width / bits.shape[1])
        small = cv2.resize(bits.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        x, y = (
            int(rng.integers(0, whole - part)) for whole, part in zip((width, height), small.shape[::-1], strict=True)
        )
        mask = Mask.from_array(small, (x, y))
        hole = hole_of(mask, (height, width))
        box = overlap(grown(hole.box, AROUND), (0, 0, width, height))
        cut = np.s_[box[1] : box[3], box[0] : box[2]]
        for name, painter in painters.items():
            made = paint_behind(Levels(photo), [mask], painter)
            scores[name].append(grade(made[cut], photo[cut], np.ones(photo[cut].shape[:2], bool), hole.crop(box)))
    return summary(scores)


def summary(scores: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means over all paintings, the median of the detail."""
    return {
        name: {
            "objects": len(rows),
            "mean_absolute_error": round(float(np.mean([row["absolute"] for row in rows])), 2),
            "detail": round(float(np.median([row["detail"] for row in rows])), 3),
            "perceptual_distance": round(float(np.mean([row["looks"] for row in rows])), 4),
            "psnr": round(float(np.mean([row["psnr"] for row in rows])), 2),
        }
        for name, rows in scores.items()
    }


def main(arguments: list[str]) -> int:
    """Paint the occluded pixels of every object with each inpainter and grade them; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.painting", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with photos and backgrounds")
    parser.add_argument("--count", type=int, default=200, help="composites")
    parser.add_argument("inpainters", nargs="*", default=["classical", "painter", "pocket"])
    given = parser.parse_args(arguments)
    library = open_library(
        LibraryConfig(
            photos=str(given.data / "photos"), backgrounds=str(given.data / "backgrounds" / "dev"), split="dev"
        )
    )
    painters = {name: create_inpainter(name) for name in given.inpainters}
    rows = {"occluded_pixels": occluded(library, painters, given.count), "removed": removed(library, painters)}
    command = f"python -m benchmarks.painting --data DIR --count {given.count} {' '.join(given.inpainters)}"
    write_json(RESULT, {"command": command, "machine": machine(), **rows})
    print(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
