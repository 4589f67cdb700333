"""Files: written so that they are either whole or absent, and read through a few guarded functions.

Everything that amodal reads passes here (pictures: `image.read`; arrays: `arrays`; weights: `weights.tensors.load_tensors`, which
open their files here too): plain files only, of bounded size, and every fault is one of our errors.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import io
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import AmodalError, ExistsError, OutputError, unwritten

__all__ = [
    "atomic_write",
    "check_folder",
    "check_targets",
    "check_text",
    "decode_text",
    "file_sha256",
    "open_regular",
    "parse_json",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_lines",
    "read_text",
    "read_toml",
    "toml_value",
    "write_bytes",
    "write_json",
    "write_text",
]

MAX_BYTES = 3 << 29
"""Files above 1.5 GiB are not read whole: the largest annotation file in use (LVIS) has 1.1 GB."""
MAX_LINE = 1 << 28
"""A line of a JSONL file is cut at 256 MiB."""
MAX_SETTINGS = 1 << 24
"""A TOML file above 16 MiB is not read."""
MAX_DEPTH = 100
"""JSON nested deeper is refused; real files have fewer than 10 levels."""


def check_targets(paths: Iterable[str | os.PathLike[str]], overwrite: bool) -> None:
    """To be asked before long work: whether these files can be written.

    Raises:
        ExistsError: one is there and may not be replaced.
        OutputError: one is a folder, or its folder can be none or cannot be written to.
    """
    for path in map(Path, paths):
        if not overwrite and os.path.lexists(path):
            raise ExistsError(f"{path} exists already; remove it, or choose another place")
        if os.path.isdir(path):  # noqa: PTH112  never raises
            raise OutputError(f"cannot write {path}: {unwritten(IsADirectoryError(errno.EISDIR, 'a folder'))}")
        check_folder(path.parent)


def check_folder(folder: str | os.PathLike[str]) -> None:
    """To be asked before long work. Raises OutputError: it is no folder and can be none, or cannot be written to."""
    place = Path(folder)
    there = next((path for path in (place, *place.parents) if os.path.lexists(path)), Path())
    if not os.path.isdir(there):  # noqa: PTH112
        reason = unwritten(NotADirectoryError(errno.ENOTDIR, "not a folder"))
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = unwritten(PermissionError(errno.EACCES, "permission denied"))
    else:
        return
    raise OutputError(f"cannot write into {place}: {reason}")


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
    temporary = ""
    try:
        check_targets([target], overwrite)
        if b"\0" in os.fsencode(target):
            raise OutputError(f"{str(target)!a} cannot be the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
        temporary = ""
    except UnicodeEncodeError as error:
        raise OutputError(f"{str(target)!a} cannot be the name of a file") from error
    except OSError as error:
        if isinstance(error, AmodalError):
            raise
        raise OutputError(f"cannot write {target}: {unwritten(error)}") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes, *, overwrite: bool = True) -> None:
    """Write `content` atomically."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], content: str, *, overwrite: bool = True) -> None:
    """Write `content` atomically as UTF-8; what is no character (a lone surrogate) comes as an escape such as \\udce9."""
    write_bytes(path, content.encode(errors="backslashreplace"), overwrite=overwrite)


def write_json(path: str | os.PathLike[str], content: Any, *, overwrite: bool = True) -> None:
    """Write `content` atomically as indented JSON; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n", overwrite=overwrite)


def open_regular(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> IO[bytes]:
    """A file open for reading, if it is a plain file: a pipe, a device or a socket is told and never opened.

    Raises:
        error: absent, no plain file, not readable, or a name that no file can have.
    """
    try:
        _check_regular(Path(path).stat(), path, error)
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            _check_regular(os.fstat(handle), path, error)  # what the name means may have changed
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise
    except OSError as reason:
        if isinstance(reason, AmodalError):
            raise
        raise error(f"cannot read {path}: {reason.strerror or reason}") from reason
    except (ValueError, TypeError) as reason:  # a zero byte, or a lone surrogate that stands for no byte
        if isinstance(reason, AmodalError):
            raise
        raise error(f"{path!a} cannot be the name of a file") from reason


def _check_regular(found: os.stat_result, path: object, error: type[AmodalError]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{path} is a folder; give a file")
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{path} is a pipe or device, not a plain file; save its content in a file first")


def read_bytes(
    path: str | os.PathLike[str], error: type[AmodalError] = AmodalError, *, limit: int = MAX_BYTES
) -> bytes:
    """The content of a plain file of at most `limit` bytes.

    Raises:
        error: as `open_regular`, or longer than `limit`.
    """
    with open_regular(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= limit:
            try:
                content = file.read(min(limit, max(size, 1 << 16)) + 1)  # files of /proc state no size
            except (OSError, MemoryError) as reason:
                raise error(
                    f"cannot read {path}: {getattr(reason, 'strerror', None) or 'not enough memory'}"
                ) from reason
            if len(content) <= limit:
                return content
        raise error(f"{path} has {max(size, limit + 1):,} bytes, more than the {limit:,} that are read; split it")


def file_sha256(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> str:
    """The SHA-256 of a plain file, as 64 hexadecimal digits. Raises `error` as `open_regular`."""
    with open_regular(path, error) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_text(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError, *, limit: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises `error` as `read_bytes`, or if it is not UTF-8."""
    return decode_text(read_bytes(path, error, limit=limit), path, error)


