"""What the makers of the documentation's pictures share: tiles with titles, rows of them, and small JPEG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from amodal.core.drawing import fitted
from amodal.core.image import Image

FOLDER = Path(__file__).parents[1] / "docs" / "images"
LARGEST = 110_000
"""Bytes of a picture at most."""
COLOURS = ((66, 133, 244), (244, 160, 0), (15, 157, 88), (219, 68, 55), (171, 71, 188), (0, 172, 193), (255, 112, 67))


def tile(picture: Image, title: str = "", width: int = 240, height: int = 200) -> Image:
    """(height, width, 3) uint8: the picture in the middle of white, enlarged or made smaller, its title on top."""
    top = 24 if title else 0
    scale = min((width - 8) / picture.shape[1], (height - top - 4) / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.full((height, width, 3), 255, np.uint8)
    y, x = top + (height - top - small.shape[0]) // 2, (width - small.shape[1]) // 2
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    cv2.putText(out, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return out


def grid(tiles: Sequence[Image], columns: int) -> Image:
    """Equal tiles in rows, the last one filled up with white."""
    filled = [*tiles, *[np.full_like(tiles[0], 255)] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(filled[first : first + columns]) for first in range(0, len(filled), columns)])


def marked(image: Image, masks: Sequence[np.ndarray], outlines: bool = False) -> Image:
    """The picture with (H, W) bool masks in colours, or only their outlines."""
    out = image.copy()
    for number, mask in enumerate(masks):
        colour = COLOURS[number % len(COLOURS)]
        if not outlines:
            out[mask] = (0.5 * out[mask] + 0.5 * np.array(colour)).astype(np.uint8)
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, lines, -1, colour, 2)
    return out


def save(name: str, picture: Image, side: int = 1000) -> Path:
    """Write docs/images/NAME.jpg, as good as `LARGEST` allows."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.jpg"
    small = fitted(picture, side)
    for quality in (88, 80, 70, 60, 45):
        content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= LARGEST:
            break
    path.write_bytes(content)
    print(f"{path.name}: {small.shape[1]} x {small.shape[0]}, {len(content)} bytes", flush=True)
    return path
