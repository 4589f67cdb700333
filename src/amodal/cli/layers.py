"""`amodal layers`: a photo taken apart into whole objects, in order, over the background restored behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import ModelOptions, OutputOptions, Seed, hint, progress_bar, show, word
from .prompts import Boxes, gather_prompts

Photo = Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo.")]
Masks = Annotated[
    list[Path] | None,
    typer.Option("--mask", metavar="FILE", help="Visible mask of an object; repeat it. Without masks and boxes: all."),
]
Zip = Annotated[bool, typer.Option("--zip", help="A zip of PNGs instead of OpenRaster.")]


def layers(
    photo: Photo,
    mask: Masks = None,
    box: Boxes = None,
    model: ModelOptions = ModelOptions(),
    seed: Seed = 0,
    zipped: Zip = False,
    results: OutputOptions = OutputOptions(),
) -> None:
    """Take a photo apart: every object complete, in order, over the restored background."""
    from ..core.files import check_targets, write_json
    from ..core.image import read, read_mask
    from ..core.prompt import Prompt

    files = {
        "layers": results.output / f"{photo.stem}.layers.{'zip' if zipped else 'ora'}",
        "json": results.output / f"{photo.stem}.layers.json",
    }
    check_targets(files.values(), results.force)
    image = read(photo)
    prompts = [Prompt.make(mask=read_mask(each, (image.shape[0], image.shape[1]))) for each in mask or []]
    prompts += [prompt for each in box or [] for prompt in gather_prompts([], [each], None)]
    chosen = model.load()
    with progress_bar(photo.name) as progress:
        done = chosen.open(image).layers(prompts or None, seed=seed, progress=progress)
    done.save(files["layers"], overwrite=results.force)
    record = {**done.to_dict(), "files": {what: str(path) for what, path in files.items()}}
    write_json(files["json"], record, overwrite=results.force)
    show(results.as_json, record, f"{files['layers']}  {len(done.objects)} objects, the farthest first")
    hint(
        f"next: open {word(files['layers'])} in a picture editor"
        if not zipped
        else f"next: unzip {word(files['layers'])}"
    )
