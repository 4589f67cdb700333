"""What tells the files of weights from others: their content, never their names, sizes or dates alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..core.errors import WeightsError
from ..core.files import file_sha256

__all__ = ["content_digest"]


def content_digest(files: Iterable[Path]) -> str:
    """SHA-256 of a file, or of the digests of several in their order: 64 hexadecimal digits.

    Each file is read once a process; those of the hub's cache are not, since their names are their digests.

    Raises:
        WeightsError: a file cannot be read.
    """
    found = [_file_digest(path, _state(path)) for path in files]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); give weights that are there") from error
    return status.st_size, status.st_mtime_ns


@cache
def _file_digest(path: Path, _: tuple[int, int]) -> str:
    real = path.resolve()
    return real.name if real.parent.name == "blobs" else file_sha256(real, WeightsError)
