"""The embedded mask network and segmenter, warm: seconds per object and per click, processor seconds, and the peak memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import amodal
from amodal.protocols import Context, Job
from amodal.registry import create_method, create_segmenter
from benchmarks.measure import repeat


def run() -> dict[str, object]:
    """`occamodal` on the demo's saucer; `pocket`: opening the picture, the first click, a further click."""
    folder = Path(amodal.__file__).parent / "_demo"
    image = amodal.read(folder / "coffee.jpg")
    visible = amodal.read_mask(folder / "coffee.saucer.png")
    method, segmenter = create_method("occamodal"), create_segmenter("pocket")
    opened = segmenter.embed(image)
    x0, y0, x1, y1 = visible.box
    first = amodal.Prompt.make(point=((x0 + x1) / 2, (y0 + y1) / 2))
    further = amodal.Prompt.make(points=[*first.points, (x0 + 5, y0 + 5)], labels=[1, 0])

    def mask() -> None:
        method.complete(image, image, [Job(visible)], Context())

    mask()
    began = time.process_time()
    mask()
    processor = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "mask": repeat(mask),
        "mask_processor_s": processor,
        "open": repeat(lambda: segmenter.embed(image)),
        "first_click": repeat(lambda: segmenter.segment(segmenter.embed(image), first)),
        "further_click": repeat(lambda: segmenter.segment(opened, further)),
        "peak_bytes": peak,
    }
