"""`d2sa`: D2S Amodal (Follmann et al., WACV 2019): groceries from above, `D2S_amodal_{validation,training_rot0,augmented}.json`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from .coco_like import CocoLike

__all__ = ["D2sa"]


class D2sa(CocoLike):
    """60 products; the validation split is the one that papers report. The test split has no public annotations."""

    name: ClassVar[str] = "d2sa"
    summary: ClassVar[str] = "D2SA: amodal groceries, 60 products seen from above"
    paper: ClassVar[str] = "Follmann et al., Learning to See the Invisible, WACV 2019 (arXiv 1804.08864)"
    license: ClassVar[str] = "CC BY-NC-SA 4.0"
    url: ClassVar[str] = "https://www.mvtec.com/company/research/datasets/mvtec-d2s"
    splits: ClassVar[tuple[str, ...]] = ("validation", "training_rot0", "augmented")
    extras: ClassVar[tuple[str, ...]] = ("occlude_rate", "occl_depth")
    folders: ClassVar[tuple[str, ...]] = ("images", "d2s_amodal_images_v1/images", ".")

    def files(self) -> list[Path]:
        name = f"D2S_amodal_{self.split}.json"
        return [self.root / folder / name for folder in (".", "annotations", "d2s_amodal_annotations_v1")]
