"""Arrays in files: `.npy` and `.npz`. Nothing is unpickled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import AmodalError
from .files import MAX_BYTES, open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_npy", "read_npz"]


def read_npz(
    path: str | os.PathLike[str], keys: Sequence[str], error: type[AmodalError] = AmodalError, hint: str = ""
) -> dict[str, NDArray[Any]]:
    """Read the named arrays of an .npz file; nothing is unpickled.

    Args:
        path: the file.
        keys: names of the arrays.
        error: what to raise.
        hint: what to do about it, for the error's text.

    Raises:
        error: the file cannot be read, is cut short or lacks an array.
    """
    import zipfile

    import numpy as np

    try:
        with open_regular(path, error) as file, zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_BYTES:
                raise error(f"{path} unpacks to {unpacked:,} bytes, more than the {MAX_BYTES:,} that are read")
            file.seek(0)
            with np.load(file, allow_pickle=False) as data:
                return {key: np.asarray(data[key]) for key in keys}
    except Exception as reason:
        if isinstance(reason, AmodalError):
            raise error(f"{reason}; {hint}" if hint else str(reason)) from reason
        text = f"{path} is not an .npz with {', '.join(keys)} ({reason}); was it cut short?"
        raise error(f"{text}; {hint}" if hint else text) from reason


def read_npy(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> NDArray[Any]:
    """The array of a .npy file; nothing is unpickled.

    Raises:
        error: as `open_regular`, no .npy file, or cut short.
    """
    import numpy as np

    try:
        with open_regular(path, error) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise error(f"{path} has more than the {MAX_BYTES:,} bytes that are read")
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except Exception as reason:
        if isinstance(reason, AmodalError):
            raise
        raise error(f"{path} is not a .npy array ({reason}); was it cut short?") from reason
