"""Whether an edge that follows the picture is better than a smooth one, for the visible masks of the embedded segmenter.

They are decided on a canvas and brought to the photo by bilinear sampling; beside it the same answers through a guided filter (He,
Sun, Tang: Guided Image Filtering, PAMI 2013) with the photo as its guide. A click deep inside each person of `photos/ccp` that is
kept out of training.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import amodal
from amodal.core.files import read_json
from amodal.core.image import Image
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt
from amodal.core.regions import deepest
from amodal.evaluation.metrics import boundary_f
from amodal.segmenters.pocket.scene import seek
from amodal.segmenters.pocket.segmenter import PocketSegmenter
from amodal.segmenters.pocket.views import to_frame
from benchmarks.measure import Skip

PHOTOS = 40
WAYS = {
    "bilinear": None,
    **{f"guided, {step:g} canvas pixels, eps {eps:g}": (step, eps) for step in (1, 2) for eps in (1e-3, 1e-2)},
}


def guided(guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, eps: float) -> NDArray[np.float32]:
    """The filter with a grey guide; both (H, W) float32 in [0, 1]."""

    def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(x, (2 * radius + 1, 2 * radius + 1)), np.float32)

    g, p = mean(guide), mean(values)
    slope = (mean(guide * values) - g * p) / (mean(guide * guide) - g * g + eps)
    return np.asarray(mean(slope) * guide + mean(p - slope * g), np.float32)


def run() -> dict[str, object]:
    """Mean IoU and boundary F of every way on the same answers, and the processor's seconds that it takes."""
    root = Path(os.environ.get("AMODAL_DATA", Path(__file__).parents[1] / "data")) / "photos"
    if not root.is_dir():
        raise Skip(f"needs the development data in {root}")
    names = [each["name"] for each in read_json(root / "index.json") if (each["set"], each["split"]) == ("ccp", "dev")]
    segmenter = PocketSegmenter()
    rows: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    for name in names[:PHOTOS]:
        image, truth = (read(root / "ccp" / part, name) for read, part in ((_photo, "images"), (_mask, "masks")))
        scene = segmenter.embed(image)
        prompt = Prompt.make(point=deepest(truth))
        found = seek(segmenter._decode, scene, prompt)
        plain = segmenter._shown(scene, found, prompt).mask
        for way, settings in WAYS.items():
            start = time.process_time()
            mask = plain if settings is None else _follow(image, found, plain, *settings)
            seconds = time.process_time() - start
            rows[way].append((mask.iou(truth), boundary_f(mask, truth, diagonal=math.hypot(*image.shape[:2])), seconds))
    out: dict[str, Any] = {"photos": len(rows["bilinear"])}
    for way, values in rows.items():
        iou, edge, seconds = np.array(values).mean(axis=0)
        out[way] = {"iou": round(100 * iou, 2), "boundary_f": round(100 * edge, 2), "more_s": round(seconds, 4)}
    return out


def _follow(image: Image, found: Any, plain: Mask, step: float, eps: float) -> Mask:
    """The answer's probability through the filter, where it is not far from the plain mask's edge."""
    size = (image.shape[0], image.shape[1])
    radius = max(1, round(step / found.view.scale))
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    soft = guided(guide, to_frame(found.logits, found.view, size), radius, eps)
    bits, kernel = plain.to_array(size).view(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)
    near = (cv2.dilate(bits, kernel) - cv2.erode(bits, kernel)) > 0
    return Mask.from_array(np.where(near, soft > 0.5, bits > 0))


def _file(folder: Path, name: str) -> Path:
    return next(path for path in folder.iterdir() if path.stem == name)


_photo: Callable[[Path, str], Image] = lambda folder, name: amodal.read(_file(folder, name))  # noqa: E731
_mask: Callable[[Path, str], Mask] = lambda folder, name: amodal.read_mask(_file(folder, name))  # noqa: E731
