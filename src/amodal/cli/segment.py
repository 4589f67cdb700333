"""`amodal segment`: the main job on one or more pictures."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AmodalError, DataError, UsageError
from ..prompt import Prompt
from .common import (
    Device,
    Force,
    InpainterName,
    MethodName,
    SegmenterName,
    Settings,
    hint,
    load_model,
    print_json,
    progress,
    split_settings,
)
from .prompts import Boxes, Points, gather_prompts

if TYPE_CHECKING:
    from ..completion import Completion
    from ..image import Image
    from ..pipeline import Model


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("segment")(segment)


Images = Annotated[list[Path] | None, typer.Argument(metavar="IMAGE...", help="Pictures; - reads one from stdin.")]
Masks = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Visible mask; repeat it for several objects.")]
Words = Annotated[str | None, typer.Option(metavar="WORDS", help="Words for the object (needs --segmenter sam3).")]
Invert = Annotated[bool, typer.Option("--invert-mask", help="White marks the background in --mask.")]
Hides = Annotated[Path | None, typer.Option(metavar="FILE", help="Mask of what hides the object; none: nothing does.")]
Samples = Annotated[int | None, typer.Option(min=1, max=256, help="Guesses per object; the mask is their majority.")]
Seed = Annotated[int | None, typer.Option(help="Same seed, same answer.")]
Like = Annotated[Path | None, typer.Option(metavar="FILE.json", help="Repeat a result, but for what is given.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the records on stdout.")]


def segment(
    images: Images = None,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    text: Words = None,
    invert_mask: Invert = False,
    occluder: Hides = None,
    method: MethodName = None,
    inpainter: InpainterName = None,
    segmenter: SegmenterName = None,
    samples: Samples = None,
    seed: Seed = None,
    settings: Settings = None,
    like: Like = None,
    device: Device = "auto",
    output: Output = Path("amodal-out"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Complete objects: photo and prompt in; amodal mask, cut-out, overlay and JSON out."""  # fmt: skip
    record = read_record(like) if like else {}
    images = images or _recorded_images(record)
    if not images:
        raise UsageError("no picture given; name one or more, or - for stdin")
    prompts = gather_prompts(point or [], box or [], text) or _recorded_prompts(record, bool(mask))
    if not prompts and not mask:
        raise UsageError("no prompt: mark the object with --point X,Y, --box X0,Y0,X1,Y1, --mask FILE or --text WORDS")
    model = load_like(record, method, inpainter, segmenter, device, split_settings(settings or []))
    how = {
        "samples": samples if samples is not None else int(record.get("samples", 1)),
        "seed": seed if seed is not None else int(record.get("seed", 0)),
        "occluder": occluder,
        "recorded_occluder": record.get("occluder"),
        "repainted": record.get("repainted"),
        "recorded_pixels": record.get("image", {}).get("sha256_pixels"),
    }
    records, failures = run_images(model, images, prompts, mask or [], invert_mask, how, (output, force, as_json))
    if as_json:
        print_json(records)
    if records:
        hint(f"next: amodal segment --like {records[-1]['files']['json']}  repeats the last result")
    if failures:
        raise typer.Exit(3 if failures < len(images) else 1)


def run_images(
    model: Model,
    images: list[Path],
    prompts: list[Prompt],
    masks: list[Path],
    invert: bool,
    how: dict[str, Any],
    where: tuple[Path, bool, bool],
) -> tuple[list[dict[str, Any]], int]:
    """Complete and save picture by picture; one bad picture among several does not stop the rest.

    Returns:
        the records of what was saved, and the number of pictures that failed.
    """
    output, force, quiet = where
    failures = 0
    records: list[dict[str, Any]] = []
    for path in images:
        try:
            start = time.perf_counter()
            results = complete_image(model, path, prompts, masks, invert, how)
            records += save_all(results, path, output, force)
            if not quiet:
                for result, saved in zip(results, records[-len(results) :], strict=True):
                    typer.echo(f"{saved['files']['amodal']}  {result.occlusion_rate:.1%} occluded")
            hint(f"{path}: {len(results)} object(s) in {time.perf_counter() - start:.2f} s")
        except AmodalError as error:
            if len(images) == 1:
                raise
            failures += 1
            hint(f"amodal: {path}: {error}")
    return records, failures


