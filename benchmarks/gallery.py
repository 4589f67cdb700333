"""`python -m benchmarks.gallery`: every method and inpainter that needs no download on eight photographs, for docs/gallery.md."""

from __future__ import annotations

from typing import Any

import numpy as np

import amodal
from amodal.core.drawing import checkerboard
from amodal.core.image import Image
from amodal.core.mask import Mask, union
from amodal.synthesis.sample.content import BUNDLED, annotated
from benchmarks.drawing import grid, save, tile

CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("visible", {"method": "visible"}),
    ("hull", {"method": "hull"}),
    ("embedded (default)", {"method": "embedded"}),
    ("embedded, smooth colours", {"method": "embedded", "inpainter": "classical"}),
    ("sam, pocket segmenter", {"method": "sam"}),
    ("tuning-free, pocket", {"method": "tuning-free"}),
    ("inpaint, pocket", {"method": "inpaint", "inpainter": "pocket"}),
)
OBJECTS = {
    "coffee": ("saucer", ("cup", "spoon")),
    "astronaut": ("person", ("helmet",)),
    "china": ("pagoda", ()),
    "camera": ("person", ()),
    "chelsea": ("cat", ()),
    "hopper": ("person", ()),
    "rocket": ("rocket", ()),
    "coins": ("coin", ()),
}
"""Photograph to the object that is completed, and what is told to hide it."""


def sheet(name: str) -> Image:
    """One photograph: the photo, then overlays of all choices above their cut-outs."""
    wanted, hiding = OBJECTS[name]
    masks = [(category, Mask.from_array(bits)) for file, category, bits in annotated() if file == f"{name}.jpg"]
    visible = next(mask for category, mask in masks if category == wanted)
    occluder = union(mask for category, mask in masks if category in hiding) if hiding else None
    image = amodal.read(BUNDLED / f"{name}.jpg")
    blank = np.full((10, 10, 3), 255, np.uint8)
    columns = [np.vstack([tile(image, f"{name}.jpg: {wanted}"), tile(blank)])]
    for title, choice in CHOICES:
        result = amodal.load(**choice).open(image).complete(mask=visible, occluder=occluder)
        columns.append(np.vstack([tile(result.overlay(), title), tile(checkerboard(result.rgba))]))
    return grid(columns, 4)


def main() -> None:
    """Write `gallery-NAME.jpg` for each bundled photograph."""
    for name in OBJECTS:
        save(f"gallery-{name}", sheet(name))


if __name__ == "__main__":
    main()
