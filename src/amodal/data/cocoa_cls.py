"""`cocoa-cls`: COCOA-cls (Follmann et al., WACV 2019), `COCO_amodal_{train,val}2014_with_classes.json`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from .coco_like import CocoLike

__all__ = ["CocoaCls"]


class CocoaCls(CocoLike):
    """The COCO-A objects that have a COCO class (80 classes), in COCO's layout."""

    name: ClassVar[str] = "cocoa-cls"
    summary: ClassVar[str] = "COCOA-cls: the COCO-A objects with a COCO class, 80 classes"
    paper: ClassVar[str] = "Follmann et al., Learning to See the Invisible, WACV 2019 (arXiv 1804.08864)"
    license: ClassVar[str] = "annotations: none given; images: Flickr terms, as COCO"
    url: ClassVar[str] = "https://github.com/waiyulam/ORCNN"
    splits: ClassVar[tuple[str, ...]] = ("val", "train")
    folders: ClassVar[tuple[str, ...]] = ("val2014", "train2014", "test2014", "images", ".")

    scales_photos: ClassVar[bool] = True

    def files(self) -> list[Path]:
        name = f"COCO_amodal_{self.split}2014_with_classes.json"
        return [self.root / name, self.root / "annotations" / name]
