"""Files are whole or absent."""

import codecs
import errno
import math
import os

import numpy as np
import pytest

from amodal.core import arrays, files
from amodal.core.errors import DataError, OutputError, unwritten


def test_an_error_within_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full; free some space or choose another folder"):
        files.write_text(tmp_path / "a.txt", "new")
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    for path in (tmp_path / "out" / "a.txt", tmp_path / "out" / "b" / "a.txt"):
        with pytest.raises(
            OutputError, match="cannot write .*there is a file where a folder is needed; choose another"
        ):
            files.write_text(path, "new")


def test_only_a_full_disk_asks_for_space():
    for number, text in (
        (errno.EACCES, "may write to"),
        (errno.EROFS, "may write to"),
        (errno.EISDIR, "it is a folder"),
        (errno.EFBIG, "another folder"),
        (errno.ENOSPC, "free some space"),
    ):
        told = unwritten(OSError(number, os.strerror(number)))
        assert text in told and ("space" in told) == (number == errno.ENOSPC)


def test_no_overwriting_unless_asked(tmp_path):
    files.write_text(tmp_path / "a", "1")
    with pytest.raises(OutputError, match="exists already; remove it"):
        files.write_text(tmp_path / "a", "2", overwrite=False)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"a": ', "is not complete JSON: .* at line 1, column 7; was it cut short"),
        (b"\xff\xfe", "is not a UTF-8 text file .it is UTF-16"),
    ],
)
def test_broken_json(tmp_path, content, text):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=text):
        files.read_json(tmp_path / "a.json", DataError)


def test_absent_and_broken_toml(tmp_path):
    with pytest.raises(DataError, match="cannot read .*: No such file"):
        files.read_toml(tmp_path / "a.toml", DataError)
    (tmp_path / "a.toml").write_text("a = ")
    with pytest.raises(DataError, match="is not TOML"):
        files.read_toml(tmp_path / "a.toml", DataError)


JSON_FAULTS = {
    "utf16": ('{"a": 1}'.encode("utf-16"), "UTF-16.*save it as UTF-8"),
    "latin1": (b'{"a": "caf\xe9"}', "is it Latin-1"),
    "zeros": (bytes(5000), "not a text file: it holds zero bytes"),
    "nan": (b'{"a": NaN}', "the number NaN"),
    "infinity": (b"[-Infinity]", "only finite numbers"),
    "above a float": (b"[1e999]", "the number 1e999"),
    "5,000 digits": (b"[" + b"9" * 5000 + b"]", "the number 9999"),
    "depth that Python refuses": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "depth that nobody has": (b"[" * 300 + b"]" * 300, "more than 100 levels"),
    "empty": (b"", "is not complete JSON"),
}


@pytest.mark.parametrize("case", JSON_FAULTS)
def test_json_that_is_refused_in_one_line(tmp_path, case):
    content, text = JSON_FAULTS[case]
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=text) as caught:
        files.read_json(tmp_path / "a.json", DataError)
    assert "\n" not in str(caught.value)


def test_json_that_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(codecs.BOM_UTF8 + b'{"a": [1, 2.5, "\\udce9"]}')
    assert files.read_json(tmp_path / "a.json", DataError) == {"a": [1, 2.5, "\udce9"]}
    loose = files.parse_json("[NaN, 1e999, " + "9" * 5000 + "]", "text", finite=False)
    assert math.isnan(loose[0]) and loose[1:] == [math.inf, math.inf]


def test_only_plain_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, text in (
        (tmp_path / "pipe", "is a pipe or device"),
        ("/dev/zero", "is a pipe or device"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "cannot read .*: No such file"),
        (tmp_path / ("n" * 5000), "cannot read"),
        ("a\0b", "cannot be the name of a file"),
        ("\ud800", "cannot be the name of a file"),
    ):
        with pytest.raises(DataError, match=text):
            files.read_bytes(path, DataError)


def test_a_file_above_the_bound_is_not_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="more than the 1,610,612,736 that are read"):
        files.read_json(tmp_path / "large", DataError)


def test_lines_are_numbered_and_bad_ones_fail_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 20)
    (tmp_path / "a.jsonl").write_bytes(codecs.BOM_UTF8 + b'{"a": 1}\n\n{"a": "' + b"x" * 50 + b'"}\r\n\xe9\n{"a": 2}')
    found = {}
    for number, line in files.read_lines(tmp_path / "a.jsonl", DataError):
        try:
            found[number] = files.parse_json(line, f"line {number}", DataError)
        except DataError as error:
            found[number] = str(error)[:7]
    assert found == {1: {"a": 1}, 3: "line 3 ", 4: "line 4 ", 5: {"a": 2}}


def test_tables(tmp_path):
    (tmp_path / "a.tsv").write_bytes(codecs.BOM_UTF8 + b"id\tname\n1\tchair\n2\n")
    assert files.read_csv(tmp_path / "a.tsv", DataError, delimiter="\t") == [
        {"id": "1", "name": "chair"},
        {"id": "2", "name": ""},
    ]
    for content, text in ((b"a\n1,2\n", "more cells than its header"), (b"a\n" + b"x" * 200_000, "is not a table")):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(DataError, match=text):
            files.read_csv(tmp_path / "a.csv", DataError)


@pytest.mark.parametrize("content", [b"a = " + b"[" * 5000, b"a = " + b"9" * 5000, b"a = '\xe9'", b"a.b=1\na.b=2"])
def test_toml_that_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(DataError, match="is nested too deeply|is not TOML|is not a UTF-8"):
        files.read_toml(tmp_path / "a.toml", DataError)


def test_arrays_are_read_without_unpickling(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    assert arrays.read_npy(tmp_path / "a.npy", DataError).shape == (2, 3)
    np.savez(tmp_path / "a.npz", rgba=np.zeros(3), names=np.array([{}], object))
    assert set(arrays.read_npz(tmp_path / "a.npz", ["rgba"], DataError)) == {"rgba"}
    with pytest.raises(DataError, match="is not an .npz with names .*; make it anew"):
        arrays.read_npz(tmp_path / "a.npz", ["names"], DataError, "make it anew")
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-9])
    with pytest.raises(DataError, match="is not a .npy array"):
        arrays.read_npy(tmp_path / "a.npy", DataError)


def test_names_that_are_long_or_no_text_are_written(tmp_path):
    files.write_text(tmp_path / ("n" * 250), "caf\udce9")
    assert (tmp_path / ("n" * 250)).read_text() == "caf\\udce9"
