"""`amodal views`: complete an occluded object, then draw it from all around."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UsageError
from ..core.options import parse_settings
from .common import ModelOptions, OutputOptions, SampleOptions, hint, progress_bar, show
from .prompts import PromptOptions
from .reconstruct import Cutout, object_of

__all__ = ["views"]


class Form(str, Enum):
    """What the orbit is written as."""

    png = "png"
    gif = "gif"
    mp4 = "mp4"


ModelName = Annotated[str, typer.Option("--model", help="See: amodal list novel-views.")]
ViewOption = Annotated[list[str] | None, typer.Option("--view", metavar="KEY=VALUE", help="Option of the model.")]
Count = Annotated[int, typer.Option(min=1, max=360, help="Views around the object; syncdreamer makes 16.")]
Elevation = Annotated[float, typer.Option(min=-89, max=89, help="Of the photo's camera above the object, degrees.")]
FormOption = Annotated[Form, typer.Option("--format", help="Pictures, an animation, or a film.")]


def views(
    asked: PromptOptions = PromptOptions(),
    cutout: Cutout = None,
    name: ModelName = "lifted",
    view: ViewOption = None,
    count: Count = 16,
    elevation: Elevation = 0.0,
    form: FormOption = Form.png,
    model: ModelOptions = ModelOptions(),
    sampling: SampleOptions = SampleOptions(),
    results: OutputOptions = OutputOptions(Path("amodal-views")),
) -> None:
    """Draw an occluded object from all around: complete it, then ask a novel-view model for an orbit."""
    from ..downstream.views.orbit import planned_files, save_orbit
    from ..downstream.views.protocol import create_novel_view

    if (asked.image is None) == (cutout is None):
        raise UsageError("give either a photo with a prompt, or --cutout FILE.png")
    folder, seed = results.output, sampling.seed
    stem = (cutout or asked.image or folder).stem
    planned_files(folder, stem, count, form.value, results.force)
    maker = create_novel_view(name, parse_settings(view or []), model.device)
    cameras = maker.cameras(count, elevation)
    source, record = object_of(asked, cutout, model, sampling)
    with progress_bar(stem) as progress:
        pictures = maker.draw(source, cameras, elevation=elevation, seed=seed, progress=progress)
    record["views"] = {**maker.provenance(), "seed": seed, "elevation": elevation}
    paths = save_orbit(pictures, cameras, folder, stem, form=form.value, record=record, overwrite=results.force)
    show(
        results.as_json,
        {"files": [str(path) for path in paths]},
        f"{paths[0]}  {len(pictures)} views; cameras in {paths[-1].name}",
    )
    if name == "lifted":
        hint(
            "lifted renders a mesh that knows nothing of the object: a stand-in without weights; --model zero123 draws"
        )
