"""Measure methods on a data set of your own: photos and masks in the project's format."""

import sys
from pathlib import Path

import numpy as np

import amodal
from amodal.core.mask import Mask
from amodal.data import Sample
from amodal.data.folder import FolderWriter


def make(folder: Path) -> None:
    """Four pictures of a disc behind a bar, with both masks."""
    rows, columns = np.indices((96, 128))
    with FolderWriter(folder, name="discs") as writer:
        for number in range(4):
            disc = Mask.from_array((rows - 48) ** 2 + (columns - 50 - 5 * number) ** 2 < 30**2)
            bar = Mask.from_box((60, 0, 76, 96))
            photo = np.full((96, 128, 3), 90, np.uint8)
            photo[disc.to_array((96, 128))] = (230, 120, 20)
            photo[bar.to_array((96, 128))] = 128
            writer.add([Sample(f"{number}/disc", str(number), photo, (96, 128), disc - bar, disc)])


def main(folder: str = "discs") -> None:
    """Compare the embedded method with the convex hull."""
    make(Path(folder))
    data = amodal.dataset("folder", folder)
    for method in ("hull", None):
        report = amodal.evaluate(amodal.load(method), data)
        print(method or "default", report.content["metrics"]["iou"]["method"]["value"])


if __name__ == "__main__":
    main(*sys.argv[1:])
