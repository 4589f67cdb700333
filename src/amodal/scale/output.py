"""The folder of a batch: whole at every moment, so that a batch killed anywhere goes on and ends in the same bytes.

    plan.json      what is run: settings, seed, digest of the rows; written first, and it must agree to go on
    journal.jsonl  rows done but not yet in a shard, in the order in which they came; gone at the end
    shards/        00000.jsonl ...: the records of so many rows each, in the plan's order; written whole, never changed
    cutouts/       pictures, each written before its record
    manifest.json  the shards with their counts and sha256; written last: where it is, all is

Nothing that depends on time, machine or number of workers is written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import DataError, OutputError
from ..files import read_json, write_bytes, write_json
from .worker import Result, Row

__all__ = ["Output", "digest_of"]


class Output:
    """An open batch folder. Use as a context manager: one process at a time may have it open."""

    def __init__(self, folder: Path, plan: dict[str, Any], rows: Sequence[Row], shard_rows: int = 256) -> None:
        """
        Args:
            folder: made if absent.
            plan: JSON-ready; what must be equal for a batch to go on.
            rows: all rows of the batch, in order.
            shard_rows: rows per shard.

        Raises:
            OutputError: another batch is there, or another process works on it.
        """
        self.folder = folder
        self.rows = rows
        self.shard_rows = shard_rows
        self.plan = {"format": "amodal/batch/1", **plan, "rows": len(rows), "shard_rows": shard_rows}
        self.plan["rows_sha256"] = digest_of(rows)
        self._number = {row.id: number for number, row in enumerate(rows)}
        self._pending: dict[int, list[dict[str, Any]]] = {}
        self._lock: IO[str] | None = None
        self._journal: IO[bytes] | None = None

    def __enter__(self) -> Output:
        self._take_lock()
        try:
            self._check_plan()
            for leftover in self.folder.rglob(".*.part"):
                leftover.unlink(missing_ok=True)
            self._read_journal()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._journal, self._lock):
            if file is not None:
                file.close()

    def missing(self) -> list[Row]:
        """The rows that are still to be done."""
        whole = {shard for shard in range(self.shards) if self.shard_path(shard).exists()}
        return [
            row
            for number, row in enumerate(self.rows)
            if number // self.shard_rows not in whole and number not in self._pending
        ]

    @property
    def shards(self) -> int:
        """How many shards there will be."""
        return -(-len(self.rows) // self.shard_rows)

    def shard_path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / "shards" / f"{shard:05d}.jsonl"

    def add(self, row: Row, results: Sequence[Result]) -> None:
        """Take a row's results: pictures, then the journal; a shard when its last row is there."""
        for result in results:
            for name, content in result.files.items():
                write_bytes(self.folder / name, content)
        number = self._number[row.id]
        records = [result.record for result in results]
        self._append({"row": number, "records": records})
        self._pending[number] = records
        self._write_shard(number // self.shard_rows)

    def finish(self) -> dict[str, int]:
        """Close the batch: exports and manifest. Returns the counts of records "done" and "failed".

        Raises:
            OutputError: rows are missing.
        """
        from .export import write_exports

        if self.missing():
            raise OutputError(f"{len(self.missing())} rows of {self.folder} are not done; run the same command again")
        for shard in range(self.shards):
            self._write_shard(shard)
        write_exports(self)
        shards: list[dict[str, Any]] = []
        for shard in range(self.shards):
            path = self.shard_path(shard)
            counts = {"done": 0, "failed": 0}
            for record in _records(path):
                counts[record["status"]] += 1
            shards.append(
                {"file": f"shards/{path.name}", **counts, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            )
        total = {name: sum(shard[name] for shard in shards) for name in ("done", "failed")}
        write_json(self.folder / "manifest.json", {"format": "amodal/batch/1", **total, "shards": shards})
        if self._journal is not None:
            self._journal.close()
        (self.folder / "journal.jsonl").unlink(missing_ok=True)
        (self.folder / ".lock").unlink(missing_ok=True)
        return total

    def records(self) -> Iterator[dict[str, Any]]:
        """All records in the plan's order, once the shards are there."""
        for shard in range(self.shards):
            yield from _records(self.shard_path(shard))

    def _take_lock(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / ".lock", "w")  # noqa: SIM115  closed in __exit__
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if self._lock is not None:
                self._lock.close()
            raise OutputError(
                f"another process is writing to {self.folder}; wait for it, or choose another folder with -o"
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.folder}: {error.strerror}; choose another folder with -o"
            ) from error

    def _check_plan(self) -> None:
        path = self.folder / "plan.json"
        if not path.exists():
            others = [entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")]
            if others:
                raise OutputError(
                    f"{self.folder} holds other files ({sorted(others)[0]}); choose an empty folder with -o"
                )
            write_json(path, self.plan)
        there = read_json(path, DataError)
        wanted = json.loads(json.dumps(self.plan))
        if there != wanted:
            names = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
            raise OutputError(
                f"{self.folder} holds a batch that differs in {', '.join(names)}; repeat it with the same input and "
                "options to go on, choose another folder with -o, or add --force to begin anew"
            )

    def _append(self, entry: dict[str, Any]) -> None:
        assert self._journal is not None
        try:
            self._journal.write(_line(entry))
            self._journal.flush()
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.folder}: {error.strerror}; free some space and run the same command again"
            ) from error

    def _read_journal(self) -> None:
        """Take up what is there; a last line that a kill cut short is dropped."""
        path = self.folder / "journal.jsonl"
        good = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    break
                good += len(line)
                if not self.shard_path(entry["row"] // self.shard_rows).exists():
                    self._pending[entry["row"]] = entry["records"]
            os.truncate(path, good)
        if self.missing() or self._pending:
            self._journal = open(path, "ab")  # noqa: SIM115  closed in __exit__

    def _write_shard(self, shard: int) -> None:
        numbers = range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, len(self.rows)))
        if not self.shard_path(shard).exists() and all(number in self._pending for number in numbers):
            lines = [_line(record) for number in numbers for record in self._pending[number]]
            write_bytes(self.shard_path(shard), b"".join(lines))
        if self.shard_path(shard).exists():
            for number in numbers:
                self._pending.pop(number, None)


def digest_of(rows: Sequence[Row]) -> str:
    """SHA-256 of ids and contents: a batch goes on only with the rows it began with."""
    total = hashlib.sha256()
    for row in rows:
        total.update(_line([row.id, row.content]))
    return total.hexdigest()


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for line in file:
            yield json.loads(line)


def _line(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"
