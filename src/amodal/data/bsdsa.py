"""`bsdsa`: BSDS-A (Zhu et al., CVPR 2017), `BSDS_amodal_{train,val,test}.json`: several annotators an image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..core.options import Options
from .cocoa import Cocoa, RegionOptions

__all__ = ["Bsdsa", "BsdsaOptions"]


class BsdsaOptions(RegionOptions):
    """Which annotator of an image counts."""

    annotator: Literal["first", "random", "all"] = Field(
        "first",
        description="first: amodalAPI's own evaluation; random: one drawn an image; all: every annotator's regions",
    )
    seed: int = Field(0, description="of annotator=random; the draw depends on it and the image's id alone")


class Bsdsa(Cocoa):
    """As COCO-A, but several annotation entries an image; ids are `<image id>.<number of the annotator>/<region>`."""

    name: ClassVar[str] = "bsdsa"
    summary: ClassVar[str] = "BSDS-A: amodal regions on BSDS500, several annotators an image"
    license: ClassVar[str] = "annotations: none given; images: BSDS500, non-commercial research"
    url: ClassVar[str] = "https://github.com/Wakeupbuddy/amodalAPI"
    splits: ClassVar[tuple[str, ...]] = ("test", "val", "train")
    Options: ClassVar[type[Options]] = BsdsaOptions

    folders: ClassVar[tuple[str, ...]] = (
        *(f"images/{part}" for part in ("train", "val", "test")),
        *(f"BSDS500/data/images/{part}" for part in ("train", "val", "test")),
        *(f"BSR/BSDS500/data/images/{part}" for part in ("train", "val", "test")),
        "images",
        ".",
    )

    def files(self) -> list[Path]:
        name = f"BSDS_amodal_{self.split}.json"
        return [self.root / name, self.root / "annotations" / name]

    def choose(self, annotations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        by_image: dict[Any, list[Mapping[str, Any]]] = {}
        for record in annotations:
            name = str(record.get("image_id"))
            own = by_image.setdefault(name, [])
            own.append({**record, "id": f"{name}.{len(own)}"})
        chosen: list[Mapping[str, Any]] = []
        for name, own in by_image.items():
            if self.options.annotator == "all":
                chosen += own
                continue
            drawn = int(hashlib.sha256(f"{self.options.seed}/{name}".encode()).hexdigest(), 16) % len(own)
            chosen.append(own[drawn if self.options.annotator == "random" else 0])
        return chosen
