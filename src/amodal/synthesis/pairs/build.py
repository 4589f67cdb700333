"""Building pairs: lay occluders from the same shard over whole objects; resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import AmodalError, DataError
from ...core.image import encode_png
from ...data.pairs import ENDINGS, FOLDERS
from ...engine.store import Store
from ...plugins.protocols import Progress, no_progress
from .compose import Pair, cutout, superimpose
from .source import PairsConfig, Whole, generator, safe

__all__ = ["Maker", "PairFiles", "PairsReport", "build_pairs", "encode_pair", "pair_names", "write_pairs"]

Task = tuple[int, int]
"""The number of a whole object, and of its pair."""
Maker = Callable[[Sequence[Task]], Iterable[tuple[Task, "list[bytes] | str"]]]
"""Tasks to the four pictures of each pair as PNG, in the order of `FOLDERS` (or why it failed), in any order."""


@dataclass(frozen=True)
class PairsReport:
    """What a build did: pairs written now, pairs that were there, whole objects, and what failed ("name: reason")."""

    written: int
    present: int
    wholes: int
    failures: tuple[str, ...] = ()


class PairFiles:
    """Makes the pictures of pairs; every pair depends on the seed and the objects alone."""

    def __init__(self, wholes: Sequence[Whole], config: PairsConfig) -> None:
        """
        Args:
            wholes: of the shard.
            config: how.
        """
        self.wholes, self.config = wholes, config
        self._own = own_numbers(wholes)
        self._cut = lru_cache(maxsize=64)(lambda index: cutout(wholes[index].image(), wholes[index].mask))

    def __call__(self, tasks: Sequence[Task]) -> Iterable[tuple[Task, list[bytes] | str]]:
        """One after the other, in this process."""
        for task in tasks:
            try:
                yield task, self.one(*task)
            except AmodalError as error:
                yield task, str(error)

    def one(self, index: int, number: int) -> list[bytes]:
        """The four PNG files of one pair. Raises DataError if no occluder fits."""
        return encode_pair(
            make_pair(self.wholes, index, (self._own[index], number), self.config, self._cut), self.config.side
        )


def build_pairs(
    wholes: Sequence[Whole],
    out: Path,
    config: PairsConfig,
    *,
    maker: Maker | None = None,
    origin: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> PairsReport:
    """Lay occluders over whole objects and write the pairs in the release layout.

    An object's occluders are whole objects of other pictures of the same shard; a build that was stopped goes on where it was
    and gives the same files.

    Args:
        wholes: of this shard, at least two from different pictures.
        out: the data set's folder.
        config: how.
        maker: makes the pictures; in this process by default.
        origin: JSON-ready; where the objects come from, which must agree to go on.
        overwrite: replace a build that exists.
        progress: called once per pair.

    Raises:
        DataError: fewer than two pictures with whole objects.
        OutputError: pairs exist that were built with other settings.
    """
    pictures = len({whole.image_id for whole in wholes})
    if pictures < 2:
        raise DataError(
            f"{len(wholes)} whole objects in {pictures} pictures were found; an occluder must come from another picture, so "
            "at least two are needed. Give more photos, or loosen the rule (rule.closer=0.8, rule.smallest=0.005)"
        )
    names = {
        (index, number): f"{safe(whole.image_id)}-{own}-{number}"
        for index, (whole, own) in enumerate(zip(wholes, own_numbers(wholes), strict=True))
        for number in range(config.per_object)
    }
    made = maker or PairFiles(wholes, config)
    written, present, failures = write_pairs(
        names, out, config.shard, {**asdict(config), **(origin or {})}, made, overwrite=overwrite, progress=progress
    )
    return PairsReport(written, present, len(wholes), failures)


def write_pairs(
    names: Mapping[Task, str],
    out: Path,
    shard: tuple[int, int],
    settings: Mapping[str, Any],
    maker: Maker,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> tuple[int, int, tuple[str, ...]]:
    """Write the pairs that are not there yet in the release layout.

    Args:
        names: the stem of each pair's files.
        out: the folder with `occlusion/`, `whole/`, `whole_mask/`, `visible_object_mask/`.
        shard: (number, count) of this build.
        settings: JSON-ready; all that the pairs depend on.
        maker: makes the pictures.
        overwrite: replace a build that exists.
        progress: called once per pair.

    Returns:
        the numbers of pairs written and present, and the failures ("name: reason").

    Raises:
        OutputError: pairs exist that were built with other settings.
    """
    part = f"shard{shard[0]:05d}" if shard[1] > 1 else "."
    files = {task: pair_names(f"{part}/{stem}") for task, stem in names.items()}
    with open_store(out, shard, settings, overwrite=overwrite) as store:
        todo = [task for task in names if not all((out / name).is_file() for name in files[task])]
        failures: list[str] = []
        for done, (task, answer) in enumerate(maker(todo), 1):
            if isinstance(answer, str):
                failures.append(f"{names[task]}: {answer}")
            else:
                for file, content in zip(files[task], answer, strict=True):
                    store.write(file, content)
            progress("pair", done, len(todo))
    return len(todo) - len(failures), len(names) - len(todo), tuple(failures)


def pair_names(stem: str) -> list[str]:
    """The four files of a pair, in the order of `FOLDERS`, relative to the data set."""
    return [f"{folder}/{stem}_{ending}.png" for folder, ending in zip(FOLDERS, ENDINGS, strict=True)]


def open_store(out: Path, shard: tuple[int, int], settings: Mapping[str, Any], *, overwrite: bool = False) -> Store:
    """The store of a shard of pairs; each shard has its own, so that many machines build one data set."""
    part = f"/shard{shard[0]:05d}" if shard[1] > 1 else ""
    owns = [f"{folder}{part}" for folder in (*FOLDERS, "wholes")]
    head = f"build-{shard[0]:05d}-of-{shard[1]:05d}.json"
    return Store(out, settings, head=head, journal=f".{head}l", owns=owns, overwrite=overwrite)


def own_numbers(wholes: Sequence[Whole]) -> list[int]:
    """The number of each object among those of its picture, so that pairs keep their names where pictures are added."""
    counts = Counter[str]()
    numbers = []
    for whole in wholes:
        numbers.append(counts[whole.image_id])
        counts[whole.image_id] += 1
    return numbers


def make_pair(
    wholes: Sequence[Whole],
    index: int,
    numbers: tuple[int, int],
    config: PairsConfig,
    cut: Callable[[int], NDArray[np.uint8]],
) -> Pair:
    """One pair; tries several occluders. `numbers`: of the object in its picture, and of the pair. Raises DataError if none fits."""
    whole = wholes[index]
    random = generator(config.seed, whole.image_id, f"{numbers[0]}-{numbers[1]}")
    others = [k for k, other in enumerate(wholes) if other.image_id != whole.image_id]
    image = whole.image()
    for _ in range(5):
        try:
            occluder = cut(others[int(random.integers(len(others)))])
        except AmodalError:  # a picture that is damaged or of another size: told where its own objects' turn comes
            continue
        pair = superimpose(image, whole.mask, occluder, random, config.occluded)
        if pair is not None:
            return pair
    raise DataError(f"no occluder hides between {config.occluded[0]:.0%} and {config.occluded[1]:.0%} of it")


def encode_pair(pair: Pair, side: int) -> list[bytes]:
    """The four pictures as PNG, squeezed to `side` x `side` unless that is 0. Raises DataError if nothing visible is left."""
    import cv2

    pictures: list[Any] = [pair.occlusion, pair.whole, pair.amodal, pair.visible]
    if side:
        for number, picture in enumerate(pictures):
            values = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
            small = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
            pictures[number] = small > 127 if picture.dtype == bool else small
        if not pictures[3].any():
            raise DataError(f"the visible part vanishes at {side} x {side} pixels")
    return [encode_png(picture) for picture in pictures]