def complete_image(
    model: Model, path: Path, prompts: list[Prompt], masks: list[Path], invert: bool, how: dict[str, Any]
) -> list[Completion]:
    """All objects of one picture as one batch."""
    from ..image import read, read_mask
    from ..mask import Mask

    source: Any = sys.stdin.buffer.read() if str(path) == "-" else path
    image = read(source)
    size = (image.shape[0], image.shape[1])
    pixels = digest(image)
    if how["recorded_pixels"] not in (None, pixels):
        warnings.warn(f"{path} is not the picture of the record; the result will differ", stacklevel=2)
    drawn = [read_mask(file, size, invert=invert) for file in masks]
    if prompts and len(drawn) > 1:
        raise UsageError("several masks are several objects and take no points, box or text")
    everything = [Prompt.make(mask=mask) for mask in drawn] or prompts
    hides: Mask | None = None
    if how["occluder"] is not None:
        nothing = str(how["occluder"]) == "none"
        hides = Mask.from_array([[False]]) if nothing else read_mask(how["occluder"], size)
    elif how["recorded_occluder"] is not None:
        hides = Mask.from_dict(how["recorded_occluder"])
    with progress(path.name) as tick:
        scene = model.open(image)
        if how["repainted"] is not None and len(everything) == 1 and everything[0].mask is not None:
            whole = Mask.from_dict(how["repainted"])
            results = [scene.repaint(everything[0].mask, whole, seed=how["seed"], tick=tick)]
        else:
            results = scene.complete_all(
                everything,
                samples=how["samples"],
                seeds=[how["seed"]] * len(everything),
                occluders=[hides] * len(everything),
                tick=tick,
            )
    for result in results:
        result.provenance["image"] = {"file": str(path), "sha256_pixels": pixels}
    return results


def digest(image: Image) -> str:
    """SHA-256 of the pixels: the same picture in another file format has the same."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def save_all(results: list[Completion], path: Path, output: Path, force: bool) -> list[dict[str, Any]]:
    """Write every result; `<stem>` for one object, `<stem>.N` for several. Returns the JSON records with their files."""
    stem = "stdin" if str(path) == "-" else path.stem
    records = []
    for number, result in enumerate(results):
        name = stem if len(results) == 1 else f"{stem}.{number}"
        files = result.save(output, name, overwrite=force)
        records.append({**result.to_dict(), "files": {what: str(file) for what, file in files.items()}})
    return records


def read_record(path: Path) -> dict[str, Any]:
    """The provenance of a result's JSON.

    Raises:
        DataError: not a result of amodal.
    """
    from ..files import read_json

    record = read_json(path, DataError)
    if not isinstance(record, dict) or "provenance" not in record:
        raise DataError(f"{path} is not a result of amodal segment; give the .json beside a .amodal.png")
    return dict(record["provenance"])


def load_like(
    record: dict[str, Any],
    method: str | None,
    inpainter: str | None,
    segmenter: str | None,
    device: str,
    settings: dict[str, dict[str, Any]],
) -> Model:
    """The model of a record, changed by what is given on the command line."""
    chosen = {"method": method, "inpainter": inpainter, "segmenter": segmenter}
    for part, name in chosen.items():
        recorded = record.get(part)
        if recorded and name in (None, recorded["name"]):
            chosen[part] = recorded["name"]
            settings[part] = {**recorded["options"], **settings[part]}
    return load_model(chosen["method"], chosen["inpainter"], chosen["segmenter"], device, settings)


def _recorded_images(record: dict[str, Any]) -> list[Path]:
    file = record.get("image", {}).get("file")
    return [Path(file)] if file else []


def _recorded_prompts(record: dict[str, Any], has_mask: bool) -> list[Prompt]:
    return [Prompt.from_dict(record["prompt"])] if "prompt" in record and not has_mask else []
