"""Training pairs through the batch engine: finding whole objects and laying occluders, in processes or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.pairs.build import Maker, PairFiles
from ..data.pairs.depth import DepthEstimator
from ..data.pairs.reader import FOLDERS
from ..data.pairs.source import Mapper, PairsConfig, Source
from ..data.pairs.wholes import Rule, whole_objects
from ..everything import find_objects
from ..image import read
from ..mask import Mask
from .worker import Result, Row, Runner, Spec, done

__all__ = ["FindWholes", "MakePairs", "finding", "maker", "making", "mapper"]


class FindWholes:
    """A photo's file to its whole objects."""

    def __init__(
        self, segmenter: str, depth: str, device: str, rule: dict[str, Any], options: dict[str, Any] | None = None
    ) -> None:
        """
        Args:
            segmenter: finds the objects.
            depth: a depth model, or "none" to trust the masks.
            device: of both.
            rule: the fields of `Rule`.
            options: the segmenter's.

        Raises:
            what loading the networks raises.
        """
        from ..pipeline import load

        self.rule = Rule(**rule)
        self.model = load("visible", segmenter=segmenter, device=device, segmenter_options=options)
        self.estimate = None if depth == "none" else DepthEstimator(depth, device)

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        image = read(row.content["image"])
        objects = [proposal.mask for proposal in find_objects(self.model.open(image))]
        nearness = None if self.estimate is None else self.estimate(image)
        wholes = whole_objects(objects, nearness, image.shape[:2], self.rule)
        return done(row, {"masks": [mask.to_dict() for mask in wholes]})


class MakePairs:
    """The number of a pair to its four pictures."""

    def __init__(self, source: dict[str, Any], out: str, config: dict[str, Any]) -> None:
        """
        Args:
            source: the fields of `Source`.
            out: the data set's folder, where the found objects lie.
            config: the fields of `PairsConfig`.
        """
        self.source, self.out, self.config = Source(**source), Path(out), PairsConfig.from_dict(config)

    @cached_property
    def files(self) -> PairFiles:
        """The shard's objects, opened at the first pair."""
        return PairFiles(self.source.open(self.out, self.config), self.config)

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        index, number = row.content["task"]
        pictures = dict(zip(FOLDERS, self.files.one(index, number), strict=True))
        return done(row, files=pictures)


def finding(
    run: Runner, segmenter: str, depth: str, device: str, rule: Rule, options: dict[str, Any] | None = None
) -> Mapper:
    """A mapper for `find_wholes` that works through the engine; see `FindWholes`."""
    settings = {"segmenter": segmenter, "depth": depth, "device": device, "rule": asdict(rule), "options": options}
    return mapper(run, Spec("amodal.scale.pairs:FindWholes", settings))


def mapper(run: Runner, spec: Spec) -> Mapper:
    """A mapper that gives each photo to a work which answers with the masks of its whole objects."""

    def work(paths: Sequence[Path]) -> Iterable[tuple[Path, list[Mask] | str]]:
        rows = [Row(str(number), {"image": str(path)}) for number, path in enumerate(paths)]
        for row, results in run(spec, rows) if rows else ():
            record = results[0].record
            error = record["error"]
            answer = [Mask.from_dict(mask) for mask in record["masks"]] if error is None else error
            yield paths[int(row.id)], answer

    return work


def making(run: Runner, source: Source, out: Path, config: PairsConfig) -> Maker:
    """A maker for `build_pairs` that works through the engine."""
    settings = {"source": asdict(source), "out": str(out), "config": asdict(config)}
    return maker(run, Spec("amodal.scale.pairs:MakePairs", settings))


def maker(run: Runner, spec: Spec) -> Maker:
    """A maker that gives each task to a work which answers with the four pictures."""

    def work(tasks: Sequence[tuple[int, int]]) -> Iterable[tuple[tuple[int, int], list[bytes] | str]]:
        rows = [Row(str(number), {"task": list(task)}) for number, task in enumerate(tasks)]
        for row, results in run(spec, rows) if rows else ():
            error = results[0].record["error"]
            yield tasks[int(row.id)], error if error is not None else [results[0].files[folder] for folder in FOLDERS]

    return work
