"""`python -m benchmarks.painting --data DIR`: how close the painted occluded pixels come to the truth; goes to `results/painting.json`.

Composites of held-out photographs whose whole objects are known; the true visible and amodal masks are given, so that the
inpainter alone is measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from amodal.core.files import write_json
from amodal.core.scaling import Levels
from amodal.networks.image_encoder import encode
from amodal.pipeline.painting import paint_occluded
from amodal.plugins.registry import create_inpainter
from amodal.synthesis.composites.build import LibraryConfig, open_library
from amodal.synthesis.composites.fixed import CompositesConfig, composite
from amodal.synthesis.composites.place import Placer
from benchmarks.measure import machine

RESULT = Path(__file__).parents[1] / "results" / "painting.json"
SMALLEST = 30
"""Objects with fewer occluded pixels in the frame are not counted."""


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


def main(arguments: list[str]) -> int:
    """Paint the occluded pixels of every object with each inpainter and grade them; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.painting", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with photos and backgrounds")
    parser.add_argument("--count", type=int, default=200, help="composites")
    parser.add_argument("inpainters", nargs="*", default=["classical", "painter", "pocket"])
    given = parser.parse_args(arguments)
    folders = LibraryConfig(
        photos=str(given.data / "photos"), backgrounds=str(given.data / "backgrounds" / "dev"), split="dev"
    )
    config = CompositesConfig(seed=17, wear=False)
    kinds = {"one": 0.5, "two": 0.3, "bars": 0.2}
    placer = Placer(open_library(folders), {"person": 0.5, "thing": 0.5}, kinds)
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in given.inpainters}
    painters = {name: create_inpainter(name) for name in given.inpainters}
    for number in range(given.count):
        whole, sample = composite(placer, config, number)
        inside = sample.amodal.clip(sample.size)
        hidden = (inside - sample.visible).to_array(sample.size)
        if hidden.sum() < SMALLEST:
            continue
        x0, y0, x1, y1 = inside.box
        truth = whole.image[y0:y1, x0:x1][hidden[y0:y1, x0:x1]].astype(np.float64)
        for name, painter in painters.items():
            (picture,) = paint_occluded(Levels(sample.image), [(sample.visible, inside)], painter, [0])
            made = picture[hidden[y0:y1, x0:x1]].astype(np.float64)
            scores[name].append(
                {
                    "absolute": np.abs(made - truth).mean(),
                    "square": ((made - truth) ** 2).mean(),
                    "looks": looks(picture, whole.image[y0:y1, x0:x1], inside.bits, hidden[y0:y1, x0:x1]),
                    "detail": detail(picture, hidden[y0:y1, x0:x1])
                    / detail(whole.image[y0:y1, x0:x1], hidden[y0:y1, x0:x1]),
                }
            )
    rows = {
        name: {
            "objects": len(rows),
            "mean_absolute_error": round(float(np.mean([row["absolute"] for row in rows])), 2),
            "detail": round(float(np.median([row["detail"] for row in rows])), 3),
            "perceptual_distance": round(float(np.mean([row["looks"] for row in rows])), 4),
            "psnr": round(float(np.mean([10 * np.log10(255**2 / max(row["square"], 1e-9)) for row in rows])), 2),
        }
        for name, rows in scores.items()
    }
    command = f"python -m benchmarks.painting --data DIR --count {given.count} {' '.join(given.inpainters)}"
    write_json(RESULT, {"command": command, "machine": machine(), "occluded_pixels": rows})
    print(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
