"""`pix2gestalt`: the occlusions that pix2gestalt was trained on (Ozguroglu et al., CVPR 2024), as released."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from ..errors import DataError
from .annotations import guarded
from .masks import read_bits
from .sample import Dataset, Entry, Sample

__all__ = ["Pix2GestaltSet"]

PARTS = {"occlusion": "occlusion", "visible_object_mask": "visible_mask", "whole_mask": "whole_mask", "whole": "whole"}
"""Folder to the ending of its file names: `occlusion/123_occlusion.png`, `visible_object_mask/123_visible_mask.png`, ..."""


class Pix2GestaltSet(Dataset):
    """Whole objects of SA-1B with another one pasted over them; `extra["whole"]` is the path of the picture of the whole object."""

    name: ClassVar[str] = "pix2gestalt"
    summary: ClassVar[str] = "the pix2gestalt occlusion release: 837,000 synthetic occlusions"
    paper: ClassVar[str] = "Ozguroglu et al., pix2gestalt, CVPR 2024 (arXiv 2401.14398)"
    licence: ClassVar[str] = "research; source images under the licence of SA-1B"
    url: ClassVar[str] = "https://gestalt.cs.columbia.edu/assets/pix2gestalt_occlusions_release.tar.gz"

    def index(self) -> list[Entry]:
        nested = self.root / "pix2gestalt_occlusions_release"
        root = nested if nested.is_dir() else self.root
        tables = {}
        for folder, ending in PARTS.items():
            if not (root / folder).is_dir():
                if folder == "whole":  # the pictures of whole objects are not needed to score masks
                    tables[folder] = dict[str, Path]()
                    continue
                raise DataError(f"there is no folder {root / folder}; the release has {', '.join(PARTS)}")
            files = (root / folder).glob(f"*_{ending}.*")
            tables[folder] = {path.stem.removesuffix(f"_{ending}"): path for path in files}
        entries = []
        needed = ("occlusion", "visible_object_mask", "whole_mask")
        for name in sorted(set().union(*(tables[part] for part in needed))):
            absent = [part for part in needed if name not in tables[part]]
            if absent:
                self.bad(root, name, f"it has no file in {', '.join(absent)}/")
                continue
            files_of = {part: table[name] for part, table in tables.items() if name in table}
            entries.append(
                Entry(name, name, str(files_of["whole_mask"]), files_of["occlusion"], guarded(_loader(name, files_of)))
            )
        if not entries:
            raise DataError(f"{root} holds no objects")
        return entries


def _loader(name: str, files: dict[str, Path]) -> Callable[[], Sample]:
    def load() -> Sample:
        amodal, size = read_bits(files["whole_mask"])
        visible, other = read_bits(files["visible_object_mask"])
        if size != other:
            raise DataError(f"visible mask is {other[1]} x {other[0]}, whole mask {size[1]} x {size[0]}")
        extra = {"whole": str(files["whole"])} if "whole" in files else {}
        source = str(files["whole_mask"])
        return Sample(name, name, files["occlusion"], size, visible, amodal, source=source, extra=extra)

    return load
