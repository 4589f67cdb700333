"""The folder of a batch: a `Store` whose journal becomes shards, so that a batch killed anywhere ends in the same bytes.

plan.json      what is run: settings, seed, digest of the rows
journal.jsonl  rows done but not yet in a shard, in the order in which they came; gone at the end
shards/        00000.jsonl ...: the records of so many rows each, in the plan's order; written whole; a start tries failed rows again
cutouts/       pictures, each written before its record
manifest.json  the shards with their counts and sha256; written last: where it is, all is
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError, OutputError
from ..core.files import file_sha256, parse_json, read_json, read_lines, write_bytes, write_json
from .store import Store, json_line
from .worker import Result, Row

__all__ = ["Output", "check_finished", "digest_of", "is_batch", "read_records"]

FORMAT = "amodal/batch/1"
MADE = ("manifest.json", "coco.json", "results.json", "objects.parquet", "shards", "cutouts")


class Output(Store):
    """An open batch folder; memory grows neither with the rows done nor with those to do."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: Mapping[str, Any],
        rows: Sequence[Row],
        shard_rows: int = 256,
        *,
        digest: str = "",
        overwrite: bool = False,
    ) -> None:
        """
        Args:
            folder: made if absent.
            plan: JSON-ready; what must be equal for a batch to go on.
            rows: all rows of the batch, in order; asked for one by one.
            shard_rows: rows per shard.
            digest: of the rows; made from them if it is not given.
            overwrite: delete an earlier batch first.
        """
        self.rows = rows
        self.shard_rows = shard_rows
        numbers = {"rows": len(rows), "shard_rows": shard_rows, "rows_sha256": digest or digest_of(rows)}
        super().__init__(folder, {"format": FORMAT, **plan, **numbers}, owns=MADE, overwrite=overwrite, alone=True)
        self._pending: dict[int, list[dict[str, Any]]] = {}
        self._whole: set[int] = set()
        self._failed: dict[int, set[int]] = {}  # of shards that are there: the rows that are tried again

    def opened(self) -> None:
        """Take up what is there; shards that were damaged or lost, or whose pictures were, are done again, and so are rows that failed:
        what they lacked may be there now."""
        told = self._manifest()
        for shard in range(self.shards):
            if not self.shard_path(shard).exists() or not self._sound(shard, told):
                self.shard_path(shard).unlink(missing_ok=True)
                (self.folder / "manifest.json").unlink(missing_ok=True)
            elif failed := self._failures(shard):
                self._failed[shard] = failed
            else:
                self._whole.add(shard)
        self._pending = {
            entry["row"]: entry["records"]
            for entry in self.entries
            if entry["row"] in self._wanted(entry["row"] // self.shard_rows)
            and all(self._has_pictures(record) for record in entry["records"])
        }
        self.entries = []
        for shard in {number // self.shard_rows for number in self._pending}:
            self._write_shard(shard)

    @property
    def shards(self) -> int:
        """How many shards there will be."""
        return -(-len(self.rows) // self.shard_rows)

    def shard_path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / "shards" / f"{shard:05d}.jsonl"

    def left(self) -> int:
        """How many rows are still to be done."""
        return sum(len(self._wanted(shard)) for shard in range(self.shards)) - len(self._pending)

    def missing(self) -> Iterator[Row]:
        """The rows that are still to be done; none is made before its turn."""
        for shard in range(self.shards):
            for number in self._numbers(shard):
                if (
                    number in self._wanted(shard) and number not in self._pending
                ):  # a shard may become whole between two rows
                    yield dataclasses.replace(self.rows[number], number=number)

    def add(self, row: Row, results: Sequence[Result]) -> None:
        """Take the results of a row of `missing`: pictures, then the journal; a shard when its last row is there."""
        for result in results:
            for name, content in result.files.items():
                self.write(name, content)
        records = [result.record for result in results]
        self.append({"row": row.number, "records": records})
        self._pending[row.number] = records
        self._write_shard(row.number // self.shard_rows)

    def finish(self, export: Callable[[Output], None] | None = None) -> dict[str, int]:
        """Close the batch: exports, then the manifest. Returns the counts of records "done" and "failed".

        Args:
            export: writes further files from `records()` before the manifest says that all is there.

        Raises:
            OutputError: rows are missing, or an export failed (the records are kept).
        """
        if self.left():
            raise OutputError(f"{self.left()} rows of {self.folder} are not done; repeat the batch to go on")
        try:
            if export is not None:
                export(self)
        except Exception as error:
            raise OutputError(
                f"every photo is done and kept in {self.folder / 'shards'}, but the exports failed ({error}); mend that and "
                "repeat the batch: it only writes them"
            ) from error
        shards: list[dict[str, Any]] = []
        total = Counter({"done": 0, "failed": 0})
        for shard in range(self.shards):
            path = self.shard_path(shard)
            counts = Counter({"done": 0, "failed": 0})
            counts.update(record["status"] for record in read_records(path))
            total += counts
            shards.append({"file": f"shards/{path.name}", **counts, "sha256": file_sha256(path, DataError)})
        numbers = {name: total[name] for name in ("done", "failed")}
        write_json(self.folder / "manifest.json", {"format": FORMAT, **numbers, "shards": shards})
        self.forget_journal()
        return numbers

    def records(self) -> Iterator[dict[str, Any]]:
        """All records in the plan's order, once the shards are there."""
        for shard in range(self.shards):
            yield from read_records(self.shard_path(shard))

    def _numbers(self, shard: int) -> range:
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, len(self.rows)))

    def _wanted(self, shard: int) -> Collection[int]:
        """The rows of a shard that it needs to be whole; none once it is."""
        return () if shard in self._whole else self._failed.get(shard, self._numbers(shard))

    def _by_row(self, shard: int) -> dict[int, list[dict[str, Any]]]:
        """The records of a shard that is there by row; empty where it cannot be told which row a record is of."""
        left = deque(read_records(self.shard_path(shard)))
        found: dict[int, list[dict[str, Any]]] = {}
        for number in self._numbers(shard):
            row, found[number] = self.rows[number], []
            while left and _is_of(left[0], row, len(found[number])):
                found[number].append(left.popleft())
        return {} if left else found

    def _failures(self, shard: int) -> set[int]:
        """The rows of a shard that is there of which a record failed."""
        if all(record["status"] == "done" for record in read_records(self.shard_path(shard))):
            return set()
        every = self._by_row(shard).items()
        return {number for number, records in every if any(record["status"] == "failed" for record in records)}

    def _manifest(self) -> dict[str, str]:
        """The shards' digests, if the batch was finished once."""
        path = self.folder / "manifest.json"
        content = read_json(path, DataError) if path.exists() else {}
        return {Path(shard["file"]).name: shard["sha256"] for shard in content.get("shards", ())}

    def _sound(self, shard: int, told: Mapping[str, str]) -> bool:
        path = self.shard_path(shard)
        if path.name in told and file_sha256(path, DataError) != told[path.name]:
            return False
        try:
            return all("status" in record and self._has_pictures(record) for record in read_records(path))
        except DataError:
            return False

    def _has_pictures(self, record: Mapping[str, Any]) -> bool:
        return not record.get("cutout") or (self.folder / record["cutout"]).is_file()

    def _write_shard(self, shard: int) -> None:
        wanted = self._wanted(shard)
        if not all(number in self._pending for number in wanted):
            return
        there: dict[int, list[dict[str, Any]]] = {}
        if shard in self._failed:
            there = self._by_row(shard)
            (self.folder / "manifest.json").unlink(missing_ok=True)  # it tells the old shard's digest
        there |= {number: self._pending.pop(number) for number in wanted}
        lines = [json_line(record) for number in self._numbers(shard) for record in there[number]]
        write_bytes(self.shard_path(shard), b"".join(lines))
        self._whole.add(shard)
        self.rewrite({"row": number, "records": records} for number, records in self._pending.items())


def _is_of(record: Mapping[str, Any], row: Row, before: int) -> bool:
    """Whether a record of a shard, the one after so many of a row, is of that row too."""
    if row.parts:
        return before < len(row.parts) and record["id"] in row.parts
    image = record.get("image")
    return bool(record["id"] == row.id or (image is not None and image == row.content.get("image")))


def digest_of(rows: Sequence[Row]) -> str:
    """SHA-256 of ids and contents: a batch goes on only with the rows it began with."""
    total = hashlib.sha256()
    for row in rows:
        total.update(json_line([row.id, row.content]))
    return total.hexdigest()


def is_batch(folder: Path) -> bool:
    """Whether a folder is a batch's, finished or not."""
    plan = folder / "plan.json"
    try:
        content = read_json(plan, DataError) if plan.is_file() else None
    except DataError:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def check_finished(folder: Path) -> None:
    """Raises DataError: the folder is a batch that was stopped. Whatever else it is, is left to the caller."""
    if not (folder / "manifest.json").exists() and is_batch(folder):
        raise DataError(
            f"{folder} is an unfinished batch: it was stopped; repeat the command that made it, which goes on"
        )


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a shard, one by one. Raises DataError: a line is not a record."""
    for number, line in read_lines(path, DataError):
        record = parse_json(line, f"{path}, line {number}", DataError)
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number} is not a record")
        yield record
