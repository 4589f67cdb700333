"""The embedded networks: seconds per object (mask, cut-out) and per click, warm; the whole command from a cold start, with its
peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import amodal
from amodal.plugins.protocols import Context, Request
from amodal.plugins.registry import create_method, create_segmenter
from benchmarks.measure import as_installed, repeat

DEMO = Path(amodal.__file__).parent / "_demo"


def run() -> dict[str, object]:
    """`embedded` and the `pocket` inpainter on the demo's saucer; `pocket`: opening, first and further click."""
    image = amodal.read(DEMO / "coffee.jpg")
    visible = amodal.read_mask(DEMO / "coffee.saucer.png")
    method, segmenter, model = create_method("embedded"), create_segmenter("pocket"), amodal.load()
    opened, scene = segmenter.embed(image), model.open(image)
    x0, y0, x1, y1 = visible.box
    first = amodal.Prompt.make(point=((x0 + x1) / 2, (y0 + y1) / 2))
    further = amodal.Prompt.make(points=[*first.points, (x0 + 5, y0 + 5)], labels=[1, 0])

    def mask() -> None:
        method.complete(image, image, [Request(visible)], Context())

    mask()
    began = time.process_time()
    mask()
    processor = time.process_time() - began
    return {
        "model": model.provenance(),
        "mask": repeat(mask),
        "mask_processor_s": processor,
        "cutout": repeat(lambda: scene.complete(mask=visible)),
        "open": repeat(lambda: segmenter.embed(image)),
        "first_click": repeat(lambda: segmenter.segment(segmenter.embed(image), first)),
        "further_click": repeat(lambda: segmenter.segment(opened, further)),
        "command": command(),
    }


def command() -> dict[str, object]:
    """`amodal segment PHOTO --mask VISIBLE` as a new process, from its start to its files written: seconds and peak memory."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "amodal", "segment", str(DEMO / "coffee.jpg")]
        words += ["--mask", str(DEMO / "coffee.saucer.png"), "--force", "-o", folder]

        def once() -> None:
            child = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=as_installed())
            _, code, usage = os.wait4(child.pid, 0)
            if code:
                raise RuntimeError(f"amodal segment ended with {code}")
            peaks.append(usage.ru_maxrss * 1024)

        seconds = repeat(once)
    return {**seconds, "peak_bytes": max(peaks)}
