"""`amodal data build pairs`: whole-part pairs for training pix2gestalt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .common import hint, print_json, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..data.pairs.build import Finder, PairsConfig, Whole
    from ..image import Image
    from ..mask import Mask
    from ..protocols import Tick

__all__ = ["register"]

Photos = Annotated[Path | None, typer.Argument(metavar="[PHOTOS]", help="Folder of raw photographs.")]
Data = Annotated[str | None, typer.Option("--dataset", help="Take whole objects from a data set instead.")]
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="The data set's folder.")]
Split = Annotated[str | None, typer.Option(help="The data set's part.")]
Grounds = Annotated[Path | None, typer.Option("--backgrounds", metavar="DIR", help="Lay the objects on these photos.")]
Segmenter = Annotated[str, typer.Option(help="Finds the objects of a photo.")]
Depth = Annotated[str, typer.Option(help="Depth model: fetched name or folder; none: trust the masks.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to make.")]
Closer = Annotated[float, typer.Option(min=0, max=1, help="Share of the outline that must be nearer.")]
Hidden = Annotated[str, typer.Option(metavar="LOW,HIGH", help="Share of the object that the occluder hides.")]
Per = Annotated[int, typer.Option("--per-object", min=1, help="Pairs of one object.")]
Side = Annotated[int, typer.Option(min=0, help="Squeeze pictures to this square; 0 keeps their size.")]
Seed = Annotated[int, typer.Option(help="Same seed, same pairs.")]
Shard = Annotated[str, typer.Option(metavar="I/N", help="Only every N-th picture, from the I-th.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a build that was stopped.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was done on stdout.")]


def register(build: typer.Typer) -> None:
    """Add the command to `amodal data build`."""
    build.command("pairs")(pairs)


def pairs(
    photos: Photos = None,
    dataset: Data = None,
    root: Root = None,
    split: Split = None,
    backgrounds: Grounds = None,
    segmenter: Segmenter = "sam",
    depth: Depth = "depth-anything-small",
    output: Output = Path("pairs"),
    closer: Closer = 0.9,
    hidden: Hidden = "0.05,0.7",
    per_object: Per = 1,
    side: Side = 256,
    seed: Seed = 0,
    shard: Shard = "0/1",
    resume: Resume = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Photographs or whole objects to pairs: occlusion/, whole/, whole_mask/, visible_object_mask/."""
    from ..data.pairs.build import PairsConfig, build_pairs
    from ..data.pairs.wholes import Rule

    low, high = numbers(hidden, ",", "--hidden takes LOW,HIGH such as 0.05,0.7")
    number, count = numbers(shard, "/", "--shard takes I/N such as 0/8")
    rule = Rule(closer=closer)
    config = PairsConfig(rule, (low, high), per_object, side, seed, (int(number), int(count)))
    if (photos is None) == (dataset is None):
        raise UsageError("give either a folder of photographs or --dataset NAME --root DIR")
    failures: list[str] = []
    with progress("pairs") as tick:
        if photos is not None:
            wholes, failures = from_photos(photos, output, config, (segmenter, depth, device), tick)
        else:
            wholes = from_dataset(str(dataset), root, split, config)
        if backgrounds is not None:
            wholes = on_other_photos(wholes, backgrounds, seed)
        report = build_pairs(wholes, output, config, resume=resume, tick=tick)
    failures.extend(report.failures)
    for failure in failures:
        hint(f"amodal: {failure}")
    summary = {"written": report.written, "present": report.present, "wholes": report.wholes, "failures": failures}
    if as_json:
        print_json(summary)
    else:
        typer.echo(
            f"{output}: {report.written} pairs written, {report.present} were there, {report.wholes} whole objects"
        )
    hint(f"next: amodal data check pairs --root {output} --split all")
    if failures:
        raise typer.Exit(3)


def numbers(text: str, sign: str, help: str) -> tuple[float, float]:
    """Two numbers with a sign between. Raises UsageError."""
    try:
        first, second = (float(part) for part in text.split(sign))
    except ValueError:
        raise UsageError(f"{help}, got {text!r}") from None
    return first, second


def from_photos(
    photos: Path, output: Path, config: PairsConfig, parts: tuple[str, str, str], tick: Tick
) -> tuple[list[Whole], list[str]]:
    """Whole objects of raw photographs; the networks are loaded only if a photo is left to do."""
    from ..data.pairs.build import find_wholes

    finder: list[Finder] = []

    def find(image: Image) -> tuple[Sequence[Mask], NDArray[np.float32] | None]:
        if not finder:
            finder.append(make_finder(*parts))
        return finder[0](image)

    return find_wholes(photos, output, find, config, tick)


def make_finder(segmenter: str, depth: str, device: str) -> Finder:
    """Masks of all objects and nearness of a photo."""
    from ..data.pairs.depth import DepthEstimator
    from ..everything import find_objects
    from ..pipeline import load

    model = load("visible", segmenter=segmenter, device=device)
    estimate = None if depth == "none" else DepthEstimator(depth, device)

    def find(image: Image) -> tuple[list[Mask], NDArray[np.float32] | None]:
        return [proposal.mask for proposal in find_objects(model.open(image))], None if estimate is None else estimate(
            image
        )

    return find


def from_dataset(name: str, root: Path | None, split: str | None, config: PairsConfig) -> list[Whole]:
    """Whole objects of a data set."""
    from ..data import dataset
    from ..data.pairs.build import wholes_of_dataset

    if root is None:
        raise UsageError(f"--dataset {name} needs its folder: --root DIR")
    return wholes_of_dataset(dataset(name, root, split, skip_bad=True), config)


def on_other_photos(wholes: list[Whole], backgrounds: Path, seed: int) -> list[Whole]:
    """The objects on other photographs."""
    from ..data.pairs.build import PICTURES, on_backgrounds

    paths = sorted(path for path in backgrounds.rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise UsageError(f"{backgrounds} holds no photographs")
    return on_backgrounds(wholes, paths, seed)
