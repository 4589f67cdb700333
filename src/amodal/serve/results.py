"""A job's result as files, by name: made when they are asked for, from a fixed list, so that no name is ever a path."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.completion import Alternative, Completion
from ..core.image import Image, encode_png
from ..core.mask import Mask
from ..core.soft_mask import SoftMask
from ..pipeline.layers import Layers, zip_files

__all__ = ["TYPES", "describe", "file_of", "pack", "unpack", "weight"]

TYPES = {
    "png": "image/png",
    "json": "application/json",
    "zip": "application/zip",
    "ora": "image/openraster",
}

COMPLETION: dict[str, Callable[[Completion], bytes]] = {
    "amodal.png": lambda done: encode_png(done.amodal.to_array(done.size)),
    "visible.png": lambda done: encode_png(done.visible.to_array(done.size)),
    "occluded.png": lambda done: encode_png(done.occluded.to_array(done.size)),
    "cutout.png": lambda done: encode_png(done.rgba),
    "cutout-soft.png": lambda done: encode_png(done.cutout("soft")),
    "overlay.png": lambda done: encode_png(done.overlay()),
    "probability.png": lambda done: encode_png(np.rint(np.asarray(done.probability) * 255).astype(np.uint8)),
    "certainty.png": lambda done: encode_png(np.rint(done.probability.values * 255).astype(np.uint8)),
    "result.json": lambda done: json.dumps(done.to_dict(), indent=1).encode(),
    "coco.json": lambda done: json.dumps(coco(done), indent=1).encode(),
}
LAYERS: dict[str, Callable[[Layers], bytes]] = {
    "layers.ora": lambda layers: layers.to_openraster(),
    "layers.zip": lambda layers: layers.to_zip(),
    "result.json": lambda layers: json.dumps(layers.to_dict(), indent=1).encode(),
    "background.png": lambda layers: encode_png(layers.background),
    "rest.png": lambda layers: encode_png(layers.rest),
}


def describe(result: Completion | Layers) -> dict[str, Any]:
    """The JSON of a result, with what a page needs to draw it beside what `to_dict` tells."""
    if isinstance(result, Layers):
        return result.to_dict()
    return {**result.to_dict(), "probability_box": list(result.probability.box)}


def file_of(result: Completion | Layers, name: str) -> bytes | None:
    """The content of a result's file, or None if it has none of that name."""
    numbered = re.fullmatch(r"(sample|object)-([0-9]{1,3})(\.mask)?\.png", name)
    if isinstance(result, Layers):
        if numbered and numbered[1] == "object" and not numbered[3] and 1 <= int(numbered[2]) <= len(result.objects):
            return encode_png(result.pieces[int(numbered[2]) - 1].rgba)
        return LAYERS[name](result) if name in LAYERS else None
    if numbered and numbered[1] == "sample" and int(numbered[2]) < len(result.samples):
        sample = result.samples[int(numbered[2])]
        return encode_png(sample.amodal.to_array(result.size) if numbered[3] else sample.rgba)
    if name == "bundle.zip":
        return pack(result)
    return COMPLETION[name](result) if name in COMPLETION else None


def coco(done: Completion) -> dict[str, Any]:
    """One object in COCO's format: the amodal mask as segmentation, the visible mask beside it."""
    name = done.provenance.get("image", {}).get("file", "photo")
    image = {"id": 1, "file_name": name, "width": done.size[1], "height": done.size[0]}
    return {"images": [image], "annotations": [done.to_coco()], "categories": [{"id": 1, "name": "object"}]}


def weight(result: Completion | Layers | None) -> int:
    """Bytes that a result takes, with the photo that it refers to."""
    if result is None:
        return 0
    if isinstance(result, Layers):
        return result.background.nbytes + result.rest.nbytes + sum(weight(thing) for thing in result.objects)
    arrays: list[NDArray[Any]] = [
        result.image,
        result.rgba,
        result.probability.values,
        result.visible.bits,
        result.amodal.bits,
    ]
    arrays += [array for sample in result.samples for array in (sample.rgba, sample.amodal.bits)]
    return int(sum(array.nbytes for array in arrays))


def pack(done: Completion) -> bytes:
    """All of a completion but the photo, without loss: a zip that `unpack` makes the same completion from."""
    record = {
        "visible": done.visible.to_dict(),
        "amodal": done.amodal.to_dict(),
        "occluder": None if done.occluder is None else done.occluder.to_dict(),
        "score": done.score,
        "samples": [{"amodal": s.amodal.to_dict(), "score": s.score} for s in done.samples],
        "probability_origin": list(done.probability.origin),
        "probability_size": done.probability.size,
        "probability_certain": done.probability.certain is not None,
        "provenance": done.provenance,
    }
    values = io.BytesIO()
    np.save(values, done.probability.values, allow_pickle=False)
    files = {"result.json": json.dumps(record).encode(), "cutout.png": encode_png(done.rgba)}
    samples = {f"sample-{k}.png": encode_png(sample.rgba) for k, sample in enumerate(done.samples)}
    return zip_files({**files, **samples, "probability.npy": values.getvalue()})


def unpack(content: bytes, image: Image) -> Completion:
    """The inverse of `pack`."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        record = json.loads(archive.read("result.json"))
        samples = tuple(
            Alternative(Mask.from_dict(sample["amodal"]), _rgba(archive.read(f"sample-{k}.png")), sample["score"])
            for k, sample in enumerate(record["samples"])
        )
        values = np.load(io.BytesIO(archive.read("probability.npy")), allow_pickle=False)
        return Completion(
            image,
            Mask.from_dict(record["visible"]),
            Mask.from_dict(record["amodal"]),
            _rgba(archive.read("cutout.png")),
            SoftMask(
                values,
                (record["probability_origin"][0], record["probability_origin"][1]),
                None if record["probability_size"] is None else tuple(record["probability_size"]),
                Mask.from_dict(record["visible"]) if record["probability_certain"] else None,
            ),
            samples,
            None if record["occluder"] is None else Mask.from_dict(record["occluder"]),
            record["score"],
            record["provenance"],
        )


def _rgba(content: bytes) -> Image:
    import cv2

    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA))
