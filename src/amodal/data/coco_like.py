"""What COCOA-cls, KINS and D2SA share: COCO's flat layout with one amodal and one visible mask an annotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.errors import DataError
from ..core.mask import Mask
from .annotations import by_id, decode, find_image, first_file, frame_of, read_lists
from .coco import category_names, is_crowd
from .sample import Dataset, Entry, Sample

__all__ = ["CocoLike"]


class CocoLike(Dataset):
    """One annotation an object; sample ids are the annotation ids.

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

    def picture_root(self) -> Path:
        """The folder that no image name may leave."""
        return self.root

    def index(self) -> list[Entry]:
        path = first_file(self.files())
        content = read_lists(path, self.bad)
        images = by_id(content["images"], path, "images")
        categories, nameless = category_names(content)
        for number in nameless:
            self.bad(path, f"category {number}", "it has no name that is text, or no id")
        entries = []
        for row in content["annotations"]:
            number = row.get("image_id")
            image = images.get(number) if isinstance(number, int | str | float) else None
            if is_crowd(row):
                continue
            with self.one(path, row.get("id")):
                if image is None:
                    raise DataError(f"its image {str(number)[:60]} is not in the list of images")
                file_name = str(image.get("file_name", image["id"]))
                picture = find_image(self.picture_root(), self.image_folders(), file_name)
                load = self._loader(row, image, (str(path), picture), categories)
                load = self.photos.scaled(load) if self.scales_photos else load
                entries.append(Entry(str(row.get("id")), str(image["id"]), str(path), picture, load))
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
            visible = amodal if seen is None else decode(seen, size) if seen else nothing
            return Sample(
                id=str(row["id"]),
                image_id=str(image["id"]),
                picture=files[1],
                size=size,
                visible=visible,
                amodal=amodal,
                category=categories.get(row.get("category_id")),
                category_id=int(row["category_id"]) if self.category_as_value and "category_id" in row else None,
                source=files[0],
                coco=(int(row["id"]), int(image["id"])),
                extra={key: row[key] for key in self.extras if key in row},
            )

        return load
