"""Where whole objects come from: raw photographs (by networks, kept on disk) or a data set that is known to hold whole ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.files import read_json, write_json
from ...core.image import SUFFIXES, Image, is_picture, picture_size, read
from ...core.mask import Mask, Size
from ...data.sample import Dataset, Sample, dataset
from ...plugins.protocols import Progress, no_progress
from .compose import cutout, paste
from .wholes import Rule, is_candidate

__all__ = ["Mapper", "PairsConfig", "Source", "Whole", "find_wholes", "wholes_of_dataset"]

Mapper = Callable[[Sequence[Path]], Iterable[tuple[Path, "list[Mask] | str"]]]
"""Photos to their whole objects (or why they failed), in any order: in this process, a pool or a cluster."""


@dataclass(frozen=True)
class PairsConfig:
    """What the pairs depend on.

    Attributes:
        rule: what counts as a whole object.
        occluded: smallest and largest share of the object that the occluder hides.
        per_object: pairs made of one whole object.
        side: pictures are squeezed to this square (256 is what pix2gestalt trains on); 0 keeps their size.
        seed: of all chance.
        shard: (number, count): this process takes every count-th picture, from the number-th.
    """

    rule: Rule = field(default_factory=Rule)
    occluded: tuple[float, float] = (0.05, 0.7)
    per_object: int = 1
    side: int = 256
    seed: int = 0
    shard: tuple[int, int] = (0, 1)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> PairsConfig:
        """The inverse of `dataclasses.asdict`, also after a journey through JSON."""
        low, high = record["occluded"]
        number, count = record["shard"]
        plain = {key: record[key] for key in ("per_object", "side", "seed")}
        return cls(rule=Rule(**record["rule"]), occluded=(low, high), shard=(number, count), **plain)


@dataclass(frozen=True)
class Whole:
    """A whole object: the id and the file of its picture (or a function that gives the picture), and its mask.

    `size` is the picture's (H, W) when the mask was made, None where that is not known.
    """

    image_id: str
    picture: Path | Callable[[], Image]
    mask: Mask
    size: Size | None = None

    def image(self) -> Image:
        """(H, W, 3) uint8. Raises DataError if it has another size than `size`."""
        image = read(self.picture) if isinstance(self.picture, Path) else self.picture()
        if self.size is not None and image.shape[:2] != tuple(self.size):
            raise DataError(
                f"{self.image_id}: its masks are of a picture of {self.size[1]} x {self.size[0]} pixels, and the picture has "
                f"{image.shape[1]} x {image.shape[0]}; use the original pictures, or begin anew"
            )
        return image


@dataclass(frozen=True)
class Source:
    """Where the objects of a build come from; JSON-ready, so that every process can open it.

    Attributes:
        photos: folder of raw photographs whose whole objects `find_wholes` has found, or None.
        name, root, split: a data set instead.
        backgrounds: folder of photographs that the objects are laid on, or None.
    """

    photos: str | None = None
    name: str = ""
    root: str = ""
    split: str | None = None
    backgrounds: str | None = None

    def open(self, out: Path, config: PairsConfig) -> list[Whole]:
        """The whole objects of the shard, always in the same order.

        Raises:
            DataError: a folder holds no pictures, or the data set cannot be read.
        """
        if self.photos is not None:
            wholes = read_wholes(Path(self.photos), out, config)
        else:
            wholes = wholes_of_dataset(dataset(self.name, self.root, self.split, skip_bad=True), config)
        if self.backgrounds is not None:
            wholes = on_backgrounds(wholes, photographs(Path(self.backgrounds)), config.seed)
        return wholes


def explained(folder: Path, photo: Path) -> Path:
    """Where the picture lies that shows why the objects of a photo are whole or not."""
    return folder / f"{safe(str(photo))}.png"


def in_shard(items: Sequence[Any], shard: tuple[int, int]) -> list[Any]:
    """Every `count`-th item from the `number`-th. Raises DataError for a shard that does not exist."""
    number, count = shard
    if not 0 <= number < count:
        raise DataError(
            f"shard {number}/{count} does not exist; shards of {count} are 0/{count} to {count - 1}/{count}"
        )
    return list(items[number::count])


def photographs(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted. Raises DataError if there is none."""
    paths = sorted(path for path in folder.rglob("*") if is_picture(path))
    if not paths:
        raise DataError(f"{folder} holds no photographs ({', '.join(SUFFIXES)})")
    return paths


def record_of(out: Path, name: str, shard: tuple[int, int]) -> Path:
    """Where the whole objects of a photo are kept."""
    return out / "wholes" / (f"shard{shard[0]:05d}" if shard[1] > 1 else ".") / f"{safe(name)}.json"


def find_wholes(
    photos: Path,
    out: Path,
    mapper: Mapper,
    config: PairsConfig,
    progress: Progress = no_progress,
    explain: Path | None = None,
) -> list[str]:
    """Find the whole objects of a folder of photographs; each photo's answer is kept in `out/wholes/` and not asked again.

    Args:
        photos: searched recursively.
        out: the data set's folder.
        mapper: asks the networks.
        config: the shard.
        progress: called once per photo.
        explain: photos without a picture in this folder are asked again.

    Returns:
        "file: reason" for photos that failed.

    Raises:
        DataError: there is no photo.
    """
    names = {path: str(path.relative_to(photos)) for path in in_shard(photographs(photos), config.shard)}
    todo = [
        path
        for path, name in names.items()
        if not record_of(out, name, config.shard).is_file()
        or not (explain is None or explained(explain, path).is_file())
    ]
    failures: list[str] = []
    for done, (path, answer) in enumerate(mapper(todo), 1):
        if isinstance(answer, str):
            failures.append(f"{names[path]}: {answer}")
        else:
            record = {"image": names[path], "size": picture_size(path), "masks": [mask.to_dict() for mask in answer]}
            write_json(record_of(out, names[path], config.shard), record)
        progress("photo", done, len(todo))
    return failures


def read_wholes(photos: Path, out: Path, config: PairsConfig) -> list[Whole]:
    """What `find_wholes` has found in the photos of the shard."""
    wholes = []
    for path in in_shard(photographs(photos), config.shard):
        name = str(path.relative_to(photos))
        record = record_of(out, name, config.shard)
        if record.is_file():
            kept = read_json(record, DataError)
            size = (kept["size"][0], kept["size"][1]) if "size" in kept else None
            wholes += [Whole(name, path, Mask.from_dict(mask), size) for mask in kept["masks"]]
    return wholes


def wholes_of_dataset(data: Dataset, config: PairsConfig) -> list[Whole]:
    """The whole objects of a data set with amodal truth: those that nothing hides and that pass the rule's shape test."""
    samples = in_shard([s for s in data if s.visible == s.amodal], config.shard)
    return [
        Whole(sample.image_id, sample.file or picture_of(sample), sample.amodal, sample.size)
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


def generator(seed: int, name: str, what: str) -> np.random.Generator:
    """Chance that depends on the seed and the names alone."""
    digest = hashlib.sha256(f"{seed}/{name}/{what}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def safe(name: str) -> str:
    """A file name for an id; ids that differ get names that differ."""
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
