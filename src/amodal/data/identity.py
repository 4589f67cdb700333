"""What a data set is by its content, so that a run goes on over the same data alone, whatever lies in the folder meanwhile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.files import read_bytes
from .sample import Dataset

__all__ = ["checksum", "identity"]

WHOLE = 2 << 30
"""Bytes of truth that are read for it; of larger sets the names and sizes of the files count."""


def identity(data: Dataset, *, photos: bool = False) -> dict[str, Any]:
    """`Dataset.to_dict`, with a checksum of the files that hold the truth.

    Args:
        data: the data set.
        photos: also tell a checksum of the photos' names and sizes, where the work depends on them.

    Raises:
        DataError: a file that is there cannot be read.
    """
    told = {**data.to_dict(), "truth_sha256": checksum(data.truth_files(), data.root)}
    if photos:
        told["photos_sha256"] = checksum(data.picture_files().values(), data.root, 0)
    return told


def checksum(files: Iterable[Path], root: Path, whole: int = WHOLE) -> str:
    """Of the names below `root` and sizes of some files, and of their contents where these are at most `whole` bytes together."""
    sizes = {file: os.stat(file).st_size if os.path.isfile(file) else None for file in files}  # noqa: PTH113, PTH116  never raise
    read = sum(size or 0 for size in sizes.values()) <= whole
    digest = hashlib.sha256()
    for file, size in sizes.items():
        name = file.relative_to(root) if file.is_relative_to(root) else file.name
        digest.update(os.fsencode(name) + f"\0{size}\0".encode())
        if read and size is not None:
            digest.update(read_bytes(file, DataError))
    return digest.hexdigest()[:16]
