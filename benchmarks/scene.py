"""One image, many objects: the image is embedded once; a batch of 8 against one at a time, with the default model."""

from __future__ import annotations

from pathlib import Path

import amodal
from amodal.core.prompt import Prompt
from benchmarks.measure import side_by_side


def run() -> dict[str, object]:
    """Seconds per object in a batch of 8 and one by one, and how often the image was embedded."""
    folder = Path(amodal.__file__).parent / "_demo"
    image = amodal.read(folder / "coffee.jpg")
    visible = amodal.read_mask(folder / "coffee.saucer.png").to_array(image.shape[:2])
    prompts = [Prompt.make(mask=amodal.Mask.from_array(visible[:, : 300 + 30 * k])) for k in range(8)]
    model = amodal.load()
    embeddings = []
    embed = model.method.embed
    model.method.embed = lambda picture: embeddings.append(1) or embed(picture)  # type: ignore[method-assign]
    scene = model.open(image)
    compared = side_by_side(
        lambda: scene.complete_all(prompts), lambda: [scene.complete(prompt=prompt) for prompt in prompts]
    )
    return {"model": model.provenance(), "batch_of_8_over_one_by_one": compared, "embeddings": len(embeddings)}
