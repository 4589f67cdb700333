"""The fixed sets that trainings are validated on, and the two numbers that count on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError
from ...core.files import read_json
from ...core.image import read
from ...core.mask import Mask
from ...data.masks import read_beside
from ...synthesis.composites.library import PHOTO, checked, picture_file

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Item:
    """One object of a fixed set."""

    id: str
    image: NDArray[np.uint8]
    visible: Bits
    amodal: Bits


@cache
def fixed_set(folder: Path) -> tuple[Item, ...]:
    """A set in the project's layout: `rows.json`, `images/`, `visible/`, `amodal/`."""
    rows = read_json(folder / "rows.json", DataError)
    items = []
    for row in checked(rows, {"id": str}, folder / "rows.json"):
        image = read(picture_file(folder, "images", row["id"]))
        masks = [read_beside(picture_file(folder, part, row["id"]), image) for part in ("visible", "amodal")]
        if not masks[0].any():
            raise DataError(f"{folder}: nothing of {row['id']} is visible; white pixels of visible/ mark the object")
        items.append(Item(row["id"], image, masks[0], masks[1]))
    if not items:
        raise DataError(f"{folder}/rows.json lists no object; there is nothing to validate on")
    return tuple(items)


@cache
def whole_photos(root: Path, split: str = "dev") -> tuple[Item, ...]:
    """Photographs whose object is whole and in one piece: amodal and visible are the same."""
    items = []
    for row in checked(read_json(root / "index.json", DataError), PHOTO, root / "index.json"):
        if row["split"] == split and row["components"] == 1 and not row["touches_border"]:
            image = read(picture_file(root, f"{row['set']}/images", row["name"]))
            mask = read_beside(picture_file(root, f"{row['set']}/masks", row["name"]), image)
            items.append(Item(row["name"], image, mask, mask))
    return tuple(items)


def picture(items: Sequence[Item], predictions: Sequence[Bits], side: int = 192, columns: int = 8) -> NDArray[np.uint8]:
    """A sheet of objects, (rows * side, columns * side, 3) RGB: visible green, truth red, prediction yellow outlines."""
    tiles = []
    for item, prediction in zip(items, predictions, strict=True):
        x0, y0, x1, y1 = Mask.from_array(item.amodal | prediction).box
        reach = 1.3 * max(x1 - x0, y1 - y0)
        s = side / reach
        view = np.array([[s, 0, side / 2 - s * (x0 + x1) / 2], [0, s, side / 2 - s * (y0 + y1) / 2]])
        tile = np.ascontiguousarray(cv2.warpAffine(item.image, view, (side, side), flags=cv2.INTER_LINEAR))
        for mask, colour in ((item.amodal, (255, 0, 0)), (prediction, (255, 230, 0)), (item.visible, (0, 220, 0))):
            small = cv2.warpAffine(mask.astype(np.uint8), view, (side, side), flags=cv2.INTER_NEAREST)
            outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, outlines, -1, colour, 1)
        tiles.append(tile)
    tiles += [np.zeros((side, side, 3), np.uint8)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def score(items: Iterable[Item], predict: Callable[[Item], Bits]) -> dict[str, float]:
    """Mean IoU, mean IoU of the occluded region (objects more than 5 % occluded) and mean IoU of unoccluded objects.

    The prediction is joined with the visible mask first, as the pipeline does. Values are percentages; a mean over
    no objects is left out.
    """
    every, occluded, clear = [], [], []
    for item in items:
        amodal = predict(item) | item.visible
        iou = (amodal & item.amodal).sum() / (amodal | item.amodal).sum()
        every.append(iou)
        truth, prediction = item.amodal & ~item.visible, amodal & ~item.visible
        if truth.sum() > 0.05 * item.amodal.sum():
            occluded.append((truth & prediction).sum() / (truth | prediction).sum())
        elif not truth.any():
            clear.append(iou)
    names = (("iou", every), ("occluded", occluded), ("clear", clear))
    return {k: 100 * float(np.mean(v)) for k, v in names if v}
