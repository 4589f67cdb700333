"""What the size of the photo costs: the same object in a photo of 0.3, 12 and 48 megapixels, with the default model.

Seconds are the lowest of three runs, by the wall and by the processor: where other work shares the machine, the second says more.
Reading and writing stand apart; three ways of writing a PNG are compared. Each size runs in a process of its own, whose peak
memory is told beyond the photo itself. The ratio of Complete is that of the processor's seconds, the two sizes in turns.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

import amodal
from amodal.core import png
from amodal.core.scaling import Levels
from benchmarks.measure import side_by_side

SIZES = (0.3, 12.0, 48.0)
"""Megapixels."""
FIRST_LOOK = 256
"""The larger side in which the segmenter sees the whole frame, in pixels."""


def run() -> dict[str, object]:
    """Each size, and what 12 megapixels cost over 0.3."""
    out: dict[str, Any] = {}
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.resolution", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        out[f"{size:g} MP"] = json.loads(done.stdout)
    small, large = (ready(size) for size in SIZES[:2])
    name = f"complete at {SIZES[1]:g} MP over {SIZES[0]:g} MP"
    out[name] = side_by_side(large, small, clock=time.process_time)
    out["PNG of the photo at 12 MP"] = writers(12.0)
    out["JPEG of the photo at 12 MP"] = decoding(12.0)
    return out


def writers(megapixels: float) -> dict[str, Any]:
    """Seconds and megabytes of a photo's PNG: OpenCV's encoder, and ours with zlib and with igzip."""
    image = photo(megapixels)[0]
    packers = {"ours, zlib": lambda lines: zlib.compress(lines.data, 1), "ours, igzip": png._packer()}
    ways: dict[str, Callable[[], bytes]] = {"OpenCV": lambda: bytes(cv2.imencode(".png", image)[1])}
    ways |= {name: lambda pack=pack: pack(png.filtered(image)) for name, pack in packers.items()}
    return {name: {**lowest(way), "MB": round(len(way()) / 1e6, 2)} for name, way in ways.items()}


def decoding(megapixels: float) -> dict[str, Any]:
    """A photo's JPEG read whole, and through the decoder's own reduction (Pillow's `draft`) to what the first look needs; and by how
    many grey levels, at most and in the mean, the reduced picture differs from the one that the networks see."""
    whole = photo(megapixels)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        cv2.imwrite(str(path), np.ascontiguousarray(whole[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])

        def reduced() -> Any:
            with PIL.Image.open(path) as picture:
                picture.draft("RGB", (FIRST_LOOK, FIRST_LOOK))
                return np.asarray(picture)

        def seen(picture: Any) -> Any:
            height, width = picture.shape[:2]
            side = max(height, width)
            return Levels(picture).cut((width - side) / 2, (height - side) / 2, side, FIRST_LOOK).astype(np.int16)

        small = reduced()
        difference = np.abs(seen(amodal.read(path)) - seen(small))
        return {
            "whole": lowest(lambda: amodal.read(path)),
            "reduced": {**lowest(reduced), "size": list(small.shape[:2])},
            "difference": {"mean": round(float(difference.mean()), 3), "most": int(difference.max())},
        }


def photo(megapixels: float) -> tuple[Any, amodal.Mask, tuple[float, float]]:
    """The demo's photo scaled to that size, its saucer's visible mask, a click on it."""
    folder = Path(amodal.__file__).parent / "_demo"
    small = amodal.read(folder / "coffee.jpg")
    scale = (megapixels * 1e6 / (small.shape[0] * small.shape[1])) ** 0.5
    image = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    bits = amodal.read_mask(folder / "coffee.saucer.png").to_array(small.shape[:2])
    large = cv2.resize(bits.view(np.uint8), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    rows, columns = np.nonzero(bits)
    middle = len(rows) // 3
    click = (float(columns[middle] + 0.5) * scale, float(rows[middle] + 0.5) * scale)
    return image, amodal.Mask.from_array(large), click


def ready(megapixels: float) -> Callable[[], Any]:
    """Completing the saucer in an opened photo of that size."""
    image, mask, _ = photo(megapixels)
    scene = amodal.load().open(image)
    return lambda: scene.complete(mask=mask)


def measure(megapixels: float) -> dict[str, Any]:
    """Seconds and megabytes of the demo's saucer, behind its cup, in a photo scaled to that size."""
    image, mask, click = photo(megapixels)
    model = amodal.load()
    small, bits, place = photo(SIZES[0])
    model.open(small).segment(point=place)
    model(small, mask=bits)  # the networks are loaded
    before = peak()
    scene = model.open(image)
    out: dict[str, Any] = {"photo": list(image.shape)}
    out["first click"] = lowest(lambda: model.open(image).segment(point=click))
    scene.segment(point=click)
    out["next click"] = lowest(lambda: scene.segment(point=(click[0] + 3, click[1] - 3)))
    done = scene.complete(mask=mask)
    out["complete"] = lowest(lambda: scene.complete(mask=mask))
    out["memory beyond the photo, MB"] = round(peak() - before - image.nbytes / 1e6)
    with tempfile.TemporaryDirectory() as place:
        out["save"] = lowest(lambda: done.save(place, overwrite=True))
        out["saved, MB"] = round(sum(path.stat().st_size for path in Path(place).iterdir()) / 1e6, 2)
    return out


def lowest(work: Callable[[], Any], times: int = 3) -> dict[str, float]:
    """Seconds by the wall and of the processor."""
    walls, cores = [], []
    for _ in range(times):
        wall, core = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return {"wall_s": round(min(walls), 4), "processor_s": round(min(cores), 4)}


def peak() -> float:
    """The process's peak memory so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
