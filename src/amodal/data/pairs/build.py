"""Building pairs: find whole objects (resumable, sharded), then lay occluders from the same shard over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import AmodalError, DataError, OutputError
from ...files import read_json, write_bytes, write_json
from ...image import Image, encode_png, read
from ...mask import Mask
from ...protocols import Tick, no_tick
from ..sample import Dataset, Sample
from .compose import Pair, cutout, paste, superimpose
from .reader import ENDINGS, FOLDERS
from .wholes import Rule, is_candidate, whole_objects

__all__ = ["Finder", "PairsConfig", "PairsReport", "Whole", "build_pairs", "find_wholes", "wholes_of_dataset"]

Finder = Callable[[Image], tuple[Sequence[Mask], "NDArray[np.float32] | None"]]
"""Image to object masks and nearness (H, W), or None where the masks are known to be whole."""
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class PairsConfig:
    """What the pairs depend on.

    Attributes:
        rule: what counts as a whole object.
        hidden: smallest and largest share of the object that the occluder hides.
        per_object: pairs made of one whole object.
        side: pictures are squeezed to this square (256 is what pix2gestalt trains on); 0 keeps their size.
        seed: of all chance.
        shard: (number, count): this process takes every count-th picture, from the number-th.
    """

    rule: Rule = field(default_factory=Rule)
    hidden: tuple[float, float] = (0.05, 0.7)
    per_object: int = 1
    side: int = 256
    seed: int = 0
    shard: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Whole:
    """A whole object: the id and the file of its picture (or a function that gives the picture), and its mask."""

    image_id: str
    picture: Path | Callable[[], Image]
    mask: Mask

    def image(self) -> Image:
        """(H, W, 3) uint8."""
        return read(self.picture) if isinstance(self.picture, Path) else self.picture()


@dataclass(frozen=True)
class PairsReport:
    """What a build did: pairs written now, pairs that were there, whole objects, and what failed ("file: reason")."""

    written: int
    present: int
    wholes: int
    failures: tuple[str, ...] = ()


def in_shard(items: Sequence[Any], shard: tuple[int, int]) -> list[Any]:
    """Every `count`-th item from the `number`-th. Raises DataError for a shard that does not exist."""
    number, count = shard
    if not 0 <= number < count:
        raise DataError(
            f"shard {number}/{count} does not exist; shards of {count} are 0/{count} to {count - 1}/{count}"
        )
    return list(items[number::count])


def find_wholes(
    photos: Path, out: Path, finder: Finder, config: PairsConfig, tick: Tick = no_tick
) -> tuple[list[Whole], list[str]]:
    """The whole objects of a folder of photographs; each photo's answer is kept in `out/wholes/` and not asked again.

    Args:
        photos: searched recursively.
        out: the data set's folder.
        finder: masks and nearness of a photo.
        config: rule and shard.
        tick: called once per photo.

    Returns:
        the objects, and "file: reason" for photos that failed.

    Raises:
        DataError: there is no photo.
    """
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise DataError(f"{photos} holds no photographs ({', '.join(sorted(PICTURES))})")
    mine = in_shard(paths, config.shard)
    found: list[Whole] = []
    failures: list[str] = []
    for done, path in enumerate(mine, 1):
        name = str(path.relative_to(photos))
        file = out / "wholes" / f"{safe(name)}.json"
        try:
            if file.is_file():
                masks = [Mask.from_dict(record) for record in read_json(file, DataError)["masks"]]
            else:
                image = read(path)
                masks = whole_objects(*finder(image), image.shape[:2], config.rule)
                write_json(file, {"image": name, "masks": [mask.to_dict() for mask in masks]})
            found.extend(Whole(name, path, mask) for mask in masks)
        except DataError:
            raise
        except AmodalError as error:
            failures.append(f"{name}: {error}")
        tick("photo", done, len(mine))
    return found, failures


def wholes_of_dataset(data: Dataset, config: PairsConfig) -> list[Whole]:
    """The whole objects of a data set with amodal truth: those that nothing hides and that pass the rule's shape test."""
    samples = in_shard([s for s in data if s.visible == s.amodal], config.shard)
    return [
        Whole(sample.id, sample.picture if isinstance(sample.picture, Path) else picture_of(sample), sample.amodal)
        for sample in samples
        if is_candidate(sample.amodal, sample.size, config.rule)
    ]


def picture_of(sample: Sample) -> Callable[[], Image]:
    """A function that gives the sample's image."""
    return lambda: sample.image


def on_backgrounds(wholes: Iterable[Whole], backgrounds: Sequence[Path], seed: int) -> list[Whole]:
    """The objects cut out and laid on other photographs, each at its own size; those that do not fit are left out."""
    import cv2

    def make(whole: Whole, path: Path, size: tuple[int, int], corner: tuple[int, int]) -> Callable[[], Image]:
        def load() -> Image:
            ground = cv2.resize(read(path), size, interpolation=cv2.INTER_AREA)
            return paste(ground, cutout(whole.image(), whole.mask), corner)[0]

        return load

    out = []
    for whole in wholes:
        random = generator(seed, whole.image_id, "ground")
        height, width = whole.mask.bits.shape
        stretch = random.uniform(1.2, 2.2, 2)
        size = (max(width + 4, int(width * stretch[0])), max(height + 4, int(height * stretch[1])))
        corner = tuple(int(random.integers(1, big - small)) for big, small in zip(size, (width, height), strict=True))
        path = backgrounds[int(random.integers(len(backgrounds)))]
        moved = whole.mask.shift(corner[0] - whole.mask.origin[0], corner[1] - whole.mask.origin[1])
        out.append(Whole(whole.image_id, make(whole, path, size, (corner[0], corner[1])), moved))
    return out


