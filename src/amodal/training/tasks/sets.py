"""The fixed sets that trainings are validated on, and the two numbers that count on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.composites.library import picture_file, read_mask, read_rgb

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
    rows = json.loads((folder / "rows.json").read_text())
    items = []
    for row in rows:
        image = read_rgb(picture_file(folder / "images", row["id"]))
        masks = [read_mask(folder / part / f"{row['id']}.png") > 0 for part in ("visible", "amodal")]
        items.append(Item(row["id"], image, masks[0], masks[1]))
    return tuple(items)


@cache
def whole_photos(root: Path, split: str = "dev") -> tuple[Item, ...]:
    """Photographs whose object is whole and in one piece: amodal and visible are the same."""
    items = []
    for row in json.loads((root / "index.json").read_text()):
        if row["split"] == split and row["components"] == 1 and not row["touches_border"]:
            folder = root / row["set"]
            mask = read_mask(picture_file(folder / "masks", row["name"])) > 0
            items.append(Item(row["name"], read_rgb(picture_file(folder / "images", row["name"])), mask, mask))
    return tuple(items)


def score(items: Iterable[Item], predict: Callable[[Item], Bits]) -> dict[str, float]:
    """Mean IoU, mean IoU of the occluded region (objects more than 5 % occluded) and mean IoU of unoccluded objects.

    The prediction is joined with the visible mask first, as the pipeline does. Values are percentages; a mean over
    no objects is left out.
    """
    every, hidden, clear = [], [], []
    for item in items:
        amodal = predict(item) | item.visible
        whole = (amodal & item.amodal).sum() / (amodal | item.amodal).sum()
        every.append(whole)
        truth, guess = item.amodal & ~item.visible, amodal & ~item.visible
        if truth.sum() > 0.05 * item.amodal.sum():
            hidden.append((truth & guess).sum() / (truth | guess).sum())
        elif not truth.any():
            clear.append(whole)
    names = (("iou", every), ("hidden", hidden), ("clear", clear))
    return {k: 100 * float(np.mean(v)) for k, v in names if v}
