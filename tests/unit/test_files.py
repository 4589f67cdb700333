"""Files are whole or absent."""

import errno
import os

import pytest

from amodal import files
from amodal.errors import DataError, OutputError


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
    with pytest.raises(OutputError, match="cannot write"):
        files.write_text(tmp_path / "out" / "a.txt", "new")


def test_no_overwriting_unless_asked(tmp_path):
    files.write_text(tmp_path / "a", "1")
    with pytest.raises(OutputError, match="exists already; add --force"):
        files.write_text(tmp_path / "a", "2", overwrite=False)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"a": ', "is not complete JSON: .* at line 1, column 7; was it cut short"),
        (b"\xff\xfe", "is not a JSON text file"),
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
