"""The promises, sealed in one place.

Whatever a method does: nobody can write to the photo; visible is inside amodal, without pin-holes between the two; visible
pixels come back byte for byte; alpha is the amodal mask; what the user said of the occluder holds; the occluder lies in the
frame and touches what it hides; and the record tells what is needed to make the same object again.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from ..core.completion import Alternative, Completion, Picture
from ..core.drawing import canvas, lay
from ..core.errors import AmodalError, MaskError
from ..core.image import Image
from ..core.mask import Mask, Size, bounding_box, grown, overlap
from ..core.soft_mask import SoftMask
from ..plugins.protocols import Inpainter, Method, Plugin, Prediction, Request, Segmenter
from ..weights import catalogue
from ..weights.digest import content_digest

__all__ = [
    "assemble",
    "close_pinholes",
    "digest",
    "frozen",
    "provenance",
    "reframe",
    "seal_mask",
    "seal_occluder",
    "seal_picture",
]

PINHOLE = 3
"""Holes of up to so many pixels between visible and invented pixels are closed."""
LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "pillow")
HEAVY = ("torch", "diffusers", "transformers")
"""Libraries whose version may change a result: of every model, and of those that need an extra."""


def frozen(image: Image) -> Image:
    """A copy that cannot be made writable again: its memory is a `bytes` object."""
    return np.frombuffer(np.ascontiguousarray(image).tobytes(), np.uint8).reshape(image.shape)


def digest(image: Image) -> str:
    """SHA-256 of the pixels."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def seal_mask(prediction: Prediction, request: Request, size: Size) -> Mask:
    """The prediction's mask with the promises: the visible mask inside, no pin-holes; growth only where the user allows it."""
    known = prediction.amodal.contains(request.visible)
    amodal = close_pinholes(prediction.amodal if known else prediction.amodal | request.visible, request.visible)
    if request.occluder is not None:
        frame = Mask.from_box((0, 0, size[1], size[0]))
        beyond = amodal - frame if request.occluder else Mask.from_array(np.zeros((1, 1), bool))
        amodal = (amodal & request.occluder) | beyond | request.visible
    return amodal


