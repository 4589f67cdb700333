"""The README's picture, from real outputs of the default model: `python -m benchmarks.picture`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

import amodal
from amodal.cli.demo import EXAMPLES, named_occluder
from amodal.drawing import checkerboard
from amodal.image import encode_png

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
    """Write docs/images/demo.png."""
    folder = Path(amodal.__file__).parent / "_demo"
    model, rows = amodal.load(), []
    for example in EXAMPLES:
        image = amodal.read(folder / example["file"])
        mask = amodal.read_mask(folder / example["mask"]) if "mask" in example else None
        parts = {name: example.get(name) for name in ("points", "labels", "box")}
        scene = model.open(image)
        visible = scene.segment(mask=mask, **parts)[0].mask
        rows.append(row(image, scene.complete(mask=visible, occluder=named_occluder(scene, example, visible))))
    width = max(part.shape[1] for part in rows)
    padded = [np.pad(part, ((0, 8), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in rows]
    target = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
    target.write_bytes(encode_png(np.vstack(padded)))
    print(target)


if __name__ == "__main__":
    main()
