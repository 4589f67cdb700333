"""What an image costs a SAM model once, and a prompt each time: full-size networks with random weights (speed does not depend
on them)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amodal
from amodal.core.prompt import Prompt
from amodal.plugins.registry import create_segmenter
from benchmarks.measure import Skip, repeat


def run() -> dict[str, object]:
    """Seconds to embed the picture and to answer a click and a box; SAM 2.1 tiny on a CPU, SAM ViT-B and ViT-H too on a GPU."""
    try:
        import torch
        from transformers.models.sam2.configuration_sam2 import Sam2Config
        from transformers.models.sam2.modeling_sam2 import Sam2Model
    except ImportError as error:
        raise Skip(f"needs {error.name}") from error
    from transformers import SamConfig, SamModel

    cuda = torch.cuda.is_available()
    cases = {"sam2 tiny": (Sam2Model, Sam2Config())}
    if cuda:
        huge = {
            "hidden_size": 1280,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "global_attn_indexes": [7, 15, 23, 31],
        }
        cases["sam vit-b"] = (SamModel, SamConfig())
        cases["sam vit-h"] = (SamModel, SamConfig(vision_config=huge))
    image = amodal.read(Path(amodal.__file__).parent / "_demo" / "coffee.jpg")
    out: dict[str, object] = {"device": "cuda" if cuda else "cpu", "threads": torch.get_num_threads()}
    for name, (cls, config) in cases.items():
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            cls(config).save_pretrained(folder)
            sam = create_segmenter("sam", {"model": folder})
        out[name] = measure(sam, image, cuda)
    return out


def measure(sam: Any, image: Any, cuda: bool) -> dict[str, object]:
    """Seconds of one model; on a GPU also the peak of its memory."""
    import torch

    def timed(work: Callable[[], object]) -> dict[str, float]:
        def finished() -> None:
            work()
            if cuda:
                torch.cuda.synchronize()

        return repeat(finished, 20 if cuda else 3)

    seen = sam.embed(image)
    click, box = Prompt.make(point=(300, 200)), Prompt.make(box=(150, 70, 490, 360))
    row: dict[str, object] = {
        "parameters": sum(p.numel() for p in sam.networks.points.model.parameters()),
        "embed": timed(lambda: sam.embed(image)),
        "click": timed(lambda: sam.segment(seen, click)),
        "box": timed(lambda: sam.segment(seen, box)),
    }
    if cuda:
        row["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    return row
