"""Training pairs through the batch engine: finding whole objects and laying occluders, in processes or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from ...core.files import write_bytes
from ...core.image import encode_png, read
from ...core.mask import Mask
from ...data.pairs import FOLDERS
from ...data.scene_masks import read_json_masks
from ...engine.worker import Result, Row, Runner, Spec, done
from ...pipeline.objects import find_objects
from .build import Maker, PairFiles
from .depth import DepthEstimator
from .source import Mapper, PairsConfig, Source, explained
from .wholes import Rule, drawing, whole_objects

__all__ = ["GIVEN", "FindWholes", "MakePairs", "finding", "maker", "making", "mapper"]


GIVEN = "files"
"""In place of a segmenter: the masks in a JSON file beside each photo, as SA-1B has them."""


class FindWholes:
    """A photo's file to its whole objects."""

    def __init__(
        self,
        segmenter: str,
        depth: str,
        device: str,
        rule: dict[str, Any],
        options: dict[str, Any] | None = None,
        explain: bool = False,
    ) -> None:
        """
        Args:
            segmenter: finds the objects; or `GIVEN`.
            depth: a depth model, or "none" to trust the masks.
            device: of both.
            rule: the fields of `Rule`.
            options: the segmenter's.
            explain: also draw why.

        Raises:
            what loading the networks raises.
        """
        from ...pipeline import load

        self.rule, self.explain = Rule(**rule), explain
        self.model = None
        if segmenter != GIVEN:
            self.model = load("visible", segmenter=segmenter, device=device, segmenter_options=options)
        self.estimate = None if depth == "none" else DepthEstimator(depth, device)

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        image = read(row.content["image"])
        if self.model is None:
            path = Path(row.content["image"])
            objects = [mask for _, mask, _ in read_json_masks(path.with_suffix(".json"), image.shape[:2], path.name)]
        else:
            objects = [proposal.mask for proposal in find_objects(self.model.open(image))]
        nearness = None if self.estimate is None else self.estimate(image)
        wholes = whole_objects(objects, nearness, image.shape[:2], self.rule)
        files = {}
        if self.explain and nearness is not None:
            files["explain.png"] = encode_png(drawing(image, objects, nearness, self.rule))
        return done(row, {"masks": [mask.to_dict() for mask in wholes]}, files)


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
    run: Runner,
    segmenter: str,
    depth: str,
    device: str,
    rule: Rule,
    options: dict[str, Any] | None = None,
    explain: Path | None = None,
) -> Mapper:
    """A mapper for `find_wholes` that works through the engine; see `FindWholes`. `explain`: folder for its drawings."""
    settings = {"segmenter": segmenter, "depth": depth, "device": device, "rule": asdict(rule), "options": options}
    return mapper(run, Spec(FindWholes, {**settings, "explain": explain is not None}), explain)


def mapper(run: Runner, spec: Spec, explain: Path | None = None) -> Mapper:
    """A mapper that gives each photo to a work which answers with the masks of its whole objects, and perhaps a drawing."""

    def work(paths: Sequence[Path]) -> Iterable[tuple[Path, list[Mask] | str]]:
        rows = [Row(str(number), {"image": str(path)}) for number, path in enumerate(paths)]
        for row, results in run(spec, rows) if rows else ():
            record = results[0].record
            error = record["error"]
            if explain is not None and results[0].files:
                write_bytes(explained(explain, paths[int(row.id)]), results[0].files["explain.png"])
            answer = [Mask.from_dict(mask) for mask in record["masks"]] if error is None else error
            yield paths[int(row.id)], answer

    return work


def making(run: Runner, source: Source, out: Path, config: PairsConfig) -> Maker:
    """A maker for `build_pairs` that works through the engine."""
    settings = {"source": asdict(source), "out": str(out), "config": asdict(config)}
    return maker(run, Spec(MakePairs, settings))


def maker(run: Runner, spec: Spec) -> Maker:
    """A maker that gives each task to a work which answers with the four pictures."""

    def work(tasks: Sequence[tuple[int, int]]) -> Iterable[tuple[tuple[int, int], list[bytes] | str]]:
        rows = [Row(str(number), {"task": list(task)}) for number, task in enumerate(tasks)]
        for row, results in run(spec, rows) if rows else ():
            error = results[0].record["error"]
            yield tasks[int(row.id)], error if error is not None else [results[0].files[folder] for folder in FOLDERS]

    return work
