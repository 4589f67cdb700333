"""`Completion`: the whole object as masks and picture, how sure, and everything needed to make it again."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from . import drawing
from .errors import MissingExtraError, OutputError, UsageError
from .files import refuse_taken, write_bytes, write_json
from .image import Image, encode_png
from .mask import Bits, Mask, Size
from .soft_mask import SoftMask

if TYPE_CHECKING:
    import supervision

__all__ = ["Alternative", "Completion", "Edge", "coco_object", "files_of"]

Picture = NDArray[np.uint8]
Edge = Literal["hard", "soft"]
EDGES = get_args(Edge)
SUFFIXES = (".amodal.png", ".visible.png", ".cutout.png", ".overlay.png", ".json")


def coco_object(amodal: Mask, visible: Mask, size: Size, occlusion_rate: float) -> dict[str, Any]:
    """A COCO annotation without ids: `segmentation` (RLE), `bbox` and `area` are of the amodal mask, so that COCO tools see whole
    objects; `visible_mask` and `visible_area` are beside it.

    Args:
        amodal: within the frame.
        visible: inside the amodal mask.
        size: (H, W) of the frame.
        occlusion_rate: share of the object, also beyond the frame, that cannot be seen.
    """
    x0, y0, x1, y1 = amodal.box
    return {
        "iscrowd": 0,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": amodal.area,
        "segmentation": amodal.to_rle(size),
        "visible_mask": visible.to_rle(size),
        "visible_area": visible.area,
        "occlude_rate": round(occlusion_rate, 6),
    }


def files_of(folder: str | os.PathLike[str], stem: str) -> dict[str, Path]:
    """What each file of a saved completion holds ("amodal", "visible", "cutout", "overlay", "json") to its path."""
    return {suffix.split(".")[1]: Path(folder) / f"{stem}{suffix}" for suffix in SUFFIXES}


@dataclass(frozen=True, eq=False)
class Alternative:
    """One sample: its amodal mask, its RGBA cut-out (h, w, 4) uint8 on `amodal.box`, and its score (None if unknown)."""

    amodal: Mask
    rgba: Picture = field(repr=False)
    score: float | None = None

    def _repr_png_(self) -> bytes:
        return encode_png(drawing.fitted(drawing.checkerboard(self.rgba)))


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

    def __repr__(self) -> str:
        score = "" if self.score is None else f", score={self.score:.2f}"
        return f"Completion({self.size[1]} x {self.size[0]}, amodal={self.amodal}, {self.occlusion_rate:.0%} occluded{score})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Completion):
            return NotImplemented
        same = self.visible == other.visible and self.amodal == other.amodal and self.occluder == other.occluder
        return same and np.array_equal(self.rgba, other.rgba) and np.array_equal(self.image, other.image)

    def __hash__(self) -> int:
        return hash((self.visible, self.amodal))

    def _repr_png_(self) -> bytes:
        return encode_png(drawing.fitted(self.overlay()))

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

    def cutout(self, edge: Edge = "hard") -> Picture:
        """The cut-out, (h, w, 4) uint8 RGBA with straight alpha on `amodal.box`.

        Args:
            edge: "hard" is `rgba`; "soft" is for other backgrounds: it fades inwards over 1/1200 of the photo's longer side, at
                least 1.5 pixels, in colours from further inside (see `drawing.softened`). The masks stay as they are.

        Raises:
            UsageError: another word.
        """
        if edge not in EDGES:
            raise UsageError(f"an edge is {' or '.join(EDGES)}, got {str(edge)[:40]!r}")
        if edge == "hard":
            return self.rgba
        (x0, y0, x1, y1), (height, width) = self.amodal.box, self.size
        return drawing.softened(
            self.rgba, max(1.5, max(self.size) / 1200), (x0 == 0, y0 == 0, x1 == width, y1 == height)
        )

    def to_dict(self, edge: Edge = "hard") -> dict[str, Any]:
        """JSON-ready. Masks are COCO RLE of the photo's frame; `beyond_frame` holds the whole amodal mask if it leaves it.

        Args:
            edge: of the cut-out that is saved beside it.
        """
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
            "provenance": self.provenance if edge == "hard" else {**self.provenance, "edge": edge},
        }
        return record

    def to_coco(self, *, id: int = 1, image_id: int = 1, category_id: int = 1) -> dict[str, Any]:
        """A COCO annotation, see `coco_object`.

        Args:
            id: of the annotation.
            image_id: of the photo.
            category_id: of the object.
        """
        ids = {"id": id, "image_id": image_id, "category_id": category_id}
        return {**ids, **coco_object(self.amodal.clip(self.size), self.visible, self.size, self.occlusion_rate)}

    def to_supervision(self) -> supervision.Detections:
        """One `supervision.Detections`: `mask` (1, H, W) bool is the amodal mask within the frame, `xyxy` its box, `confidence` the
        score; `data` holds "visible" (1, H, W) bool and "occlusion_rate" (1,). Several completions: `Detections.merge`.

        Raises:
            MissingExtraError: the package supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingExtraError("to_supervision needs the package; run: pip install supervision") from error
        inside = self.amodal.clip(self.size)
        return supervision.Detections(
            xyxy=np.array([inside.box], np.float32),
            mask=inside.to_array(self.size)[None],
            class_id=np.zeros(1, int),
            confidence=None if self.score is None else np.array([self.score], np.float32),
            data={
                "visible": self.visible.to_array(self.size)[None],
                "occlusion_rate": np.array([self.occlusion_rate], np.float32),
            },
        )

    def save(
        self, folder: str | os.PathLike[str], stem: str = "object", *, overwrite: bool = False, edge: Edge = "hard"
    ) -> dict[str, Path]:
        """Write `<stem>.amodal.png`, `.visible.png`, `.cutout.png`, `.overlay.png` and `.json` into `folder`.

        The masks are 8-bit, 255 on the object, of the photo's size. The JSON is written last: where it is, all is.

        Args:
            folder: is made if it is not there.
            stem: how the files' names begin.
            overwrite: replace what is there.
            edge: of the cut-out, as in `cutout`.

        Returns:
            what each file holds ("amodal", "visible", "cutout", "overlay", "json") to its path.

        Raises:
            OutputError: a file exists already and `overwrite` is False, or the folder cannot be written.
        """
        if not isinstance(folder, str | os.PathLike) or not isinstance(stem, str) or not stem:
            raise OutputError(
                f"a folder and the stem of a file's name are needed, got {str(folder)[:40]}, {str(stem)[:40]}"
            )
        paths = files_of(folder, stem)
        refuse_taken(paths.values(), overwrite)
        pictures: dict[str, Callable[[], Image | Picture | Bits]] = {
            "overlay": self.overlay,
            "cutout": lambda: self.cutout(edge),
            "amodal": lambda: self.amodal.to_array(self.size),
            "visible": lambda: self.visible.to_array(self.size),
        }
        with ThreadPoolExecutor(2) as pool:  # OpenCV's encoder leaves the interpreter free
            list(pool.map(lambda what: write_bytes(paths[what], encode_png(pictures[what]())), pictures))
        write_json(paths["json"], self.to_dict(edge))
        return paths
