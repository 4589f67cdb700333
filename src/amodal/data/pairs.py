"""`pix2gestalt`: the layout of pix2gestalt's released training data, which `amodal data build pairs` writes too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from ..core.errors import DataError
from ..core.image import read_soft
from ..core.mask import Mask
from .sample import Dataset, Entry, Sample

__all__ = ["ENDINGS", "FOLDERS", "Pairs"]

FOLDERS = ("occlusion", "whole", "whole_mask", "visible_object_mask")
"""The input; the target, the whole object on white; its amodal mask; its visible mask."""
ENDINGS = ("occlusion", "whole", "whole_mask", "visible_mask")
"""What the release's file names end with."""

RIM = 0.1
"""Share of a visible mask that may lie outside of the whole one, since compressed masks differ at the edge."""

Files = dict[str, Path]
"""Folder to file of one pair."""


class Pairs(Dataset):
    """Whole objects with another one pasted over them; `extra["whole"]` is the path of the picture of the whole object.

    Files belong together by name (`7_whole.png` and `7_whole_mask.png`); names that have nothing in common, by their order, as
    in the original training. The last hundredth is its validation part. Pictures of wholes are not needed to score masks.
    """

    name: ClassVar[str] = "pix2gestalt"
    summary: ClassVar[str] = "pix2gestalt's occlusion release (837,000 pairs) and pairs built in its layout"
    paper: ClassVar[str] = "Ozguroglu et al., pix2gestalt, CVPR 2024 (arXiv 2401.14398), section 3.1"
    license: ClassVar[str] = "the release: research; source images under the license of SA-1B"
    url: ClassVar[str] = "https://gestalt.cs.columbia.edu/assets/pix2gestalt_occlusions_release.tar.gz"
    splits: ClassVar[tuple[str, ...]] = ("all", "train", "val")

    def index(self) -> list[Entry]:
        nested = self.root / "pix2gestalt_occlusions_release"
        root = nested if nested.is_dir() else self.root
        rows = self._rows(root)
        # At least one pair trains, and one validates if there are two.
        cut = max(1, len(rows) - max(1, len(rows) // 100))
        chosen = {"train": rows[:cut], "val": rows[cut:], "all": rows}[str(self.split)]
        return [
            Entry(
                name,
                name,
                str(files["whole_mask"]),
                files["occlusion"],
                _loader(name, files),
                (files["visible_object_mask"],),
            )
            for name, files in chosen
        ]

    def _rows(self, root: Path) -> list[tuple[str, Files]]:
        """Name and files of each pair, in the order of the inputs. Raises DataError."""
        tables = {folder: _table(root, folder, ending) for folder, ending in zip(FOLDERS, ENDINGS, strict=True)}
        if not tables["whole"]:
            del tables["whole"]
        counts = {folder: len(table) for folder, table in tables.items()}
        told = ", ".join(f"{folder}/ {count}" for folder, count in counts.items())
        if not max(counts.values()):
            raise DataError(f"{root} holds no pairs; make some with: amodal data build pairs")
        common = set.intersection(*(set(table) for table in tables.values()))
        if not common and len(set(counts.values())) > 1:
            raise DataError(
                f"{root} holds different numbers of files whose names have nothing in common: {told}; each pair needs one in each"
            )
        if not common:
            columns = zip(*(table.values() for table in tables.values()), strict=True)
            return [
                (name, dict(zip(tables, row, strict=True)))
                for name, row in zip(tables["occlusion"], columns, strict=True)
            ]
        for name in sorted(set().union(*tables.values()) - common):
            absent = [folder for folder, table in tables.items() if name not in table]
            self.bad(root, name, f"it has no file in {', '.join(f'{each}/' for each in absent)} ({told})")
        return [(name, {f: t[name] for f, t in tables.items()}) for name in tables["occlusion"] if name in common]


def _table(root: Path, folder: str, ending: str) -> Files:
    """The files of a folder, sorted by path, by their names without the ending. Raises DataError."""
    if not (root / folder).is_dir():
        if folder == "whole":
            return {}
        raise DataError(f"there is no folder {root / folder}; pairs need {', '.join(f'{each}/' for each in FOLDERS)}")
    files = sorted(path for path in (root / folder).rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root / folder).with_suffix("")).removesuffix(f"_{ending}"): path for path in files}


def _loader(name: str, files: Files) -> Callable[[], Sample]:
    def load() -> Sample:
        amodal, visible = (read_soft(files[folder]) > 0.5 for folder in ("whole_mask", "visible_object_mask"))
        if amodal.shape != visible.shape:
            sizes = [f"{mask.shape[1]} x {mask.shape[0]}" for mask in (visible, amodal)]
            raise DataError(f"{files['visible_object_mask']} is {sizes[0]}, {files['whole_mask']} {sizes[1]} pixels")
        if not visible.any():
            raise DataError(f"{files['visible_object_mask']} marks no pixel; white pixels must mark the visible object")
        if (outside := int((visible & ~amodal).sum())) > RIM * visible.sum():
            raise DataError(
                f"{outside} of the {int(visible.sum())} pixels of {files['visible_object_mask']} are not in {files['whole_mask']}; "
                "they are masks of different objects"
            )
        return Sample(
            id=name,
            image_id=name,
            picture=files["occlusion"],
            size=(int(amodal.shape[0]), int(amodal.shape[1])),
            visible=Mask.from_array(visible),
            amodal=Mask.from_array(amodal | visible),
            source=str(files["whole_mask"]),
            extra={"whole": str(files["whole"])} if "whole" in files else {},
        )

    return load
