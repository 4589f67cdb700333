"""`cocoa`: COCO-A (Zhu et al., CVPR 2017), `COCO_amodal_{train,val,test}2014.json`; and what BSDS-A and MP3D-Amodal share with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ..core.errors import DataError
from ..core.files import read_json
from ..core.mask import Mask
from ..core.options import Options
from .annotations import by_id, decode, find_image, first_file, frame_of, read_lists, whole_number
from .coco import marked
from .sample import Dataset, Entry, Sample

__all__ = ["Cocoa", "RegionOptions", "image_of", "note_places", "region_entries"]


class RegionOptions(Options):
    """Which regions count."""

    things: bool = Field(
        False,
        description="Leave out stuff (isStuff); amodalAPI's default, not that of Zhan et al., who take all regions.",
    )


class Cocoa(Dataset):
    """COCO-A: several regions an image, each an amodal polygon, an order (1 = front) and, only if occluded, a visible mask.

    `demo` reads loose files instead: `X.json` with one annotation entry beside the image `X.jpg`.
    """

    name: ClassVar[str] = "cocoa"
    summary: ClassVar[str] = "COCO-A: amodal regions on COCO 2014 images"
    paper: ClassVar[str] = "Zhu et al., Semantic Amodal Segmentation, CVPR 2017 (arXiv 1509.01329)"
    license: ClassVar[str] = "annotations: none given; images: Flickr terms, as COCO"
    url: ClassVar[str] = "https://github.com/Wakeupbuddy/amodalAPI"
    splits: ClassVar[tuple[str, ...]] = ("val", "train", "test", "demo")
    Options: ClassVar[type[Options]] = RegionOptions

    folders: ClassVar[tuple[str, ...]] = ("train2014", "val2014", "test2014", "images", ".")

    def files(self) -> list[Path]:
        """Where the annotation file may be, best first."""
        name = f"COCO_amodal_{self.split}2014.json"
        return [self.root / name, self.root / "annotations" / name]

    def index(self) -> list[Entry]:
        if self.split == "demo":
            return self._loose()
        path = first_file(self.files())
        content = read_lists(path, self.bad)
        note_places(self, path, content)
        images = by_id(content["images"], path, "images")
        entries = []
        for record in self.choose(content["annotations"]):
            with self.one(path, record.get("id")):
                image = image_of(record, images)
                picture = find_image(self.root, self.folders, str(image.get("file_name", image["id"])))
                entries += region_entries(self, record, str(path), picture, image)
        return entries

    def choose(self, annotations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The annotation entries to use; data sets with several annotators override it."""
        return annotations

    def _loose(self) -> list[Entry]:
        entries = []
        for path in sorted(self.root.glob("*.json")):
            with self.one(path, path.stem):
                record = read_json(path, DataError)
                if not isinstance(record, dict) or not isinstance(record.get("regions"), list):
                    raise DataError("not one annotation entry of COCO-A (it has no regions)")
                picture = path.with_suffix(".jpg")
                entries += region_entries(self, record, str(path), picture, _size_of(record, picture, path))
        if not entries:
            raise DataError(f"{self.root} holds no X.json with one annotation entry each")
        return entries


def note_places(data: Dataset, path: Path, content: Mapping[str, Any]) -> None:
    """Note once for a file how many annotations another image, or none, stands beside in the list of images; nothing where bad
    entries were left out, after which places say nothing."""
    if data.problems:
        return
    images, annotations = content["images"], content["annotations"]
    there = sum(record.get("image_id") == image.get("id") for record, image in zip(annotations, images, strict=False))
    apart = len(annotations) - there
    if apart:
        data.note(
            f"{path.name}: {apart} of {len(annotations)} annotations do not stand at the place of their image in the list of images; "
            "they are joined by image_id, while published readers join by place and take other images for them"
        )


def image_of(record: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The record of an annotation's image. Raises DataError: there is none."""
    number = record.get("image_id")
    if not isinstance(number, int | str) or number not in images:
        raise DataError(f"its image {str(number)[:60]} is not in the list of images")
    return images[number]


def region_entries(
    data: Dataset, record: Mapping[str, Any], source: str, picture: Path, image: Mapping[str, Any]
) -> list[Entry]:
    """One entry per region of an annotation entry; ids are `<annotation id>/<number of the region, from 1>`."""
    regions = record.get("regions")
    if not isinstance(regions, list):
        data.bad(source, record.get("id"), "the annotation has no list of regions")
        return []
    name = str(record.get("id", record.get("image_id")))
    hides = _occluders(record.get("depth_constraint"), name, len(regions), data, source)
    entries = []
    for number, region in enumerate(regions, 1):
        if data.options.things and isinstance(region, dict) and marked(region.get("isStuff")):
            continue
        sample_id = f"{name}/{number}"
        image_id = str(record.get("image_id", name))
        make = _region_loader(region, sample_id, image_id, (source, picture), image, hides.get(number, ()))
        entries.append(Entry(sample_id, image_id, source, picture, data.photos.scaled(make)))
    return entries


def _region_loader(
    region: Any,
    sample_id: str,
    image_id: str,
    files: tuple[str, Path],
    image: Mapping[str, Any],
    occluders: tuple[str, ...],
) -> Callable[[], Sample]:
    def load() -> Sample:
        size = frame_of(image)
        amodal = decode(region["segmentation"], size)
        seen = region.get("visible_mask")  # absent exactly when nothing is in front
        visible: Mask = amodal if seen is None else decode(seen, size)
        name = region.get("category_id", region.get("name"))
        order = region.get("order")
        return Sample(
            id=sample_id,
            image_id=image_id,
            picture=files[1],
            size=size,
            visible=visible,
            amodal=amodal,
            category=None if name is None else str(name),
            stuff=marked(region.get("isStuff")),
            occluders=occluders,
            order=None if order is None else int(order),
            source=files[0],
        )

    return load


def _occluders(constraint: Any, name: str, count: int, data: Dataset, source: str) -> dict[int, tuple[str, ...]]:
    """`depth_constraint` "1-2,1-3" (1 hides 2 and 3, numbers from 1) as the ids of the regions in front of each."""
    table: dict[int, tuple[str, ...]] = {}
    for pair in str(constraint or "").split(","):
        if not pair.strip():
            continue
        front, _, rear = pair.strip().partition("-")
        numbers = (whole_number(front) or 0, whole_number(rear) or 0)
        if not all(1 <= number <= count for number in numbers):
            data.bad(source, name, f"depth_constraint holds {pair!r}; it must be a-b with numbers from 1 to {count}")
            continue
        table[numbers[1]] = (*table.get(numbers[1], ()), f"{name}/{numbers[0]}")
    return table


def _size_of(record: Mapping[str, Any], picture: Path, path: Path) -> dict[str, int]:
    """The frame of a loose entry: its visible masks know it; else the image."""
    for region in record["regions"]:
        seen = region.get("visible_mask") if isinstance(region, dict) else None
        if isinstance(seen, dict) and "size" in seen:
            return {"height": int(seen["size"][0]), "width": int(seen["size"][1])}
    from ..core.image import read

    if not picture.is_file():
        raise DataError(f"{path}: there is no image {picture.name} beside it")
    height, width = read(picture).shape[:2]
    return {"height": height, "width": width}
