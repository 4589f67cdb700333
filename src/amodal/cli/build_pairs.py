"""`amodal data build pairs`: whole-part pairs for training pix2gestalt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .common import (
    AsJson,
    DataOutput,
    DataSeed,
    Device,
    RayAddress,
    Resume,
    Root,
    Split,
    Workers,
    choose_runner,
    hint,
    print_json,
    progress,
)

if TYPE_CHECKING:
    from ..data.pairs.build import PairsReport
    from ..data.pairs.wholes import Rule
    from ..scale.worker import Runner

__all__ = ["register"]

Photos = Annotated[
    Path | None,
    typer.Argument(metavar="[PHOTOS|CONFIG.toml]", help="Folder of raw photographs, or what composites to make."),
]
Data = Annotated[str | None, typer.Option("--dataset", help="Take whole objects from a data set instead.")]
Grounds = Annotated[Path | None, typer.Option("--backgrounds", metavar="DIR", help="Lay the objects on these photos.")]
Segmenter = Annotated[str, typer.Option(help="Finds the objects of a photo.")]
Depth = Annotated[str, typer.Option(help="Depth model: fetched name or folder; none: trust the masks.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="rule.KEY, segmenter.KEY; with CONFIG.toml its keys."),
]
Hidden = Annotated[str, typer.Option(metavar="LOW,HIGH", help="Share of the object that the occluder hides.")]
Per = Annotated[int, typer.Option("--per-object", min=1, help="Pairs of one object.")]
Side = Annotated[int, typer.Option(min=0, help="Squeeze pictures to this square; 0 keeps their size.")]
Shard = Annotated[str, typer.Option(metavar="I/N", help="Only every N-th picture, from the I-th.")]


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
    settings: Settings = None,
    output: DataOutput = Path("pairs"),
    hidden: Hidden = "0.05,0.7",
    per_object: Per = 1,
    side: Side = 256,
    seed: DataSeed = 0,
    shard: Shard = "0/1",
    workers: Workers = 1,
    ray: RayAddress = None,
    resume: Resume = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Photographs, whole objects or composites to pairs: occlusion/, whole/, whole_mask/, visible_object_mask/."""
    from .. import registry
    from ..data.pairs.build import build_pairs
    from ..data.pairs.source import PairsConfig, Source, find_wholes
    from ..scale.pairs import finding, making
    from ..weights import locate

    low, high = numbers(hidden, ",", "--hidden takes LOW,HIGH such as 0.05,0.7")
    number, count = numbers(shard, "/", "--shard takes I/N such as 0/8")
    part = int(number), int(count)
    if (photos is None) == (dataset is None):
        raise UsageError("give one of: a folder of photographs, a composites' CONFIG.toml, --dataset NAME --root DIR")
    if dataset is not None and root is None:
        raise UsageError(f"--dataset {dataset} needs its folder: --root DIR")
    run = choose_runner(workers, ray)
    if photos is not None and photos.suffix == ".toml":
        report = from_composites(photos, settings, output, (side, part, resume), run)
        tell(report, [], output, as_json)
        return
    rule, options = rule_and_options(settings or [])
    config = PairsConfig(rule, (low, high), per_object, side, seed, part)
    folders = [None if folder is None else str(folder) for folder in (photos, root, backgrounds)]
    source = Source(folders[0], dataset or "", folders[1] or "", split, folders[2])
    failures: list[str] = []
    with progress("pairs") as tick:
        if photos is not None:
            registry.check("segmenters", segmenter, options)  # wrong use shows before any worker starts
            if depth != "none":
                locate(depth)
            networks = finding(run, segmenter, depth, device, rule, options)
            failures = find_wholes(photos, output, networks, config, tick)
            for failure in failures:
                hint(f"amodal: {failure}")
        maker = making(run, source, output, config)
        report = build_pairs(source.open(output, config), output, config, maker=maker, resume=resume, tick=tick)
    tell(report, failures, output, as_json)


def from_composites(
    path: Path, settings: list[str] | None, output: Path, how: tuple[int, tuple[int, int], bool], run: Runner
) -> PairsReport:
    """Pairs of the composite builder, whose truth is exact."""
    from dataclasses import asdict

    from ..data.composites.build import LibraryConfig
    from ..data.composites.fixed import CompositesConfig
    from ..data.pairs.build import PairsReport, write_pairs
    from ..data.pairs.source import in_shard
    from ..scale.pairs import maker
    from ..scale.worker import Spec
    from ..training.recipe import read_sections, section

    side, shard, resume = how
    config = section(read_sections(path, settings), CompositesConfig, "composites")
    library = section(config.library, LibraryConfig, "library")
    work = {"config": asdict(config), "library": asdict(library), "side": side}
    names = {(number, 0): f"{number:06d}" for number in in_shard(range(config.count), shard)}
    told = {**work, "config": {**asdict(config), "count": 0}}  # a build may be lengthened
    with progress("pairs") as tick:
        made = maker(run, Spec("amodal.data.composites.fixed:MakeCompositePair", work))
        written, present, failures = write_pairs(names, output, shard, told, made, resume=resume, tick=tick)
    return PairsReport(written, present, len(names), failures)


def tell(report: PairsReport, failures: list[str], output: Path, as_json: bool) -> None:
    """Print what was done; exit code 3 if something failed, be it before (`failures`, told already) or now."""
    for failure in report.failures:
        hint(f"amodal: {failure}")
    failures = [*failures, *report.failures]
    summary = {"written": report.written, "present": report.present, "wholes": report.wholes, "failures": failures}
    if as_json:
        print_json(summary)
    else:
        typer.echo(
            f"{output}: {report.written} pairs written, {report.present} were there, {report.wholes} whole objects"
        )
    hint(f"next: amodal data check pix2gestalt --root {output}")
    if failures:
        raise typer.Exit(3)


def rule_and_options(settings: list[str]) -> tuple[Rule, dict[str, str]]:
    """`--set` items: what counts as a whole object, and the segmenter's options. Raises UsageError."""
    from ..data.pairs.wholes import Rule
    from ..files import toml_value
    from ..options import parse_settings
    from ..training.recipe import section

    parts: dict[str, dict[str, str]] = {"rule": {}, "segmenter": {}}
    for name, value in parse_settings(settings).items():
        head, _, tail = name.partition(".")
        if head not in parts or not tail:
            raise UsageError(f"--set takes rule.KEY=VALUE or segmenter.KEY=VALUE here, got {name!r}")
        parts[head][tail] = value
    rule = section({key: toml_value(value) for key, value in parts["rule"].items()}, Rule, "rule")
    return rule, parts["segmenter"]


def numbers(text: str, sign: str, help: str) -> tuple[float, float]:
    """Two numbers with a sign between. Raises UsageError."""
    try:
        first, second = (float(part) for part in text.split(sign))
    except ValueError:
        raise UsageError(f"{help}, got {text!r}") from None
    return first, second
