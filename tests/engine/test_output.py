"""The batch folder: cut off at every single step it goes on and ends in the bytes of an unbroken batch."""

import itertools
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from amodal.batch.export import write_exports
from amodal.core import files
from amodal.core.errors import OutputError
from amodal.engine.output import Output
from amodal.engine.store import InUseError, OtherSettingsError, Store, json_line
from amodal.engine.worker import Result, Row, Spec, Worker, failed, seed_of

ROWS = [Row(f"r{n}", {"n": n}, (f"r{n}#0", f"r{n}#1")) for n in range(5)]


def run(folder: Path, order=lambda rows: rows) -> dict[str, int]:
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))
    with Output(folder, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        for row in order(list(out.missing())):
            out.add(row, worker([row])[0])
        return out.finish(write_exports)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Crash(BaseException):
    """The process ends here."""


def crashing(monkeypatch, at: int) -> None:
    """The `at`-th step that changes the disk (a rename, a journal line) is not done, or half, and ends all.

    A death after a step leaves the disk as a death before the next one does, so that these are all moments there are.
    """
    count = itertools.count()
    replace, append = os.replace, Output.append

    def broken_replace(source, target):
        if next(count) == at:
            raise Crash
        replace(source, target)

    def broken_append(self, entry):
        if next(count) == at:
            line = json_line(entry)
            with open(self.journal, "ab") as journal:
                journal.write(line[: len(line) // 2])
            raise Crash
        append(self, entry)

    monkeypatch.setattr(files.os, "replace", broken_replace)
    monkeypatch.setattr(Output, "append", broken_append)


def test_cut_off_at_every_step_it_ends_in_the_same_bytes(tmp_path, monkeypatch):
    assert run(tmp_path / "whole") == {"done": 8, "failed": 2}
    whole = content(tmp_path / "whole")
    parquet = {"objects.parquet"} if find_spec("pyarrow") else set()
    assert {"plan.json", "manifest.json", "coco.json", *parquet, "shards/00002.jsonl"} < set(whole)
    assert "journal.jsonl" not in whole
    crashes = 0
    for step in range(100):
        folder = tmp_path / f"broken{step}"
        with monkeypatch.context() as patch:
            crashing(patch, step)
            try:
                run(folder)
                break
            except Crash:
                crashes += 1
        run(folder)
        assert content(folder) == whole, f"cut off at step {step}"
    pictures, rows, shards, others = 8, 5, 3, len(("plan", "coco", "results", "manifest", *parquet))
    assert crashes == pictures + rows + 2 * shards + others  # a shard, then the journal without it


def test_nothing_is_done_twice(tmp_path):
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))
    with Output(tmp_path, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        for row in itertools.islice(out.missing(), 3):
            out.add(row, worker([row])[0])
    with Output(tmp_path, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        assert [row.id for row in out.missing()] == ["r3", "r4"]


def test_rows_done_out_of_order_before_a_kill_are_not_done_again(tmp_path):
    """The last row of a shard came first; rows are taken one by one, as a single process does."""
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))
    with pytest.raises(Crash), Output(tmp_path / "b", {"what": "numbers"}, ROWS, shard_rows=5) as out:
        for row in list(out.missing())[3:]:
            out.add(row, worker([row])[0])
        raise Crash
    with Output(tmp_path / "b", {"what": "numbers"}, ROWS, shard_rows=5) as out:
        taken = []
        for row in out.missing():
            taken.append(row.id)
            out.add(row, worker([row])[0])
        assert taken == ["r0", "r1", "r2"] and out.left() == 0
        assert sum(out.finish(write_exports).values()) == 10


@pytest.mark.parametrize("parts", [True, False])
def test_what_failed_is_tried_again_and_nothing_else(tmp_path, monkeypatch, parts):
    """As after a photo that was missing has come back; also where it is not known beforehand which records a row gives."""
    rows = [Row(f"p{n}", {"image": f"p{n}"}, (f"p{n}#0", f"p{n}#1") if parts else ()) for n in range(5)]
    failing, done = {"p1", "p3"}, []

    def work(row, seed):
        done.append(row.id)
        if row.id in failing:
            return failed(row, "not there")
        found = [] if row.id == "p2" and not parts else (row.id + "#0", row.id + "#1")
        return [Result({"id": name, "image": row.id, "status": "done", "error": None}) for name in found]

    def start(folder):
        done.clear()
        with Output(folder, {}, rows, shard_rows=4) as out:
            for row in out.missing():
                out.add(row, work(row, None))
            return out.finish()

    assert start(tmp_path / "a")["failed"] == (4 if parts else 2)
    failing.remove("p3")
    before = content(tmp_path / "a")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crashing(patch, 1)  # the journal has a row, the shard is not yet written
        start(tmp_path / "a")
    assert content(tmp_path / "a").items() - {("journal.jsonl", "")} >= before.items()
    assert start(tmp_path / "a")["failed"] == (2 if parts else 1) and done == ["p3"]
    assert start(tmp_path / "a")["failed"] and done == ["p1"]
    start(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_order_of_arrival_does_not_matter(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b", order=lambda rows: rows[::-1])
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_batch_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(OutputError, match="differs in what"), Output(tmp_path, {"what": "x"}, ROWS, 2):
        pass
    with pytest.raises(OutputError, match="rows_sha256"), Output(tmp_path, {"what": "numbers"}, ROWS[::-1], 2):
        pass


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"holds other files \(holiday.jpg\)"), Output(tmp_path, {}, ROWS):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.name != ".plan.json.lock"] == ["holiday.jpg"]


def test_one_process_at_a_time(tmp_path):
    with (
        Output(tmp_path, {}, ROWS),
        pytest.raises(OutputError, match="another process is writing"),
        Output(tmp_path, {}, ROWS),
    ):
        pass


def test_errors_are_rows_and_seeds_come_from_ids():
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))
    bad, good = worker([ROWS[3], ROWS[1]])
    assert [result.record["error"] for result in bad] == ["ValueError: three is refused"] * 2
    assert [result.record["id"] for result in bad] == ["r3#0", "r3#1"]
    assert good[0].record["seed"] == seed_of("r1#0", 7) != seed_of("r1#0", 8)
    assert 0 <= seed_of("x", 1) < 2**31


