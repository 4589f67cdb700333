"""`amodal reconstruct`: complete an occluded object, then lift it to a textured mesh; or measure that on scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError, nearest
from ..core.options import parse_settings
from .common import (
    ModelOptions,
    OutputOptions,
    SampleOptions,
    hint,
    print_json,
    progress_bar,
    show,
    tell_failures,
    useless,
)
from .prompts import PromptOptions

if TYPE_CHECKING:
    from ..core.completion import Picture
    from ..downstream.reconstruction.evaluate_3d import Evaluation

__all__ = ["Cutout", "object_of", "reconstruct"]

MODEL = ("method", "inpainter", "segmenter", "settings")

Cutout = Annotated[
    Path | None,
    typer.Option("--cutout", metavar="FILE.png", help="A cut-out (RGBA), taken as it is, in place of a photo."),
]
LifterName = Annotated[str, typer.Option("--lifter", help="See: amodal list lifters.")]
Lift = Annotated[list[str] | None, typer.Option("--lift", metavar="KEY=VALUE", help="Option of the lifter.")]
Views = Annotated[int, typer.Option(min=0, max=360, help="Pictures around the object.")]
Size = Annotated[int, typer.Option(min=16, max=2048, help="Side of those pictures.")]
Objects = Annotated[
    Path | None, typer.Option("--objects", metavar="DIR", help="Meshes (.glb, .obj, .ply) for --evaluate.")
]
Evaluate = Annotated[bool, typer.Option("--evaluate", help="Measure on occluded renders of the meshes of --objects.")]
Count = Annotated[int, typer.Option(min=1, help="Random objects of --objects, each seen twice.")]
Inputs = Annotated[str, typer.Option("--rows", help="Rows of the table, with commas; or all.")]
NovelModel = Annotated[
    str | None, typer.Option("--novel-views", help="Model of table 4's pictures; default: renders of the mesh.")
]
NovelOption = Annotated[list[str] | None, typer.Option("--view", metavar="KEY=VALUE", help="Option of that model.")]
Perceptual = Annotated[bool, typer.Option("--lpips", help="LPIPS too (needs the packages lpips and torchvision).")]


def reconstruct(
    asked: PromptOptions = PromptOptions(),
    cutout: Cutout = None,
    lifter: LifterName = "inflate",
    lift: Lift = None,
    views: Views = 8,
    size: Size = 256,
    model: ModelOptions = ModelOptions(),
    sampling: SampleOptions = SampleOptions(),
    objects: Objects = None,
    evaluate: Evaluate = False,
    count: Count = 30,
    rows: Inputs = "all",
    novel_views: NovelModel = None,
    view: NovelOption = None,
    lpips: Perceptual = False,
    results: OutputOptions = OutputOptions(Path("amodal-3d")),
) -> None:
    """Lift an occluded object to 3-D: complete it, then make a textured mesh (.glb) with views around it."""
    from ..downstream.reconstruction.evaluate_3d import Evaluation
    from ..downstream.reconstruction.reconstruct import create_lifter, planned_files, save_reconstruction
    from ..downstream.reconstruction.reconstruct import reconstruct as work
    from ..downstream.views.protocol import create_novel_view

    if sum(source is not None for source in (asked.image, cutout, objects)) != 1 or evaluate != (objects is not None):
        raise UsageError("give one of: a photo with a prompt, --cutout FILE.png, --evaluate --objects DIR")
    folder, seed = results.output, sampling.seed
    stem = (cutout or asked.image or folder).stem
    if objects is None:
        planned_files(folder, stem, views, results.force)
        useless("without --evaluate", "count", "rows", "novel_views", "view", "lpips")
    else:
        useless("with --evaluate, which draws views of its own", "point", "box", "mask", "views")
    maker = create_lifter(lifter, parse_settings(lift or []), model.device)
    if objects is not None:
        drawer = create_novel_view(novel_views, parse_settings(view or []), model.device) if novel_views else None
        evaluation = Evaluation(
            maker, model.load(), drawer, check_inputs(rows), size, sampling.samples, sampling.seed, with_lpips=lpips
        )
        measure(objects, evaluation, count, results)
        return
    source, record = object_of(asked, cutout, model, sampling)
    with progress_bar(stem) as progress:
        mesh = work(source, maker, seed=seed, progress=progress, keep=folder / f".{stem}.{lifter}.safetensors")
    record["lifting"] = {**maker.provenance(), "seed": seed}
    paths = save_reconstruction(mesh, folder, stem, views=views, size=size, record=record, overwrite=results.force)
    files = {what: [str(path) for path in part] for what, part in paths.items()}
    show(
        results.as_json,
        {"vertices": len(mesh.vertices), "faces": len(mesh.faces), "files": files},
        f"{files['mesh'][0]}  {len(mesh.faces)} triangles, {len(files['views'])} views",
    )
    if lifter == "inflate":
        hint("inflate knows nothing of the object: a stand-in without weights; --lifter sds or shap-e reconstructs")


def object_of(
    asked: PromptOptions, cutout: Path | None, model: ModelOptions, sampling: SampleOptions
) -> tuple[Picture, dict[str, Any]]:
    """The cut-out (h, w, 4) of a file, or of the completed object of a photo; and its provenance."""
    if cutout is not None:
        useless("with --cutout, which is the whole object already", "point", "box", "mask", *MODEL, "samples")
        return read_cutout(cutout), {"cutout": str(cutout)}
    picture, prompt = asked.read()
    with progress_bar(str(asked.image)) as progress:
        scene = model.load().open(picture)
        result = scene.complete(prompt=prompt, samples=sampling.samples, seed=sampling.seed, progress=progress)
    return result.rgba, {"image": str(asked.image), "completion": result.provenance}


def check_inputs(text: str) -> tuple[str, ...]:
    """Names of rows from "all" or a list with commas. Raises UsageError."""
    from ..downstream.reconstruction.evaluate_3d import INPUTS

    chosen = list(INPUTS) if text == "all" else [part.strip() for part in text.split(",")]
    for name in chosen:
        if name not in INPUTS:
            raise UsageError(f"there is no row {name!r}; {nearest(name, INPUTS)}")
    return tuple(chosen)


def read_cutout(path: Path) -> Picture:
    """A picture with alpha as (h, w, 4) uint8. Raises ImageError, UsageError."""
    from ..core.image import read_rgba

    rgba = read_rgba(path)
    if rgba[..., 3].min() == 255:
        raise UsageError(f"{path} has no transparency; --cutout takes the .cutout.png that amodal segment writes")
    return rgba


def measure(folder: Path, evaluation: Evaluation, count: int, results: OutputOptions) -> None:
    """Two occluded views of random meshes of a folder, against the meshes: tables 3 and 4."""
    from ..core.files import write_json
    from ..downstream.reconstruction.evaluate_3d import PUBLISHED, evaluate_reconstruction

    with progress_bar(folder.name) as progress:
        content = evaluate_reconstruction(
            folder, evaluation, results.output, count=count, overwrite=results.force, progress=progress
        )
    file = results.output / "reconstruction.json"
    write_json(file, content)
    if results.as_json:
        print_json(content)
    else:
        for name, row in content["table"].items():
            ours = "  ".join(f"{measure} {value:.4f}" for measure, value in row.items())
            paper = PUBLISHED.get(name, {})
            printed = ", ".join(f"{measure} {value:g}" for measure, value in paper.items())
            typer.echo(f"{name:20}{ours}" + (f"  (paper: {printed})" if printed else ""))
    hint(f"{file}: {content['compared']} of {content['views']} views compared")
    tell_failures(content["failures"])
