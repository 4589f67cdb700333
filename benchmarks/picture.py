"""The README's picture, from real outputs of the default model: `python -m benchmarks.picture`."""

from __future__ import annotations

import cv2
import numpy as np

import amodal
from amodal.cli.demo import EXAMPLES
from amodal.core.drawing import checkerboard
from benchmarks.drawing import save

HEIGHT = 240


def row(image: np.ndarray, result: amodal.Completion) -> np.ndarray:
    """Photo, overlay and cut-out beside each other at one height: (HEIGHT, w, 3)."""
    parts = []
    for picture in (image, result.overlay(), checkerboard(result.rgba)):
        scale = HEIGHT / picture.shape[0]
        size = (round(picture.shape[1] * scale), HEIGHT)
        parts += [cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.full((HEIGHT, 8, 3), 255, np.uint8)]
    return np.hstack(parts[:-1])


def main() -> None:
    """Write docs/images/demo.jpg."""
    model, rows = amodal.load(), []
    for example in EXAMPLES:
        scene = example.open(model)
        rows.append(row(scene.image, example.complete(scene, example.visible(scene))))
    width = max(part.shape[1] for part in rows)
    padded = [np.pad(part, ((0, 8), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in rows]
    save("demo", np.vstack(padded), 1048)


if __name__ == "__main__":
    main()
