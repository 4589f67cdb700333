"""`mp3d-amodal`: MP3D-Amodal (Zhan et al., CVPR 2024), `MP3D_seleted_{eval,train}_10.29.pkl` (the official spelling)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..core.errors import DataError
from ..core.options import Options
from .annotations import by_id, find_image, first_file, read_lists
from .cocoa import RegionOptions, image_of, note_places, region_entries
from .plain_pickle import read_pickle
from .sample import Dataset, Entry

__all__ = ["Mp3dAmodal"]


class Mp3dAmodal(Dataset):
    """Rooms of Matterport3D; every object more than a sixth occluded. COCO-A's layout in a pickle, both masks as RLE.

    The pickle is read without running anything that it holds. Lists are joined by image id, as everywhere (the published
    reader joins by position).
    """

    name: ClassVar[str] = "mp3d-amodal"
    summary: ClassVar[str] = "MP3D-Amodal: occluded objects in Matterport rooms"
    paper: ClassVar[str] = "Zhan et al., Amodal Ground Truth and Completion in the Wild, CVPR 2024 (arXiv 2312.17247)"
    license: ClassVar[str] = "annotations: none given; images: Matterport3D terms of use"
    url: ClassVar[str] = "https://www.robots.ox.ac.uk/~vgg/research/amodal/"
    splits: ClassVar[tuple[str, ...]] = ("eval", "train")
    Options: ClassVar[type[Options]] = RegionOptions

    def index(self) -> list[Entry]:
        names = [f"MP3D_{word}_{self.split}_10.29.pkl" for word in ("seleted", "selected")]
        path = first_file([self.root / name for name in names])
        content = read_lists(path, self.bad, read_pickle(path))
        note_places(self, path, content)
        images = by_id(content["images"], path, "images")
        folders = (f"mp3d_{self.split}", f"mp3d_{self.split}/images", "images", ".")
        entries, other = list[Entry](), 0
        for record in content["annotations"]:
            with self.one(path, record.get("id")):
                image = image_of(record, images)
                unseen = self._without_visible(record, path)
                picture = find_image(self.root, folders, str(image.get("file_name", image["id"])))
                framed = _with_size(image, record, str(path))
                other += any(key in image and image[key] != framed[key] for key in ("height", "width"))
                found = region_entries(self, record, str(path), picture, framed)
                entries += [entry for entry in found if entry.id not in unseen]
        if other:
            self.note(
                f"{path.name}: {other} images are stated to have another size than their masks have; the masks' counts"
            )
        return entries

    def _without_visible(self, record: Mapping[str, Any], path: Path) -> set[str]:
        """Ids of regions without a visible mask, which are bad: they do not stand for unoccluded ones, as COCO-A's do."""
        regions = record.get("regions")
        found = set[str]()
        for number, region in enumerate(regions if isinstance(regions, list | tuple) else (), 1):
            if isinstance(region, Mapping) and region.get("visible_mask") is None:
                where = f"{record.get('id', record.get('image_id'))}/{number}"
                self.bad(path, where, "the region has no visible_mask; here every region has one; it is left out")
                found.add(where)
        return found


def _with_size(image: Mapping[str, Any], record: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The image's record with the height and width of the masks, whatever it states itself; its own where no mask tells any."""
    for region in record.get("regions") or ():
        for part in ("segmentation", "visible_mask"):
            mask = region.get(part) if isinstance(region, Mapping) else None
            if isinstance(mask, Mapping) and "size" in mask:
                return {**image, "height": int(mask["size"][0]), "width": int(mask["size"][1])}
    if "height" in image and "width" in image:
        return image
    raise DataError(f"{path}: the size of the image {image['id']} is not given")
