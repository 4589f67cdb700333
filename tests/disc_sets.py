"""A small data set in the project's own format, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amodal.core.mask import Mask
from amodal.data.folder import FolderWriter
from amodal.data.sample import Sample

SIZE = (48, 64)


def make_discs(root: Path, images: int = 4) -> Path:
    """Pictures of `SIZE` with a box in front of a disc, and both as samples."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(SIZE)
    with FolderWriter(root, name="small") as writer:
        for k in range(images):
            photo = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            disc = Mask.from_array((rows - 24) ** 2 + (columns - 24 - k % 4) ** 2 < 15**2)
            bar = Mask.from_box((20 + 3 * (k % 4), 4, 30 + 3 * (k % 4), 44))
            kind = {"kind": "even" if k % 2 == 0 else "odd"}
            writer.add(
                [
                    Sample(
                        f"{k}/disc", str(k), photo, SIZE, disc - bar, disc, "disc", occluders=(f"{k}/bar",), extra=kind
                    ),
                    Sample(f"{k}/bar", str(k), photo, SIZE, bar, bar, "bar", extra=kind),
                ]
            )
    return root
