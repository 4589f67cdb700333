"""`masks`: plain folders of PNG masks, `images/`, `visible/`, `amodal/` with the same stems; `rows.json` may say more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.errors import DataError
from ..core.files import read_json
from ..core.image import Image, is_picture, read_soft
from ..core.mask import Bits, Mask, Size, check_frame
from ..core.remarks import remark
from .sample import Dataset, Entry, Sample

__all__ = ["MaskFolder", "read_beside", "read_bits"]


class MaskFolder(Dataset):
    """One object a file: `images/X.jpg`, `visible/X.png`, `amodal/X.png` (white = object, threshold half).

    `rows.json`, if there, is a list of `{"id": stem, "kind": ..., ...}`: its `name` or `category` becomes the category, the
    rest `extra`. Files are joined by stem.
    """

    name: ClassVar[str] = "masks"
    summary: ClassVar[str] = "plain folders of mask pictures: images/, visible/, amodal/, same stems"

    def index(self) -> list[Entry]:
        root = self.root / self.split if self.split else self.root
        tables = {part: files_by_stem(root / part, self.bad) for part in ("images", "visible", "amodal")}
        rows = self._rows(root / "rows.json")
        entries = []
        for stem in sorted(set().union(*tables.values())):
            absent = [part for part, table in tables.items() if stem not in table]
            if absent:
                self.bad(root, stem, f"there is no file {stem}.* in {', '.join(absent)}/")
                continue
            files = {part: table[stem] for part, table in tables.items()}
            load = self._loader(stem, files, rows.get(stem, {}))
            entries.append(Entry(stem, stem, str(files["amodal"]), files["images"], load, (files["visible"],)))
        if strange := sorted(rows.keys() - set().union(*tables.values())):
            self.note(
                f"rows.json: {len(strange)} of its {len(rows)} ids are of no picture, the first {strange[0][:100]!r}; an id is a stem"
            )
        if not entries:
            raise DataError(f"{root} holds no pictures; it needs images/X.jpg, visible/X.png and amodal/X.png")
        return entries

    def _rows(self, path: Path) -> dict[str, dict[str, Any]]:
        if not path.exists():
            return {}
        rows = read_json(path, DataError)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
            raise DataError(f'{path} must be a list of {{"id": stem, ...}}')
        told: dict[str, dict[str, Any]] = {}
        for row in rows:
            if told.setdefault(str(row["id"]), row) is not row:
                raise DataError(f"{path} says {str(row['id'])[:100]!r} twice; keep one row for each stem")
        return told

    def _loader(self, stem: str, files: dict[str, Path], row: dict[str, Any]) -> Callable[[], Sample]:
        def load() -> Sample:
            amodal, size = read_bits(files["amodal"])
            visible, other = read_bits(files["visible"])
            if size != other:
                raise DataError(f"visible mask is {other[1]} x {other[0]}, amodal mask {size[1]} x {size[0]}")
            category = row.get("category", row.get("name"))
            category = str(category) if isinstance(category, int | float) else category
            extra = {key: value for key, value in row.items() if key not in ("id", "name", "category")}
            return Sample(
                stem, stem, files["images"], size, visible, amodal, category, source=str(files["amodal"]), extra=extra
            )

        return load


def read_bits(path: Path) -> tuple[Mask, Size]:
    """A mask picture, which may be empty, and its size (H, W). Raises ImageError."""
    soft = read_soft(path)
    size = (int(soft.shape[0]), int(soft.shape[1]))
    mask = Mask.from_array(soft)
    if not mask and (brightest := float(soft.max())) > 0.1:
        remark(f"mask {path} reaches {brightest:.2f} of white, not half; it marks no pixel", stacklevel=2)
    return mask, size


def read_beside(path: Path, photo: Image) -> Bits:
    """A mask picture (H, W) bool of a photo (H, W, 3). Raises ImageError; MaskError: it is of another size."""
    soft = read_soft(path)
    check_frame(soft.shape, (photo.shape[0], photo.shape[1]), f"mask {path}")
    return np.asarray(soft > 0.5)


def files_by_stem(folder: Path, bad: Callable[[Path, str, str], None]) -> dict[str, Path]:
    """Pictures of a folder by stem; two files with one stem are reported. Raises DataError if there is no folder."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; a data set of mask pictures has images/, visible/ and amodal/")
    table: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not is_picture(path):
            continue
        if path.stem in table:
            bad(folder, path.stem, f"both {table[path.stem].name} and {path.name}")
            continue
        table[path.stem] = path
    return table