def close_pinholes(amodal: Mask, visible: Mask) -> Mask:
    """The mask without holes of 1 to `PINHOLE` pixels beside its invented pixels; holes within the visible mask stay."""
    import cv2

    new = amodal - visible
    if not new:
        return amodal
    # The window is wide enough that what it cuts off is no pin-hole. A hole's outline lies on the pixels around it; within the
    # box of one so small, nothing but the hole is background.
    box = grown(new.box, PINHOLE + 1)
    closed, invented = amodal.crop(box), new.crop(box)
    lines, levels = cv2.findContours(closed.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    filled = False
    for line in (lines[k] for k in np.flatnonzero(levels[0, :, 3] >= 0).tolist()):
        x, y, w, h = cv2.boundingRect(line)
        if w > PINHOLE + 2 or h > PINHOLE + 2:
            continue
        inner = np.s_[y + 1 : y + h - 1, x + 1 : x + w - 1]
        if np.count_nonzero(~closed[inner]) <= PINHOLE and invented[y : y + h, x : x + w].any():
            closed[inner] = filled = True
    return amodal if not filled else amodal | Mask.from_array(closed, box[:2])


def seal_occluder(occluder: Mask | None, visible: Mask, amodal: Mask, size: Size) -> Mask | None:
    """The parts of an occluder in the frame of `size` (H, W) that touch the occluded region; None if there are none."""
    import cv2

    occluded = (amodal - visible).clip(size)
    named = occluder.clip(size) if occluder else None
    if not occluded or not named:
        return None
    # Where they may touch, and a pixel more: what lies outside of it need not be dilated.
    x0, y0, x1, y1 = overlap(named.box, grown(occluded.box, 1))
    if x0 >= x1 or y0 >= y1:
        return None
    around = occluded.crop(grown((x0, y0, x1, y1), 1)).view(np.uint8)
    reached = cv2.dilate(around, np.ones((3, 3), np.uint8))[1:-1, 1:-1].view(bool)
    touched = named.crop((x0, y0, x1, y1)) & reached
    _, levels = cv2.findContours(named.bits.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if np.count_nonzero(levels[0, :, 3] < 0) == 1:  # one part: it is not labelled, which would cost more than all else
        return named if touched.any() else None
    count, labels = cv2.connectedComponents(named.bits.view(np.uint8), connectivity=8)
    left, top = named.origin
    chosen = np.zeros(count, bool)
    chosen[labels[y0 - top : y1 - top, x0 - left : x1 - left][touched]] = True
    return Mask.from_array(chosen[labels], named.origin) or None


def assemble(
    image: Image,
    request: Request,
    predictions: list[Prediction],
    shapes: list[Mask],
    pictures: list[Image],
    record: dict[str, Any],
) -> Completion:
    """Samples to one completion: majority vote, agreement, and the cut-out whose every pixel comes from a sample that has it."""
    samples = tuple(
        Alternative(shape, seal_picture(image, request.visible, shape, picture), prediction.score)
        for prediction, shape, picture in zip(predictions, shapes, pictures, strict=True)
    )
    if len(samples) == 1:
        amodal, rgba, first = shapes[0], samples[0].rgba, 0
        share = None
    else:
        amodal, share = _vote(shapes, request.visible)
        order = sorted(range(len(shapes)), key=lambda k: -shapes[k].iou(amodal))
        first = order[0]
        rgb = np.zeros((*amodal.bits.shape, 3), np.uint8)
        left = amodal.bits.copy()
        for k in order:
            take = left & shapes[k].crop(amodal.box)
            lay(_on_box(pictures[k], shapes[k].origin, amodal), take, rgb)
            left &= ~take
        rgba = seal_picture(image, request.visible, amodal, rgb)
    named = request.occluder if request.occluder is not None else predictions[first].occluder
    return Completion(
        image,
        request.visible,
        amodal,
        rgba,
        _agreement(predictions, request.visible) or share or SoftMask(amodal.bits.astype(np.float32), amodal.origin),
        samples,
        seal_occluder(named, request.visible, amodal, (image.shape[0], image.shape[1])),
        predictions[first].score,
        record,
    )


def _vote(shapes: list[Mask], visible: Mask) -> tuple[Mask, SoftMask]:
    """The pixels that at least half of the samples have, and how many have each."""
    box = bounding_box(shape.box for shape in shapes)
    share = np.stack([shape.crop(box) for shape in shapes]).astype(np.float32).mean(axis=0)
    return Mask.from_array(share >= 0.5, box[:2]) | visible, SoftMask(share, box[:2])


def _agreement(predictions: list[Prediction], visible: Mask) -> SoftMask | None:
    """The mean of the methods' own probabilities, 1 where visible; on their canvas where they share one."""
    soft = [prediction.probability for prediction in predictions if prediction.probability is not None]
    if not soft:
        return None
    if all((part.box, part.values.shape) == (soft[0].box, soft[0].values.shape) for part in soft):
        values = soft[0].values if len(soft) == 1 else np.stack([part.values for part in soft]).mean(axis=0)
        return SoftMask(values, soft[0].origin, soft[0].size, visible)
    wide = bounding_box(part.box for part in soft)
    return SoftMask(np.stack([part.crop(wide) for part in soft]).mean(axis=0), wide[:2], None, visible)


def seal_picture(image: Image, visible: Mask, amodal: Mask, picture: Image) -> Picture:
    """RGBA (h, w, 4) on `amodal.box`: the photo's bytes where visible, the picture where occluded, alpha the amodal mask."""
    x0, y0 = amodal.origin
    rgba = np.zeros((*amodal.bits.shape, 4), np.uint8)
    for source, origin, part in ((picture, amodal.origin, amodal - visible), (image, (0, 0), visible)):
        left, top, right, bottom = part.box
        over = source[top - origin[1] : bottom - origin[1], left - origin[0] : right - origin[0]]
        lay(over, part.bits, rgba[top - y0 : bottom - y0, left - x0 : right - x0])
    return rgba


def reframe(picture: Image, origin: tuple[int, int], shape: Mask) -> Image | None:
    """The method's picture on `shape.box`, or None if it does not cover it (then the inpainter paints)."""
    check = np.asarray(picture)
    if check.ndim != 3 or check.shape[2] != 3 or check.dtype != np.uint8:
        raise MaskError(f"a prediction's picture must be (h, w, 3) uint8 RGB, got {check.shape} {check.dtype}")
    x0, y0, x1, y1 = shape.box
    left, top = x0 - origin[0], y0 - origin[1]
    if left < 0 or top < 0 or left + x1 - x0 > check.shape[1] or top + y1 - y0 > check.shape[0]:
        return None
    return check[top : top + y1 - y0, left : left + x1 - x0]


def _on_box(picture: Image, origin: tuple[int, int], shape: Mask) -> Image:
    x0, y0, x1, y1 = shape.box
    return canvas(picture, (x0 - origin[0], y0 - origin[1], x1 - origin[0], y1 - origin[1]), 0)


def provenance(method: Method, segmenter: Segmenter, inpainter: Inpainter) -> dict[str, Any]:
    """JSON-ready: the parts with their options and the digests of their weights, and the versions that matter."""
    parts: dict[str, Plugin] = {"method": method, "segmenter": segmenter, "inpainter": inpainter}
    heavy = any(part.extra for part in parts.values())
    return {
        "versions": {
            name: found for name in (("amodal", *LIBRARIES, *(HEAVY if heavy else ()))) if (found := _version(name))
        },
        **{kind: {**part.provenance(), "weights": _digests(part)} for kind, part in parts.items()},
    }


def _digests(plugin: Plugin) -> dict[str, str]:
    """Every network that a plug-in runs, by name or file, to its SHA-256, or to the commit of a hub repository."""
    return {name: found for name in plugin.used_weights() if (found := _weights_digest(name))}


def _weights_digest(name: str) -> str:
    """Empty if the weights are not on this machine: then nothing was run from them."""
    try:
        path = catalogue.locate(name)
        entry = catalogue.entries().get(name)
        known = (entry.sha256, catalogue.record_of(entry).get("revision", "")) if entry else ()
    except AmodalError:
        return ""
    commit = path.name if path.parent.name == "snapshots" else ""  # the hub's cache names a folder by its commit
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return next(filter(None, (*known, commit)), "") or content_digest(files)


@cache
def _version(name: str) -> str:
    if name == "amodal":
        from .. import __version__

        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
