"""What COCOA-cls, KINS and D2SA share: COCO's flat layout with one amodal and one visible mask an annotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.errors import DataError
from ..core.mask import Mask
from .annotations import by_id, decode, find_image, first_file, frame_of, number_of, read_lists
from .coco import category_names, category_of, id_of, is_crowd
from .sample import Dataset, Entry, Sample

__all__ = ["CocoLike", "objects_of"]


class CocoLike(Dataset):
    """One annotation an object; sample ids are the annotation ids, unless `name_of` knows better.

    Attributes:
        folders: where images may be, under the root.
        fields: (amodal, visible) field names of an annotation. An absent visible mask says that nothing is occluded.
        extras: further fields that go into `extra`.
        scales_photos: a photo that is a scaled copy of its annotation's frame is scaled to it, as published evaluations do.
        category_as_value: samples tell their `category_id`, since published networks read it from the mask channel.
    """

    folders: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[str, str]] = ("segmentation", "visible_mask")
    extras: ClassVar[tuple[str, ...]] = ("occlude_rate",)
    category_as_value: ClassVar[bool] = False
    scales_photos: ClassVar[bool] = False

    def files(self) -> list[Path]:
        """Where the annotation file may be, best first."""
        raise NotImplementedError

    def field_names(self) -> tuple[str, str]:
        """(amodal, visible) field names for the chosen options."""
        return self.fields

    def image_folders(self) -> tuple[str, ...]:
        """Where images may be, for the chosen split."""
        return self.folders

    def name_of(self, row: Mapping[str, Any]) -> str:
        """The sample's id of an annotation."""
        return str(row["id"])

    def image_name(self, image: Mapping[str, Any]) -> str:
        """The image's id of an image's record."""
        return str(image["id"])

    def picture_root(self) -> Path:
        """The folder that no image name may leave."""
        return self.root

    def index(self) -> list[Entry]:
        path = first_file(self.files())
        content = read_lists(path, self.bad)
        images = by_id(content["images"], path, "images")
        rows, categories = objects_of(self, path, content)
        entries = []
        for row in rows:
            number = row.get("image_id")
            image = images.get(number) if isinstance(number, int | str | float) else None
            with self.one(path, row.get("id")):
                if id_of(row.get("id")) is None:
                    raise DataError("an annotation needs an id that is a number or text")
                if image is None:
                    raise DataError(f"its image {str(number)[:60]} is not in the list of images")
                file_name = str(image.get("file_name", image["id"]))
                picture = find_image(self.picture_root(), self.image_folders(), file_name)
                load = self._loader(row, image, (str(path), picture), categories)
                load = self.photos.scaled(load) if self.scales_photos else load
                entries.append(Entry(self.name_of(row), self.image_name(image), str(path), picture, load))
        return entries

    def _loader(
        self,
        row: Mapping[str, Any],
        image: Mapping[str, Any],
        files: tuple[str, Path],
        categories: Mapping[Any, str],
    ) -> Callable[[], Sample]:
        amodal_field, visible_field = self.field_names()

        def load() -> Sample:
            size = frame_of(image)
            if amodal_field not in row:
                raise DataError(f"it has no field {amodal_field}; is this the file of another version?")
            amodal = decode(row[amodal_field], size)
            seen = row.get(visible_field)
            nothing = Mask.from_array(np.zeros((0, 0), bool))
            number = number_of(row.get("category_id")) if self.category_as_value else None
            if self.category_as_value and number is None and row.get("category_id") is not None:
                raise DataError(
                    f"its category_id is {str(row['category_id'])[:40]!r}; it must be a number, which networks read"
                )
            ids = (row["id"], image["id"])
            visible = amodal if seen is None else decode(seen, size) if seen else nothing
            return Sample(
                id=self.name_of(row),
                image_id=self.image_name(image),
                picture=files[1],
                size=size,
                visible=visible,
                amodal=amodal,
                category=category_of(row, categories),
                category_id=number,
                source=files[0],
                coco=ids if all(isinstance(each, int) for each in ids) else None,
                extra={key: row[key] for key in self.extras if key in row},
            )

        return load


def objects_of(data: Dataset, path: Path, content: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], dict[Any, str]]:
    """The annotations of a COCO-like file that are objects, and its categories by id. Crowd regions, which are no objects, and
    objects of an unknown category, which have none then, are noted with their number."""
    categories, nameless = category_names(content)
    for number in nameless:
        data.bad(path, f"category {number}", "it has no name that is text, no id, or two names")
    rows = [row for row in content["annotations"] if not is_crowd(row)]
    if crowds := len(content["annotations"]) - len(rows):
        data.note(f"{path.name}: {crowds} crowd regions, in which objects are not told apart, are left out")
    told = [row["category_id"] for row in rows if categories and row.get("category_id") is not None]
    known = {*map(str, categories), *map(str, nameless)}
    if unknown := [number for number in told if str(number) not in known]:
        data.note(
            f"{path.name}: {len(unknown)} of its objects have a category_id that is not in its list of categories, the first "
            f"{str(unknown[0])[:40]!r}; they are without a category here"
        )
    return rows, categories
