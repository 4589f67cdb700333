"""`Completion`: the whole object as masks and picture, how sure, and everything needed to make it again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import drawing
from .errors import OutputError
from .files import write_bytes, write_json
from .image import Image, encode_png
from .mask import Mask, Size, SoftMask

__all__ = ["Alternative", "Completion"]

Picture = NDArray[np.uint8]
SUFFIXES = (".amodal.png", ".visible.png", ".cutout.png", ".overlay.png", ".json")


@dataclass(frozen=True, eq=False)
class Alternative:
    """One sample: its amodal mask, its RGBA cut-out (h, w, 4) uint8 on `amodal.box`, and its score (None if unknown)."""

    amodal: Mask
    rgba: Picture
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Completion:
    """The result for one object. The pipeline guarantees: `visible` is inside `amodal`; the pixels of `rgba` under
    `visible` are the photo's, byte for byte; its alpha is 255 on `amodal` and 0 elsewhere.

    Attributes:
        image: the photo, (H, W, 3) uint8 RGB.
        visible: the part that can be seen.
        amodal: the whole object; may leave the frame. With several samples: their majority vote.
        rgba: the cut-out, (h, w, 4) uint8 RGBA with straight alpha, on `amodal.box`.
        probability: how sure each pixel is of the object; with samples their agreement.
        samples: all samples, best first.
        occluder: what hides the object, where the method finds it or the user named it.
        score: the method's own quality in [0, 1]; None if it has none.
        provenance: JSON-ready; enough to repeat the result exactly.
    """

    image: Image = field(repr=False)
    visible: Mask
    amodal: Mask
    rgba: Picture = field(repr=False)
    probability: SoftMask = field(repr=False)
    samples: tuple[Alternative, ...] = field(repr=False)
    occluder: Mask | None = None
    score: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> Size:
        """(H, W) of the photo."""
        return (int(self.image.shape[0]), int(self.image.shape[1]))

    @cached_property
    def occluded(self) -> Mask:
        """The part that cannot be seen: amodal minus visible, beyond the frame too."""
        return self.amodal - self.visible

    @property
    def occlusion_rate(self) -> float:
        """Share of the whole object that cannot be seen, in [0, 1]."""
        return self.occluded.area / self.amodal.area

    @property
    def beyond_frame(self) -> bool:
        """Whether the whole object leaves the photo."""
        x0, y0, x1, y1 = self.amodal.box
        return x0 < 0 or y0 < 0 or x1 > self.size[1] or y1 > self.size[0]

    def overlay(self) -> Image:
        """The photo with visible and occluded part and the contour told apart: RGB uint8; the canvas grows with the object."""
        return drawing.overlay(self.image, self.visible, self.amodal, self.rgba)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready. Masks are COCO RLE of the photo's frame; `beyond_frame` holds the whole amodal mask if it leaves it."""
        record = {
            "format": "amodal/completion/1",
            "image": {"width": self.size[1], "height": self.size[0], **self.provenance.get("image", {})},
            "visible": self.visible.to_rle(self.size),
            "amodal": self.amodal.to_rle(self.size),
            "occluded": self.occluded.to_rle(self.size),
            "visible_box": list(self.visible.box),
            "amodal_box": list(self.amodal.box),
            "beyond_frame": self.amodal.to_dict() if self.beyond_frame else None,
            "occluder": self.occluder.to_rle(self.size) if self.occluder is not None else None,
            "visible_area": self.visible.area,
            "amodal_area": self.amodal.area,
            "occlusion_rate": round(self.occlusion_rate, 6),
            "score": self.score,
            "samples": [{"score": s.score, "amodal_area": s.amodal.area, **s.amodal.to_dict()} for s in self.samples],
            "provenance": self.provenance,
        }
        return record

    def save(self, folder: str | os.PathLike[str], stem: str = "object", *, overwrite: bool = False) -> dict[str, Path]:
        """Write `<stem>.amodal.png`, `.visible.png`, `.cutout.png`, `.overlay.png` and `.json` into `folder`.

        The masks are 8-bit, 255 on the object, of the photo's size. The JSON is written last: where it is, all is.

        Returns:
            what each file holds ("amodal", "visible", "cutout", "overlay", "json") to its path.

        Raises:
            OutputError: a file exists already and `overwrite` is False, or the folder cannot be written.
        """
        paths = {suffix.split(".")[1]: Path(folder) / f"{stem}{suffix}" for suffix in SUFFIXES}
        taken = [str(path) for path in paths.values() if path.exists()]
        if taken and not overwrite:
            raise OutputError(f"{taken[0]} exists already; add --force to replace it, or choose another folder with -o")
        write_bytes(paths["amodal"], encode_png(self.amodal.to_array(self.size)))
        write_bytes(paths["visible"], encode_png(self.visible.to_array(self.size)))
        write_bytes(paths["cutout"], encode_png(self.rgba))
        write_bytes(paths["overlay"], encode_png(self.overlay()))
        write_json(paths["json"], self.to_dict())
        return paths
