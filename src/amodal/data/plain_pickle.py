"""Reading pickles that data sets come as, without running what they hold: plain data and NumPy numbers only."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.files import read_bytes

__all__ = ["read_pickle"]


class Refused(Exception):
    """The pickle names something that is not plain data."""


def _encode(text: Any, encoding: str = "utf-8") -> bytes:
    """What `_codecs.encode` is for in pickles: bytes, written by old protocols as a latin-1 string."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise Refused("an encoded string of an unknown kind")
    return text.encode(encoding)


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    """Number types alone: an object type could hold anything."""
    kind: np.dtype[Any] = np.dtype(str(code))
    if kind.kind not in "biufSU":
        raise Refused(f"an array of the type {kind}")
    return kind


def _scalar(kind: np.dtype[Any], content: Any = b"") -> Any:
    raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
    return np.frombuffer(raw, kind, count=1)[0]


def _from_buffer(content: Any, kind: np.dtype[Any], shape: Any, order: str) -> Any:
    return np.frombuffer(bytes(content), kind).reshape(shape, order="F" if order == "F" else "C")


class _Array(np.ndarray[Any, Any]):
    """Stands in for ndarray while it is rebuilt; refuses object arrays."""


def _array(*_: Any) -> Any:
    return _Array(0, np.uint8)


ALLOWED: dict[tuple[str, str], Any] = {
    **{("builtins", name): value for name, value in (("set", set), ("frozenset", frozenset), ("bytearray", bytearray))},
    ("builtins", "complex"): complex,
    ("builtins", "slice"): slice,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): dict,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
}
"""Everything that a pickle may name. Each is a plain container or one of the functions above, none of which calls anything."""


class PlainUnpickler(pickle.Unpickler):
    """Refuses every name that is not in `ALLOWED` before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = ALLOWED.get((module.replace("__builtin__", "builtins"), name))
        if allowed is None:
            raise Refused(f"it would use {module}.{name}, which is code, not data")
        return allowed


def read_pickle(path: Path) -> Any:
    """The plain data in a pickle.

    Raises:
        DataError: the file is absent, cut short, or holds anything but plain data; nothing of it is executed.
    """
    raw = read_bytes(path, DataError)
    try:
        return PlainUnpickler(io.BytesIO(raw), encoding="latin1").load()
    except Refused as error:
        raise DataError(f"{path} is refused: {error}; get the file again from its official place") from error
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        MemoryError,
        OverflowError,
        RecursionError,
        BufferError,
    ) as error:
        raise DataError(
            f"{path} is not a whole pickle of plain data ({' '.join(str(error).split())}); was it cut short?"
        ) from error
