"""Photos of another size than their annotations: which are scaled copies of the frames, and are read scaled to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import AmodalError
from ..core.image import picture_size
from ..core.mask import Size
from ..core.scaling import is_scaled

if TYPE_CHECKING:
    from .sample import Sample

__all__ = ["Photos"]


class Photos:
    """The photos of a data set whose published evaluation scales them to the annotations (Zhan et al.); looks at each header once."""

    def __init__(self) -> None:
        self._asked: dict[tuple[Path, Size], bool] = {}
        self._first = ""

    def scaled(self, load: Callable[[], Sample]) -> Callable[[], Sample]:
        """`load`, whose sample is `scaled` if its photo is a scaled copy of its frame. Photos of another shape stay as they are:
        reading them raises DataError."""

        def loaded() -> Sample:
            sample = load()
            scaled = isinstance(sample.picture, Path) and self._is_copy(sample.picture, sample.size)
            return replace(sample, scaled=True) if scaled else sample

        return loaded

    def note(self) -> str | None:
        """How many of the photos seen so far are scaled; None if none is."""
        count = sum(self._asked.values())
        return (
            f"{count} of the photos read have another size than their annotation and are scaled to it ({self._first})"
            if count
            else None
        )

    def _is_copy(self, path: Path, frame: Size) -> bool:
        if (path, frame) not in self._asked:
            try:
                size = picture_size(path) if os.path.isfile(path) else frame  # noqa: PTH113  never raises
            except AmodalError:
                size = frame  # told when it is read
            found = self._asked[path, frame] = size != frame and is_scaled(size, frame)
            if found and not self._first:
                self._first = f"the first: {path}, {size[1]} x {size[0]} for {frame[1]} x {frame[0]}"
        return self._asked[path, frame]
