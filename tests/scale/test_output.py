"""The batch folder: cut off at every single step it goes on and ends in the bytes of an unbroken batch."""

import itertools
import json
import os
from pathlib import Path

import pytest

from amodal import files
from amodal.errors import DataError, OutputError
from amodal.scale import output as output_module
from amodal.scale.output import Output
from amodal.scale.plan import read_plan
from amodal.scale.worker import Row, Spec, Worker, seed_of

ROWS = [Row(f"r{n}", {"n": n}, (f"r{n}#0", f"r{n}#1")) for n in range(5)]


def run(folder: Path, order=lambda rows: rows) -> dict[str, int]:
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))
    with Output(folder, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        for row in order(out.missing()):
            out.add(row, worker([row])[0])
        return out.finish()


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Crash(BaseException):
    """The process ends here."""


def crashing(monkeypatch, at: int) -> None:
    """The `at`-th step that changes the disk (a rename, a journal line) is not done, or half, and ends all.

    A death after a step leaves the disk as a death before the next one does, so that these are all moments there are.
    """
    count = itertools.count()
    replace, append = os.replace, Output._append

    def broken_replace(source, target):
        if next(count) == at:
            raise Crash
        replace(source, target)

    def broken_append(self, entry):
        if next(count) == at:
            line = output_module._line(entry)
            self._journal.write(line[: len(line) // 2])
            self._journal.flush()
            raise Crash
        append(self, entry)

    monkeypatch.setattr(files.os, "replace", broken_replace)
    monkeypatch.setattr(Output, "_append", broken_append)


def test_cut_off_at_every_step_it_ends_in_the_same_bytes(tmp_path, monkeypatch):
    assert run(tmp_path / "whole") == {"done": 8, "failed": 2}
    whole = content(tmp_path / "whole")
    assert {"plan.json", "manifest.json", "coco.json", "objects.parquet", "shards/00002.jsonl"} < set(whole)
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
    pictures, rows, shards, others = 8, 5, 3, len(("plan", "coco", "parquet", "manifest"))
    assert crashes == pictures + rows + shards + others


def test_nothing_is_done_twice(tmp_path):
    worker = Worker(Spec("scale_numbers:Numbers", seed=7))
    with Output(tmp_path, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        for row in out.missing()[:3]:
            out.add(row, worker([row])[0])
    with Output(tmp_path, {"what": "numbers"}, ROWS, shard_rows=2) as out:
        assert [row.id for row in out.missing()] == ["r3", "r4"]


def test_order_of_arrival_does_not_matter(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b", order=lambda rows: rows[::-1])
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_batch_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(OutputError, match="differs in what.*--force"), Output(tmp_path, {"what": "x"}, ROWS, 2):
        pass
    with pytest.raises(OutputError, match="rows_sha256"), Output(tmp_path, {"what": "numbers"}, ROWS[::-1], 2):
        pass


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"holds other files \(holiday.jpg\)"), Output(tmp_path, {}, ROWS):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["holiday.jpg"]


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


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"image": "a.jpg", "point": [1]}', "line 2: a point is"),
        ('{"image": "a.jpg"}', "line 2: no prompt"),
        ('{"point": [1, 2]}', 'line 2: "image" must name'),
        ('{"image": "a.jpg", "pt": [1, 2]}', "line 2: no field named 'pt'"),
        ("[1, 2", "line 2: not a prompt"),
        ("[1, 2]", "line 2: not a prompt"),
        ('{"image": "a.jpg", "mask": {"size": [2, 2], "counts": "~"}}', "line 2: "),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, text):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{{"image": "a.jpg", "box": [0, 0, 5, 5]}}\n{line}\n')
    with pytest.raises(DataError, match="prompts.jsonl, line 2") as error:
        read_plan(path)
    assert text.split(": ", 1)[1] in str(error.value)


def test_ids_must_be_unique(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"image": "a.jpg", "id": "x", "point": [1, 2]}\n' * 2)
    with pytest.raises(DataError, match="'x' occurs twice"):
        read_plan(path)


def test_coco_masks_boxes_and_polygons(tmp_path):
    path = tmp_path / "coco.json"
    shapes = [
        {"segmentation": {"size": [4, 6], "counts": [4, 8, 12]}, "bbox": [1, 0, 2, 4]},
        {"segmentation": [[1, 0, 3, 0, 3, 4, 1, 4]], "bbox": [1, 0, 2, 4]},
        {"bbox": [1, 0, 2, 4]},
    ]
    notes = [{"id": n, "image_id": 1, "category_id": 5, **shape} for n, shape in enumerate(shapes)]
    pictures = [{"id": 1, "file_name": "a.jpg", "width": 6, "height": 4}]
    path.write_text(json.dumps({"images": pictures, "annotations": notes, "categories": [{"id": 5, "name": "cup"}]}))
    root, rows = read_plan(path)
    things = rows[0].content["objects"]
    assert root == tmp_path and rows[0].parts == ("0", "1", "2")
    assert things[0]["prompt"]["mask"] == things[1]["prompt"]["mask"]
    assert things[2]["prompt"] == {"box": [1.0, 0.0, 3.0, 4.0]} and things[0]["category"] == "cup"
    assert read_plan(path, boxes=True)[1][0].content["objects"][0]["prompt"] == {"box": [1.0, 0.0, 3.0, 4.0]}
