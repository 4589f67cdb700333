"""`pairs`: the layout of pix2gestalt's released training data, four folders of pictures that correspond by their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from ...errors import DataError
from ...image import read_soft
from ...mask import Mask
from ..sample import Dataset, Entry, Sample

__all__ = ["FOLDERS", "Pairs", "list_pairs"]

FOLDERS = ("occlusion", "whole", "whole_mask", "visible_object_mask")
"""The input; the target, the whole object on white; its amodal mask; its visible mask."""
ENDINGS = ("occlusion", "whole", "whole_mask", "visible_mask")
"""What the release's file names end with."""


class Pairs(Dataset):
    """Reads `occlusion/`, `whole/`, `whole_mask/` and `visible_object_mask/`: sorted, recursive, matched by position.

    The last hundredth is the validation part, as in the original training. `extra["whole"]` is the path of the target.
    """

    name: ClassVar[str] = "pairs"
    summary: ClassVar[str] = "pix2gestalt's training pairs: occlusion/, whole/, whole_mask/, visible_object_mask/"
    paper: ClassVar[str] = "Ozguroglu et al., pix2gestalt, CVPR 2024, section 3.1"
    licence: ClassVar[str] = "the released pairs: research only, under the terms of SA-1B"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "all")

    def index(self) -> list[Entry]:
        rows = list_pairs(self.root)
        cut = max(
            1, len(rows) - max(1, len(rows) // 100)
        )  # at least one pair trains, and one validates if there are two
        chosen = {"train": rows[:cut], "val": rows[cut:], "all": rows}[str(self.split)]
        entries = []
        for row in chosen:
            name = str(row[0].relative_to(self.root / FOLDERS[0]).with_suffix("")).removesuffix("_occlusion")
            entries.append(Entry(name, name, str(row[0]), row[0], loader(name, row)))
        return entries


def list_pairs(root: Path) -> list[tuple[Path, ...]]:
    """The files of each pair, in the order of `FOLDERS`.

    Raises:
        DataError: a folder is absent or empty, or they hold different numbers of files.
    """
    columns = []
    for name in FOLDERS:
        folder = root / name
        if not folder.is_dir():
            raise DataError(f"{root} has no folder {name}/; pairs need {', '.join(f'{each}/' for each in FOLDERS)}")
        columns.append(sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")))
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1:
        found = ", ".join(f"{name}/ {count}" for name, count in zip(FOLDERS, counts, strict=True))
        raise DataError(
            f"{root} holds different numbers of files: {found}; they are matched by position and must be equal. "
            "If the build was stopped, run it again with --resume"
        )
    if not counts[0]:
        raise DataError(f"{root} holds no pairs; make some with: amodal data build pairs")
    return list(zip(*columns, strict=True))


def loader(name: str, row: tuple[Path, ...]) -> Callable[[], Sample]:
    """The function that decodes one pair's masks."""

    def load() -> Sample:
        amodal, visible = (read_soft(path) > 0.5 for path in row[2:])
        if amodal.shape != visible.shape:
            raise DataError(f"{row[3]} is {visible.shape[::-1]} pixels, {row[2]} {amodal.shape[::-1]}")
        whole = Mask.from_array(amodal | visible)  # compressed masks may differ by a pixel at the edge
        if not visible.any():
            raise DataError(f"{row[3]} marks no pixel; white pixels must mark the visible object")
        return Sample(
            id=name,
            image_id=name,
            picture=row[0],
            size=(int(amodal.shape[0]), int(amodal.shape[1])),
            visible=Mask.from_array(visible),
            amodal=whole,
            source=str(row[0]),
            extra={"whole": str(row[1])},
        )

    return load
