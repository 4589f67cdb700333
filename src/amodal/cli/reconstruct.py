"""`amodal reconstruct`: complete an occluded object, then lift it to a textured mesh; or measure that on scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..options import parse_settings
from .common import (
    AsJson,
    Device,
    Force,
    InpainterName,
    MethodName,
    Samples,
    Seed,
    SegmenterName,
    Settings,
    hint,
    load_model,
    print_json,
    progress,
    split_settings,
)
from .prompts import Boxes, MaskFile, Picture, Points, one_prompt

__all__ = ["register"]

Cutout = Annotated[Path | None, typer.Option("--cutout", metavar="FILE.png", help="Lift this cut-out (RGBA) as it is.")]
LifterName = Annotated[str, typer.Option("--lifter", help="See: amodal list lifters.")]
Lift = Annotated[list[str] | None, typer.Option("--lift", metavar="KEY=VALUE", help="Option of the lifter.")]
Views = Annotated[int, typer.Option(min=0, max=360, help="Pictures around the object.")]
Size = Annotated[int, typer.Option(min=16, max=2048, help="Side of those pictures.")]
Objects = Annotated[Path | None, typer.Option("--objects", metavar="DIR", help="Measure on meshes (.glb) instead.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Only the first N meshes.")]
Perceptual = Annotated[bool, typer.Option("--lpips", help="LPIPS too (needs the packages lpips and torchvision).")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconstruct")(reconstruct)


def reconstruct(
    image: Picture = None,
    point: Points = None,
    box: Boxes = None,
    mask: MaskFile = None,
    cutout: Cutout = None,
    lifter: LifterName = "inflate",
    lift: Lift = None,
    views: Views = 8,
    size: Size = 256,
    method: MethodName = None,
    inpainter: InpainterName = None,
    segmenter: SegmenterName = None,
    samples: Samples = 1,
    seed: Seed = 0,
    settings: Settings = None,
    objects: Objects = None,
    limit: Limit = None,
    lpips: Perceptual = False,
    device: Device = "auto",
    output: Output = Path("amodal-3d"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Lift an occluded object to 3-D: complete it, then make a textured mesh (.glb) with views around it."""
    from ..downstream.reconstruct import create_lifter, save_reconstruction
    from ..downstream.reconstruct import reconstruct as work

    if sum(source is not None for source in (image, cutout, objects)) != 1:
        raise UsageError("give one of: a photo with a prompt, --cutout FILE.png, --objects DIR")
    maker = create_lifter(lifter, parse_settings(lift or []), device)
    parts = (method, inpainter, segmenter, device, split_settings(settings or []))
    if objects is not None:
        measure(objects, limit, maker, parts, (samples, seed, size, lpips), (output, force, as_json))
        return
    if cutout is not None:
        source, stem = read_cutout(cutout), cutout.stem
        record: dict[str, Any] = {"cutout": str(cutout)}
    else:
        assert image is not None
        source, record = complete(image, (point, box, mask), parts, (samples, seed))
        stem = image.stem
    with progress(stem) as tick:
        mesh = work(source, maker, seed=seed, tick=tick)
    record["lifting"] = {**maker.provenance(), "seed": seed}
    paths = save_reconstruction(mesh, output, stem, views=views, size=size, record=record, overwrite=force)
    files = {what: [str(path) for path in part] for what, part in paths.items()}
    if as_json:
        print_json({"vertices": len(mesh.vertices), "faces": len(mesh.faces), "files": files})
    else:
        typer.echo(f"{files['mesh'][0]}  {len(mesh.faces)} triangles, {len(files['views'])} views")
    if lifter == "inflate":
        hint("inflate knows nothing of the object: a stand-in without weights; --lifter shap-e reconstructs")


def complete(
    path: Path,
    prompt: tuple[list[str] | None, list[str] | None, Path | None],
    parts: tuple[Any, ...],
    how: tuple[int, int],
) -> tuple[Any, dict[str, Any]]:
    """The cut-out of the completed object, and its provenance."""
    from ..image import read

    picture = read(path)
    asked = one_prompt(picture, *prompt)
    with progress(path.name) as tick:
        result = load_model(*parts).open(picture).complete(prompt=asked, samples=how[0], seed=how[1], tick=tick)
    return result.rgba, {"image": str(path), "completion": result.provenance}


def read_cutout(path: Path) -> Any:
    """A picture with alpha as (h, w, 4) uint8. Raises ImageError, UsageError."""
    import numpy as np
    from PIL import Image as PILImage

    from ..image import read

    read(path)  # says what is wrong with a file that is no picture
    with PILImage.open(path) as picture:
        if "A" not in picture.getbands() and "transparency" not in picture.info:
            raise UsageError(f"{path} has no transparency; --cutout takes the .cutout.png that amodal segment writes")
        return np.asarray(picture.convert("RGBA"))


def measure(
    folder: Path,
    limit: int | None,
    maker: Any,
    parts: tuple[Any, ...],
    how: tuple[int, int, int, bool],
    where: tuple[Path, bool, bool],
) -> None:
    """Two occluded views of every mesh of a folder, against the meshes."""
    from ..downstream.evaluate_3d import evaluate_reconstruction, occluded_views
    from ..files import write_json

    samples, seed, size, perceptual = how
    output, force, as_json = where
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".glb", ".obj", ".ply"))[:limit]
    model = load_model(*parts)
    with progress(folder.name) as tick:
        views = occluded_views(files, size=size, seed=seed)
        report = evaluate_reconstruction(
            views, maker, model, samples=samples, seed=seed, perceptual=perceptual, tick=tick
        )
    content = {
        "objects": len(files),
        "views": len(views),
        "lifter": maker.provenance(),
        "model": model.provenance(),
        "table": report.table(),
        "rows": report.rows,
        "failures": report.failures,
    }
    write_json(output / "reconstruction.json", content, overwrite=force)
    if as_json:
        print_json(content)
    else:
        for name, row in report.table().items():
            typer.echo(f"{name:12}" + "  ".join(f"{measure} {value:.4f}" for measure, value in row.items()))
    hint(f"{output / 'reconstruction.json'}: {len(report.rows)} rows, {len(report.failures)} failed")
    if report.failures:
        raise typer.Exit(3)
