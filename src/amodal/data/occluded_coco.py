"""`occluded-coco`: Occluded and Separated COCO (Zhan et al., BMVC 2022), visible masks of COCO val2017 for recognition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..core.errors import DataError
from ..core.mask import Mask
from .annotations import find_image
from .plain_pickle import read_pickle
from .sample import Dataset, Entry, Sample

__all__ = ["OccludedCoco"]


class OccludedCoco(Dataset):
    """Objects of COCO val2017 that are partly occluded, or that occlusion separates into parts.

    The pickle is a list of `[file name, class, number, box x y w h, RLE]`. There is no amodal truth: `amodal` repeats `visible`,
    and the set serves recognition, not the scoring of masks. Ids are positions, since the files give none that is unique.
    """

    name: ClassVar[str] = "occluded-coco"
    summary: ClassVar[str] = "Occluded and Separated COCO: recognition of occluded objects (visible masks alone)"
    paper: ClassVar[str] = "Zhan et al., A Tri-Layer Plugin to Improve Occluded Detection, BMVC 2022 (arXiv 2210.10046)"
    license: ClassVar[str] = "annotations: none given; images: Flickr terms, as COCO"
    url: ClassVar[str] = "https://www.robots.ox.ac.uk/~vgg/research/tpod/"
    splits: ClassVar[tuple[str, ...]] = ("occluded", "separated")
    amodal_known: ClassVar[bool] = False

    def index(self) -> list[Entry]:
        path = self.root / f"{self.split}_coco.pkl"
        content = read_pickle(path)
        if not isinstance(content, list):
            raise DataError(f"{path} must be a list of [file name, class, number, box, RLE]")
        entries = []
        for number, row in enumerate(content):
            if not isinstance(row, list | tuple) or len(row) < 5:
                self.bad(path, number, "an entry must be [file name, class, number, box, RLE]")
                continue
            with self.one(path, number):
                picture = find_image(self.root, ("val2017", "images", "."), Path(str(row[0])).name)
                load = _loader(row, f"{number}", picture, str(path))
                entries.append(Entry(f"{number}", picture.stem, str(path), picture, load))
        return entries


def _loader(row: Sequence[Any], name: str, picture: Path, source: str) -> Callable[[], Sample]:
    def load() -> Sample:
        _, category, number, box, encoded = row[:5]
        mask = Mask.from_rle(encoded)
        size = (int(encoded["size"][0]), int(encoded["size"][1]))
        extra = {"number": int(number), "box_xywh": [float(value) for value in box]}
        return Sample(name, picture.stem, picture, size, mask, mask, category=str(category), source=source, extra=extra)

    return load
