"""`amodal data build pairs`: whole-part pairs for training pix2gestalt."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from .common import (
    AsJson,
    DataOutput,
    DataSeed,
    Device,
    Force,
    Resume,
    Root,
    RunOptions,
    Split,
    hint,
    progress_bar,
    show,
    useless,
    word,
)
from .prompts import numbers

if TYPE_CHECKING:
    from ..engine.worker import Runner
    from ..synthesis.pairs.build import PairsReport
    from ..synthesis.pairs.wholes import Rule

__all__ = ["pairs"]

Photos = Annotated[
    Path | None,
    typer.Argument(metavar="[PHOTOS|CONFIG.toml]", help="Folder of raw photographs, or what composites to make."),
]
Data = Annotated[str | None, typer.Option("--dataset", help="Take whole objects from a data set instead.")]
Grounds = Annotated[Path | None, typer.Option("--backgrounds", metavar="DIR", help="Lay the objects on these photos.")]
Segmenter = Annotated[str, typer.Option(help="Finds the objects of a photo; files: X.json beside X.jpg, as SA-1B.")]
Depth = Annotated[str, typer.Option(help="Depth model: fetched name or folder; none: trust the masks.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="rule.KEY, segmenter.KEY; with CONFIG.toml its keys."),
]
OccludedShare = Annotated[str, typer.Option(metavar="LOW,HIGH", help="Share of the object that the occluder hides.")]
Per = Annotated[int, typer.Option("--per-object", min=1, help="Pairs of one object.")]
Side = Annotated[int, typer.Option(min=0, help="Squeeze pictures to this square; 0 keeps their size.")]
Explain = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Draw each photo's candidates: green where nearer than what is outside, else red."
    ),
]
Shard = Annotated[str, typer.Option(metavar="I/N", help="Only every N-th picture, from the I-th.")]


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
    occluded: OccludedShare = "0.05,0.7",
    per_object: Per = 1,
    side: Side = 256,
    seed: DataSeed = 0,
    shard: Shard = "0/1",
    workers: RunOptions = RunOptions(),
    resume: Resume = False,
    force: Force = False,
    explain: Explain = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Photographs, whole objects or composites to pairs: occlusion/, whole/, whole_mask/, visible_object_mask/."""
    from ..synthesis.pairs.at_scale import finding, making
    from ..synthesis.pairs.build import build_pairs, open_store
    from ..synthesis.pairs.source import PairsConfig, Source, find_wholes

    low, high = numbers(occluded, (2,), "--occluded LOW,HIGH such as 0.05,0.7")
    number, count = numbers(shard, (2,), "--shard I/N such as 0/8", "/")
    part = int(number), int(count)
    check_use(photos, dataset, root, explain, depth)
    run = workers.runner()
    if photos is not None and photos.suffix == ".toml":
        report = from_composites(photos, settings, output, side, part, force, run)
        tell(report, [], output, as_json)
        return
    rule, options = rule_and_options(settings or [])
    config = PairsConfig(rule, (low, high), per_object, side, seed, part)
    folders = [None if folder is None else str(folder) for folder in (photos, root, backgrounds)]
    source = Source(folders[0], dataset or "", folders[1] or "", split, folders[2])
    failures: list[str] = []
    origin: dict[str, Any] = {"source": asdict(source)}
    with progress_bar("pairs") as progress:
        if photos is not None:
            check_networks(segmenter, depth, options)
            origin |= {"segmenter": segmenter, "depth": depth, "options": options}
        with open_store(output, part, {**asdict(config), **origin}, overwrite=force):
            if photos is not None:
                networks = finding(run, segmenter, depth, device, rule, options, explain)
                failures = find_wholes(photos, output, networks, config, progress, explain)
        for failure in failures:
            hint(f"amodal: {failure}")
        maker, wholes = making(run, source, output, config), source.open(output, config)
        report = build_pairs(wholes, output, config, maker=maker, origin=origin, progress=progress)
    tell(report, failures, output, as_json)


