"""Feature maps of pictures on disk: fp16 safetensors, written atomically, the oldest dropped when the folder grows too large."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import OutputError, WeightsError
from ...core.files import atomic_write
from ...weights import load_tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureCache"]


class FeatureCache:
    """Maps by key in a folder. A cache that cannot be read or written costs time, never the result.

    Args:
        folder: where the files lie; made when the first is written.
        limit: bytes that all files together may take; the least recently used are deleted beyond it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> list[Tensor] | None:
        """The maps of a key, (C, h, w) fp16 on the CPU, or None if there are none; a damaged file counts as none."""
        path = self.path(key)
        try:
            tensors = load_tensors(path)
            os.utime(path)
        except (OSError, WeightsError):
            return None
        return [tensors[name] for name in sorted(tensors)]

    def put(self, key: str, maps: Sequence[Tensor]) -> None:
        """Store the maps of a key; warns, once, if the folder cannot be written."""
        from safetensors.torch import save

        content = save({f"layer{number}": value.contiguous() for number, value in enumerate(maps)})
        try:
            with atomic_write(self.path(key)) as file:
                file.write(content)
        except OutputError as error:
            warnings.warn(f"features are not kept: {error}; or set cache=none", stacklevel=2)
            return
        self._shrink(keep=self.path(key))

    def _shrink(self, keep: Path) -> None:
        """Delete the least recently used files until the rest fits; other processes may do so at the same time."""
        files = []
        for path in self.folder.glob("*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size