def decode_text(content: bytes, name: object, error: type[AmodalError] = AmodalError) -> str:
    """UTF-8 `content` as text, without a byte order mark; `name` is what to call it. Raises `error` for other encodings."""
    check_text(content[:1024], name, error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        kind = f"byte {reason.start} is not; is it Latin-1?"
        raise error(f"{name} is not a UTF-8 text file ({kind}); save it as UTF-8") from reason


def check_text(head: bytes, name: object, error: type[AmodalError] = AmodalError) -> None:
    """Whether a file that begins with `head` can be UTF-8 text. Raises `error`: it is UTF-16, or no text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error(f"{name} is not a UTF-8 text file (it is UTF-16); save it as UTF-8")
    if b"\0" in head:
        raise error(f"{name} is not a text file: it holds zero bytes")


def read_lines(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, one at a time, blank ones left out; for JSONL, with `parse_json` on each.

    A line above `MAX_LINE` bytes comes cut there, so that it fails alone when it is parsed.

    Raises:
        error: as `open_regular`.
    """
    with open_regular(path, error) as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            rest = line
            while rest and not rest.endswith(b"\n") and len(rest) == MAX_LINE:
                rest = file.readline(MAX_LINE)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield number, line


def parse_json(
    content: bytes | str, name: object, error: type[AmodalError] = AmodalError, *, finite: bool = True
) -> Any:
    """JSON text (UTF-8) as plain values, nested at most `MAX_DEPTH` deep. Texts may hold lone surrogates, as file names do.

    Args:
        content: the text.
        name: what to call it in the error: a path, or a path and a line.
        error: what to raise.
        finite: refuse NaN, Infinity, and numbers that no float can hold. False reads them as NaN and infinity: for long lists
            of single items, whose reader then checks every number that it takes, so that one bad item ends only itself.

    Raises:
        error: not JSON (says where it breaks off), nested too deeply, or holding a number that is refused.
    """

    def number(text: str) -> float:
        value = float(text)
        if finite and not math.isfinite(value):
            raise error(f"{name} holds the number {text[:20]}; only finite numbers are read")
        return value

    text = decode_text(content, name, error) if isinstance(content, bytes) else content
    hooks: dict[str, Any] = {"parse_float": number if finite else float, "parse_constant": number}
    try:
        try:
            value = json.loads(text, **hooks)
        except json.JSONDecodeError:
            raise
        except ValueError as reason:  # an integer of thousands of digits
            if isinstance(reason, AmodalError):
                raise
            value = json.loads(
                text, **hooks, parse_int=lambda digits: int(digits) if len(digits) < 300 else number(digits)
            )
    except json.JSONDecodeError as reason:
        place = f"line {reason.lineno}, column {reason.colno}"
        raise error(f"{name} is not complete JSON: {reason.msg} at {place}; was it cut short?") from reason
    except (RecursionError, MemoryError) as reason:
        raise error(f"{name} is nested too deeply or too large to be read") from reason
    _check_depth(value, name, error)
    return value


def _check_depth(value: Any, name: object, error: type[AmodalError]) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        insides = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for inside in insides for child in inside if isinstance(child, dict | list)]
    raise error(f"{name} is nested more than {MAX_DEPTH} levels deep")


def read_json(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError, *, finite: bool = True) -> Any:
    """Read a JSON file, with or without a byte order mark; `finite` as in `parse_json`.

    Raises:
        error: the file cannot be read or is not JSON; says where it breaks off.
    """
    return parse_json(read_bytes(path, error), path, error, finite=finite)


def read_csv(
    path: str | os.PathLike[str], error: type[AmodalError] = AmodalError, *, delimiter: str = ","
) -> list[dict[str, str]]:
    """The rows of a CSV file with a header line, by column name; cells that a short row lacks are "".

    Raises:
        error: as `read_text`, not CSV, or a row of more cells than the header.
    """
    import csv

    text = read_text(path, error)
    rows: list[dict[str, str]] = []
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval=""):
            if None in row:
                raise error(f"{path} has a row of more cells than its header (row {len(rows) + 1})")
            rows.append(row)
    except csv.Error as reason:
        raise error(f"{path} is not a table: {reason} (row {len(rows) + 1})") from reason
    return rows


def read_toml(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> dict[str, Any]:
    """Read a TOML file, with or without a byte order mark. Its numbers may be `nan` and `inf`, which TOML knows.

    Raises:
        error: the file cannot be read or is not TOML.
    """
    return _parse_toml(read_text(path, error, limit=MAX_SETTINGS), path, error)


def toml_value(text: str) -> Any:
    """One value in TOML syntax (`3`, `1e-3`, `true`, `[1, 2]`, `"a"`); a bare word is text."""
    try:
        return _parse_toml(f"value = {text}", "the value")["value"]
    except AmodalError:
        return text.strip()


def _parse_toml(text: str, name: object, error: type[AmodalError] = AmodalError) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content: dict[str, Any] = tomllib.loads(text)
    except RecursionError as reason:
        raise error(f"{name} is nested too deeply to be read") from reason
    except ValueError as reason:  # TOMLDecodeError, and an integer of thousands of digits
        raise error(f"{name} is not TOML: {reason}") from reason
    _check_depth(content, name, error)
    return content
