"""`amodal data build pairs`: whole-part pairs for training pix2gestalt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .common import RayAddress, Workers, choose_runner, hint, print_json, progress

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
    workers: Workers = 1,
    ray: RayAddress = None,
    resume: Resume = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Photographs or whole objects to pairs: occlusion/, whole/, whole_mask/, visible_object_mask/."""
    from ..data.pairs.build import build_pairs
    from ..data.pairs.source import PairsConfig, Source, find_wholes
    from ..data.pairs.wholes import Rule
    from ..scale.pairs import finding, making

    low, high = numbers(hidden, ",", "--hidden takes LOW,HIGH such as 0.05,0.7")
    number, count = numbers(shard, "/", "--shard takes I/N such as 0/8")
    rule = Rule(closer=closer)
    config = PairsConfig(rule, (low, high), per_object, side, seed, (int(number), int(count)))
    if (photos is None) == (dataset is None):
        raise UsageError("give either a folder of photographs or --dataset NAME --root DIR")
    if dataset is not None and root is None:
        raise UsageError(f"--dataset {dataset} needs its folder: --root DIR")
    folders = [None if folder is None else str(folder) for folder in (photos, root, backgrounds)]
    source = Source(folders[0], dataset or "", folders[1] or "", split, folders[2])
    run = choose_runner(workers, ray)
    failures: list[str] = []
    with progress("pairs") as tick:
        if photos is not None:
            failures = find_wholes(photos, output, finding(run, segmenter, depth, device, rule), config, tick)
        maker = making(run, source, output, config)
        report = build_pairs(source.open(output, config), output, config, maker=maker, resume=resume, tick=tick)
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
