"""Writing files so that they are either whole or absent, and reading TOML and JSON with clear errors."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .errors import AmodalError, OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "atomic_write",
    "read_json",
    "read_npz",
    "read_toml",
    "toml_value",
    "write_bytes",
    "write_json",
    "write_text",
]


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place only when the block ends without an error.

    Args:
        path: the file to write; its folder is made if absent.
        overwrite: False refuses to replace an existing file.

    Raises:
        OutputError: the file exists and may not be replaced, or the disk is full or not writable.
    """
    target = Path(path)
    if not overwrite and target.exists():
        raise OutputError(f"{target} exists already; add --force to replace it, or choose another folder with -o")
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
        temporary = ""
    except OSError as error:
        if isinstance(error, AmodalError):
            raise
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise OutputError(
            f"cannot write {target}: {reason}; free some space or choose another folder with -o"
        ) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes, *, overwrite: bool = True) -> None:
    """Write `content` atomically."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], content: str, *, overwrite: bool = True) -> None:
    """Write `content` atomically as UTF-8."""
    write_bytes(path, content.encode(), overwrite=overwrite)


def write_json(path: str | os.PathLike[str], content: Any, *, overwrite: bool = True) -> None:
    """Write `content` atomically as indented JSON; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n", overwrite=overwrite)


def read_json(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> Any:
    """Read a JSON file.

    Raises:
        error: the file cannot be read or is not JSON; says where it breaks off.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror}") from reason
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not a JSON text file (byte {reason.start} is not UTF-8)") from reason
    except json.JSONDecodeError as reason:
        place = f"line {reason.lineno}, column {reason.colno}"
        raise error(f"{path} is not complete JSON: {reason.msg} at {place}; was it cut short?") from reason


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
    import zlib

    import numpy as np

    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            return {key: data[key] for key in keys}
    except FileNotFoundError:
        text = f"there is no file {path}"
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as reason:
        text = f"{path} is not an .npz with {', '.join(keys)} ({reason}); was it cut short?"
    raise error(f"{text}; {hint}" if hint else text)


def read_toml(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        error: the file cannot be read or is not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with open(path, "rb") as file:
            content: dict[str, Any] = tomllib.load(file)
            return content
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror}") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error(f"{path} is not TOML: {reason}") from reason


def toml_value(text: str) -> Any:
    """One value in TOML syntax (`3`, `1e-3`, `true`, `[1, 2]`, `"a"`); a bare word is text."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
