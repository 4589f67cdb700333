"""The README's picture, from real outputs of the default model: `python -m benchmarks.picture`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

import amodal
from amodal.drawing import checkerboard
from amodal.image import encode_png

HEIGHT = 300


def row(image: np.ndarray, result: amodal.Completion) -> np.ndarray:
    """Photo, overlay and cut-out beside each other at one height: (HEIGHT, w, 3)."""
    parts = []
    for picture in (image, result.overlay(), checkerboard(result.rgba)):
        scale = HEIGHT / picture.shape[0]
        size = (round(picture.shape[1] * scale), HEIGHT)
        parts += [cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.full((HEIGHT, 8, 3), 255, np.uint8)]
    return np.hstack(parts[:-1])


def main() -> None:
    """Write docs/images/demo.png."""
    folder = Path(amodal.__file__).parent / "_demo"
    image = amodal.read(folder / "coffee.jpg")
    result = amodal.load()(image, mask=amodal.read_mask(folder / "coffee.saucer.png"))
    target = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
    target.write_bytes(encode_png(row(image, result)))
    print(target)


if __name__ == "__main__":
    main()