def build_pairs(
    wholes: Sequence[Whole], out: Path, config: PairsConfig, *, resume: bool = False, tick: Tick = no_tick
) -> PairsReport:
    """Lay occluders over whole objects and write the pairs in the release layout.

    An object's occluders are whole objects of other pictures of the same shard; every pair depends on the seed and the objects
    alone, so a build that was stopped goes on where it was and gives the same files.

    Args:
        wholes: of this shard, at least two from different pictures.
        out: the folder with `occlusion/`, `whole/`, `whole_mask/`, `visible_object_mask/`.
        config: how.
        resume: go on with a build that exists.
        tick: called once per pair.

    Raises:
        DataError: fewer than two pictures with whole objects.
        OutputError: pairs exist and `resume` is False, or were built with other settings.
    """
    if len({whole.image_id for whole in wholes}) < 2:
        raise DataError(
            f"{len(wholes)} whole objects in {len({whole.image_id for whole in wholes})} pictures were found; an occluder must "
            "come from another picture, so at least two are needed. Give more photos, or loosen the rule (closer, smallest)"
        )
    record = claim(out, config, resume)
    cut = lru_cache(maxsize=64)(lambda index: cutout(wholes[index].image(), wholes[index].mask))
    counts = {"written": 0, "present": 0}
    failures: list[str] = []
    total = len(wholes) * config.per_object
    for index, whole in enumerate(wholes):
        for number in range(config.per_object):
            stem = f"{safe(whole.image_id)}-{index}-{number}"
            part = f"shard{config.shard[0]:05d}" if config.shard[1] > 1 else "."
            names = zip(FOLDERS, ENDINGS, strict=True)
            files = [out / folder / part / f"{stem}_{ending}.png" for folder, ending in names]
            if files[-1].is_file():
                counts["present"] += 1
            else:
                try:
                    pair = make_pair(wholes, index, number, config, cut)
                    write_pair(pair, files, config.side)
                    counts["written"] += 1
                except OutputError:
                    raise
                except AmodalError as error:
                    failures.append(f"{stem}: {error}")
            tick("pair", index * config.per_object + number + 1, total)
    write_json(record, {**read_json(record, DataError), "pairs": counts["written"] + counts["present"]})
    return PairsReport(counts["written"], counts["present"], len(wholes), tuple(failures))


def claim(out: Path, config: PairsConfig, resume: bool) -> Path:
    """The shard's record of settings; refuses a folder that was built otherwise."""
    record = out / f"build-{config.shard[0]:05d}-of-{config.shard[1]:05d}.json"
    settings = json.loads(json.dumps(asdict(config)))
    if record.is_file():
        if not resume:
            raise OutputError(f"{out} holds these pairs already; add --resume to go on, or choose another folder")
        if read_json(record, DataError).get("settings") != settings:
            raise OutputError(f"{out} was built with other settings; use the same ones or choose another folder")
    else:
        write_json(record, {"settings": settings})
    return record


def make_pair(
    wholes: Sequence[Whole], index: int, number: int, config: PairsConfig, cut: Callable[[int], NDArray[np.uint8]]
) -> Pair:
    """One pair; tries several occluders. Raises DataError if none fits."""
    whole = wholes[index]
    random = generator(config.seed, whole.image_id, f"{index}-{number}")
    others = [k for k, other in enumerate(wholes) if other.image_id != whole.image_id]
    image = whole.image()
    for _ in range(5):
        pair = superimpose(image, whole.mask, cut(others[int(random.integers(len(others)))]), random, config.hidden)
        if pair is not None:
            return pair
    raise DataError(f"no occluder hides between {config.hidden[0]:.0%} and {config.hidden[1]:.0%} of it")


def write_pair(pair: Pair, files: Sequence[Path], side: int) -> None:
    """Write the four pictures, the visible mask last: where it is, all are."""
    import cv2

    pictures: list[Any] = [pair.occlusion, pair.whole, pair.amodal, pair.visible]
    if side:
        for number, picture in enumerate(pictures):
            values = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
            small = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
            pictures[number] = small > 127 if picture.dtype == bool else small
        if not pictures[3].any():
            raise DataError(f"the visible part vanishes at {side} x {side} pixels")
    for file, picture in zip(files, pictures, strict=True):
        write_bytes(file, encode_png(picture))


def generator(seed: int, name: str, what: str) -> np.random.Generator:
    """Chance that depends on the seed and the names alone."""
    digest = hashlib.sha256(f"{seed}/{name}/{what}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def safe(name: str) -> str:
    """A file name for an id; ids that differ get names that differ."""
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
