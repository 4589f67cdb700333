"""`Store`: a folder that is filled piece by piece, whole at every moment, with one rule for everything that writes many things.

Same settings: it goes on by itself. Other settings: it is refused, and the error says which differ. Begun anew: what is there
is deleted, once no other process works on it. Batches, evaluations and every builder of data stand on it.

    plan.json      what is made; written first, and it must agree to go on
    journal.jsonl  one line a finished piece, in the order in which they came
    .plan.json.lock  held by the process that works

The two files may have other names. Nothing that depends on time, machine or number of workers is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from ..core.errors import MALFORMED, AmodalError, DataError, OutputError, reason_of, unwritten
from ..core.files import open_regular, parse_json, read_json, write_bytes, write_json
from ..core.paths import own_path

__all__ = ["InUseError", "OtherSettingsError", "Store", "json_line"]

Self = TypeVar("Self", bound="Store")


LOCK_WAIT = 3.0
"""Seconds to wait for the lock before another process is believed to be at work."""


class OtherSettingsError(OutputError):
    """What is there was made with other settings."""


class InUseError(OutputError):
    """Another process works on it."""


class Store:
    """An open folder with its journal. Use as a context manager: one process at a time may have it open.

    Attributes:
        folder: made if absent.
        settings: JSON-ready; what must be equal to go on.
        entries: what the journal holds, in order; lines that a kill cut short are dropped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        *,
        head: str = "plan.json",
        journal: str = "journal.jsonl",
        owns: Sequence[str] = (),
        free: Collection[str] = (),
        overwrite: bool = False,
        alone: bool = False,
    ) -> None:
        """
        Args:
            folder: where everything lies.
            settings: see above.
            head, journal: names of the two files.
            owns: names of further files and folders (below `folder`) that are made here: what beginning anew deletes.
            free: settings that may differ; those within others by names with points, `model.device`.
            overwrite: delete what is there first.
            alone: refuse a folder that holds anything else before the first start.
        """
        self.folder = own_path(folder, OutputError)
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.entries: list[dict[str, Any]] = []
        self._names = (head, journal)
        self._owns, self._free, self._overwrite, self._alone = tuple(owns), set(free), overwrite, alone
        self._opened = False
        self._lock: Any = None
        self._file: IO[bytes] | None = None

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / self._names[1]

    @property
    def head(self) -> Path:
        """The settings' file."""
        return self.folder / self._names[0]

    def __enter__(self: Self) -> Self:
        """
        Raises:
            InUseError: another process works here.
            OtherSettingsError: what is there was made with other settings.
            OutputError: what is there is not of this kind, or the folder cannot be written.
        """
        self._take_lock()
        try:
            if self._overwrite:
                self._delete()
            self._clean()
            self.entries = self._read_journal()
            self._agree()
            self.opened()
            self._opened = True
        except BaseException as error:
            self.__exit__()
            if isinstance(error, MALFORMED) and not isinstance(error, AmodalError):
                raise DataError(f"what {self.folder} holds is damaged ({reason_of(error)}); begin anew") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close_journal()
        if self._lock is not None:
            self._lock.release()  # the file stays: taking it away would let two in
            self._lock = None

    def opened(self) -> None:
        """Called once all agrees; for kinds that take up more than the journal."""

    def recorded(self) -> Mapping[str, Any] | None:
        """The settings of what is there; None if nothing is."""
        found = read_json(self.head, DataError) if self.head.exists() else None
        return found if isinstance(found, dict) else None if found is None else {}

    def write(self, name: str, content: bytes) -> None:
        """Write a file of a piece; a piece's files come before its line in the journal."""
        write_bytes(self.folder / name, content)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Note a finished piece; when this returns, killing the process loses nothing.

        Raises:
            OutputError: the disk is full or not writable.
        """
        try:
            if self._file is None:
                self._file = open(self.journal, "ab")  # noqa: SIM115  closed in __exit__
            self._file.write(json_line(entry))
            self._file.flush()
        except OSError as error:
            with suppress(OSError):  # what could not be written is tried once more when the file is closed
                self._close_journal()
            raise self._cannot_write(error) from error

    def rewrite(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Replace the journal's lines, so that it does not grow with what is kept elsewhere."""
        self._close_journal()
        write_bytes(self.journal, b"".join(json_line(entry) for entry in entries))

    def forget_journal(self) -> None:
        """Delete the journal: all that it held is kept elsewhere."""
        self._close_journal()
        self.journal.unlink(missing_ok=True)

    @property
    def _lock_file(self) -> Path:
        return self.folder / f".{self._names[0].strip('.')}.lock"

    def _take_lock(self) -> None:
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._lock_file)
            # The workers of a run that was killed a moment ago may hold its lock until they notice.
            self._lock.acquire(timeout=LOCK_WAIT, poll_interval=0.05)
        except Timeout as error:
            self._lock = None
            raise InUseError(
                f"another process is writing to {self.folder}; wait for it, or choose another folder"
            ) from error
        except OSError as error:
            self._lock = None
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write to {self.folder}: {unwritten(error)}")

    def _owned(self) -> list[Path]:
        return [path for path in (self.journal, *(self.folder / name for name in self._owns)) if path.exists()]

    def _delete(self) -> None:
        """All that was made here; the settings change last: cut off in between, it is still known what is left."""
        if self.recorded() is None:
            return  # `_agree` refuses what others have made
        for path in self._owned():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        write_json(self.head, self.settings)

    def _clean(self) -> None:
        """Delete what killed runs have left half-written."""
        for folder in (self.folder, *(path for path in self._owned() if path.is_dir())):
            for left in folder.glob(".*.part") if folder == self.folder else folder.rglob(".*.part"):
                left.unlink(missing_ok=True)

    def _agree(self) -> None:
        there, begun = self.recorded(), self._owned()
        if there is None:
            others = [path for path in self.folder.iterdir() if path != self._lock_file] if self._alone else begun
            others = [path for path in others if not path.name.startswith(".") or path in begun]
            if others:
                raise OutputError(
                    f"{self.folder} holds other files ({min(path.name for path in others)}); choose an empty folder"
                )
        elif there != self.settings:
            old, new = (_flat(each, self._free) for each in (there, self.settings))
            differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
            if differing and (self.entries or any(path != self.journal for path in begun)):
                told = ", ".join(f"{name} ({_short(old.get(name))}, now {_short(new.get(name))})" for name in differing)
                raise OtherSettingsError(
                    f"{self.folder} was made with other settings: it differs in {told}; repeat it with the same ones "
                    "to go on, begin anew, or choose another folder"
                )
            if not differing:
                return
        if there != self.settings:  # new, or an earlier start that failed before its first piece
            write_json(self.head, self.settings)

    def _read_journal(self) -> list[dict[str, Any]]:
        """The whole lines; what a kill cut short is cut off the file."""
        entries: list[dict[str, Any]] = []
        good = 0
        if not self.journal.is_file():
            return entries
        with open_regular(self.journal, OutputError) as file:
            for line in file:
                try:
                    entry = parse_json(line, self.journal) if line.endswith(b"\n") else None
                except AmodalError:
                    entry = None
                if not isinstance(entry, dict):
                    break
                good += len(line)
                entries.append(entry)
        os.truncate(self.journal, good)
        return entries

    def _close_journal(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def json_line(content: Any) -> bytes:
    """One line of JSON; NaN and infinity are refused (they are not JSON)."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _flat(settings: Mapping[str, Any], free: Collection[str] = ()) -> dict[str, Any]:
    """Settings within settings by names with points: `model.method`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = {f"{name}.{key}": each for key, each in _flat(value).items()} if isinstance(value, dict) else {}
        flat |= inner or {name: value}
    return {name: value for name, value in flat.items() if name not in free and name.partition(".")[0] not in free}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