def check_use(photos: Path | None, dataset: str | None, root: Path | None, explain: Path | None, depth: str) -> None:
    """Options that go together. Raises UsageError."""
    if (photos is None) == (dataset is None):
        raise UsageError("give one of: a folder of photographs, a composites' CONFIG.toml, --dataset NAME --root DIR")
    if dataset is not None and root is None:
        raise UsageError(f"--dataset {dataset} needs its folder: --root DIR")
    if photos is None:
        useless("with --dataset, whose masks are given", "segmenter", "depth", "device")
    elif photos.suffix == ".toml":
        told = ("root", "split", "backgrounds", "segmenter", "depth", "occluded", "per_object", "seed", "device")
        useless(f"with {photos.name}, which says what to make", *told)
    else:
        useless("without --dataset", "root", "split")
    if explain is not None and (photos is None or photos.suffix == ".toml" or depth == "none"):
        raise UsageError("--explain shows what --depth says of a folder of photographs; give both")


def check_networks(segmenter: str, depth: str, options: dict[str, str]) -> None:
    """Wrong use shows before any worker starts."""
    from ..plugins import registry
    from ..synthesis.pairs.at_scale import GIVEN
    from ..weights.catalogue import locate

    if segmenter != GIVEN:
        registry.check("segmenters", segmenter, options)
    if depth != "none":
        locate(depth)


def from_composites(
    path: Path, settings: list[str] | None, output: Path, side: int, shard: tuple[int, int], force: bool, run: Runner
) -> PairsReport:
    """Pairs of the composite builder, whose truth is exact."""
    from ..core.config import read_sections, section
    from ..engine.worker import Spec
    from ..synthesis.composites.fixed import CompositesConfig, MakeCompositePair
    from ..synthesis.pairs.at_scale import maker
    from ..synthesis.pairs.build import PairsReport, write_pairs
    from ..synthesis.pairs.source import in_shard

    config = section(read_sections(path, settings or ()), CompositesConfig, "composites")
    work = {"config": asdict(config), "side": side}
    names = {(number, 0): f"{number:06d}" for number in in_shard(range(config.count), shard)}
    told = {**work, "config": {**asdict(config), "count": 0}}  # a build may be lengthened
    with progress_bar("pairs") as progress:
        made = maker(run, Spec(MakeCompositePair, work))
        written, present, failures = write_pairs(names, output, shard, told, made, overwrite=force, progress=progress)
    return PairsReport(written, present, len(names), failures)


def tell(report: PairsReport, failures: list[str], output: Path, as_json: bool) -> None:
    """Print what was done; exit code 3 if something failed, be it before (`failures`, told already) or now."""
    for failure in report.failures:
        hint(f"amodal: {failure}")
    failures = [*failures, *report.failures]
    summary = {"written": report.written, "present": report.present, "wholes": report.wholes, "failures": failures}
    show(
        as_json,
        summary,
        f"{output}: {report.written} pairs written, {report.present} were there, {report.wholes} whole objects",
    )
    hint(f"next: amodal data check pix2gestalt --root {word(output)}")
    if failures:
        raise typer.Exit(3)


def rule_and_options(settings: list[str]) -> tuple[Rule, dict[str, str]]:
    """`--set` items: what counts as a whole object, and the segmenter's options. Raises UsageError."""
    from ..core.config import section
    from ..core.files import toml_value
    from ..core.options import parse_settings
    from ..synthesis.pairs.wholes import Rule

    parts: dict[str, dict[str, str]] = {"rule": {}, "segmenter": {}}
    for name, value in parse_settings(settings).items():
        head, _, tail = name.partition(".")
        if head not in parts or not tail:
            raise UsageError(f"--set takes rule.KEY=VALUE or segmenter.KEY=VALUE here, got {name!r}")
        parts[head][tail] = value
    rule = section({key: toml_value(value) for key, value in parts["rule"].items()}, Rule, "rule")
    return rule, parts["segmenter"]
