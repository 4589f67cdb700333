"""`batch`: what `amodal batch` wrote, as a data set: its completed objects in the place of truth, to look at and to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ..core.options import Options
from ..core.paths import own_path
from ..engine.output import check_finished
from .coco_like import CocoLike
from .folder import image_name

__all__ = ["BatchFolder", "BatchOptions"]


class BatchOptions(Options):
    """Where the photos are, which a batch folder does not hold."""

    photos: Path = Field(Path(), description="folder that the batch's image names start from")


class BatchFolder(CocoLike):
    """A batch's `coco.json`. The amodal masks are a method's answers, cut at the frame. Objects are called as in the batch, photos too
    unless the batch was made from a COCO file, whose ids they keep."""

    name: ClassVar[str] = "batch"
    summary: ClassVar[str] = "a folder of amodal batch: a method's answers, to look at (photos: --set photos=DIR)"
    extras: ClassVar[tuple[str, ...]] = ("occlude_rate", "score", "amodal_id")
    Options: ClassVar[type[Options]] = BatchOptions
    folders: ClassVar[tuple[str, ...]] = (".",)

    def files(self) -> list[Path]:
        if not (self.root / "coco.json").exists():
            check_finished(self.root)
        return [self.root / "coco.json"]

    def name_of(self, row: Mapping[str, Any]) -> str:
        return str(row.get("amodal_id", row["id"]))

    def image_name(self, image: Mapping[str, Any]) -> str:
        return image_name(image)

    def picture_root(self) -> Path:
        return own_path(self.options.photos)
