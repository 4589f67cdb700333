"""Small sets of pictures in the layout that the composite builder reads, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np


def make_photos(root: Path, count: int = 4) -> Path:
    """`root/photos` (index, images, masks: one ellipse a picture) and `root/backgrounds` with noise pictures."""
    rng = np.random.default_rng(0)
    rows = []
    for part in ("images", "masks"):
        (root / "photos" / "things" / part).mkdir(parents=True)
    (root / "backgrounds").mkdir()
    for i in range(count):
        image = rng.integers(0, 90, (80, 100, 3), dtype=np.uint8)
        mask = np.zeros((80, 100), np.uint8)
        cv2.ellipse(mask, (50, 40), (20 + 2 * i, 14 + i), 20.0 * i, 0, 360, 255, -1)
        image[mask > 0] = (200, 40 + 30 * i, 60)
        cv2.imwrite(str(root / "photos" / "things" / "images" / f"{i}.jpg"), image)
        cv2.imwrite(str(root / "photos" / "things" / "masks" / f"{i}.png"), mask)
        cv2.imwrite(str(root / "backgrounds" / f"{i}.jpg"), rng.integers(0, 255, (60, 90, 3), dtype=np.uint8))
        rows.append({"set": "things", "name": str(i), "split": "train", "touches_border": False, "components": 1})
    (root / "photos" / "index.json").write_text(json.dumps(rows))
    return root