def test_lost_or_damaged_files_are_made_again(tmp_path):
    run(tmp_path)
    whole = content(tmp_path)
    for name in ("shards/00001.jsonl", "coco.json", "manifest.json"):
        (tmp_path / name).unlink()
    (tmp_path / "shards" / "00002.jsonl").write_bytes(b"{}\n")
    assert run(tmp_path) == {"done": 8, "failed": 2} and content(tmp_path) == whole
    (tmp_path / "shards" / "00000.jsonl").write_bytes(whole["shards/00000.jsonl"][:-9])
    assert run(tmp_path) == {"done": 8, "failed": 2} and content(tmp_path) == whole


def test_anew_deletes_only_what_is_its_own_and_never_under_another_process(tmp_path):
    run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with Output(tmp_path, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        before = content(tmp_path)
        with pytest.raises(InUseError, match="another process"), Output(tmp_path, {}, ROWS, overwrite=True):
            pass
        assert content(tmp_path) == before and out.left() == 1, "what failed is tried again"
    with Output(tmp_path, {"what": "x"}, ROWS, shard_rows=2, overwrite=True) as out:
        assert out.left() == 5
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "plan.json", ".plan.json.lock"}


def test_what_failed_before_its_first_piece_blocks_nothing(tmp_path):
    with Store(tmp_path, {"seed": 0}):
        pass
    with Store(tmp_path, {"seed": 1}) as store:
        store.append({"id": "a"})
    with pytest.raises(OtherSettingsError, match=r"seed \(1, now 2\)"), Store(tmp_path, {"seed": 2}):
        pass
    with Store(tmp_path, {"seed": 2, "version": 3}, free=("seed", "version")) as store:
        assert store.entries == [{"id": "a"}]


def test_leftovers_of_killed_runs_are_cleaned(tmp_path):
    with Store(tmp_path, {}, owns=("made",)) as store:
        store.write("made/a.png", b"whole")
    left = [tmp_path / ".plan.json.x.part", tmp_path / "made" / ".a.png.y.part"]
    for path in left:
        path.write_bytes(b"half")
    with Store(tmp_path, {}, owns=("made",)) as store:
        assert (tmp_path / "made" / "a.png").exists()
        assert not any(path.exists() for path in left) and not store.entries


def test_a_failing_export_keeps_the_work(tmp_path):
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))

    def full(_):
        raise OSError("the disk is full")

    with Output(tmp_path, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        for row in list(out.missing()):
            out.add(row, worker([row])[0])
        with pytest.raises(OutputError, match=r"kept in .*shards.*the disk is full.*repeat"):
            out.finish(full)
    assert run(tmp_path) == {"done": 8, "failed": 2}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_told_with_its_folder(tmp_path):
    """What could not be written is tried again when the journal is closed, and that error hid the first one."""
    with Store(tmp_path, {"seed": 0}):
        pass
    with (
        pytest.raises(OutputError, match=f"cannot write to {tmp_path}: the disk is full"),
        Store(tmp_path, {"seed": 0}) as store,
    ):
        store.journal.symlink_to("/dev/full")
        store.append({"row": 1})
