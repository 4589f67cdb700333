"""`kins`: KINS (Qi et al., CVPR 2019), the old files and those of 2020; they differ in fields, classes and masks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from ..core.errors import DataError
from ..core.options import Options
from .coco_like import CocoLike

__all__ = ["Kins", "KinsOptions"]


class KinsOptions(Options):
    """Which annotation files."""

    version: Literal["2020", "old"] = Field(
        "2020",
        description="2020: update_{train,test}_2020.json (a_segm, i_segm); old: instances_{train,test}.json (inmodal_seg)",
    )


class Kins(CocoLike):
    """Vehicles and people in KITTI street scenes."""

    name: ClassVar[str] = "kins"
    summary: ClassVar[str] = "KINS: amodal vehicles and people on KITTI, old and 2020 annotations"
    paper: ClassVar[str] = "Qi et al., Amodal Instance Segmentation with KINS Dataset, CVPR 2019"
    license: ClassVar[str] = "annotations: research; images: KITTI, CC BY-NC-SA 3.0"
    url: ClassVar[str] = "https://github.com/qqlu/Amodal-Instance-Segmentation-through-KINS-Dataset"
    splits: ClassVar[tuple[str, ...]] = ("test", "train")
    extras: ClassVar[tuple[str, ...]] = ("oco_id", "ico_id")
    category_as_value: ClassVar[bool] = True
    Options: ClassVar[type[Options]] = KinsOptions

    folders: ClassVar[tuple[str, ...]] = (
        "testing/image_2",
        "training/image_2",
        "data_object_image_2/testing/image_2",
        "data_object_image_2/training/image_2",
        "test_imgs",
        "train_imgs",
        ".",
    )

    def field_names(self) -> tuple[str, str]:
        return ("a_segm", "i_segm") if self.options.version == "2020" else ("segmentation", "inmodal_seg")

    def image_folders(self) -> tuple[str, ...]:
        # KITTI's training and testing pictures have the same names, so the folders of the other part must not be searched.
        return tuple(folder for folder in self.folders if str(self.split) in folder or folder == ".")

    def files(self) -> list[Path]:
        part = str(self.split)
        names = {"2020": f"update_{part}_2020.json", "old": f"instances_{part}.json"}
        wanted = self._places(names[self.options.version])
        other = "old" if self.options.version == "2020" else "2020"
        if not any(file.is_file() for file in wanted) and any(file.is_file() for file in self._places(names[other])):
            raise DataError(
                f"there is no {wanted[0]}, but the files of the version {other!r} are there; choose them with "
                f"the option version={other}: their masks and classes differ"
            )
        return wanted

    def _places(self, name: str) -> list[Path]:
        return [self.root / name, self.root / "annotations" / name]
