"""`amodal data sample`: whole or not at all, and every part of it is read by what it is for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.cli.app import build
from amodal.core.errors import OutputError
from amodal.core.image import read_mask
from amodal.data.check import check
from amodal.data.coco import CocoFile
from amodal.geometry.readers import open_source
from amodal.synthesis.sample import content, write_sample

ROOT = Path(__file__).parents[2]


def test_the_command_writes_it_once(sample_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(sample_set, tmp_path / "mine")
    build()(["data", "sample", str(tmp_path / "mine")], standalone_mode=False)
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "mine") and "is there already" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "photo.jpg").unlink(), "photo.jpg was lost or changed"),
        (lambda root: (root / "room.toml").write_text("name = 1"), "room.toml was lost or changed"),
        (lambda root: (root / "sample.json").unlink(), "not empty and holds no sample"),
        (
            lambda root: (root / "sample.json").write_text('{"format": "amodal/sample/1", "files": {}}'),
            "of version None",
        ),
    ],
)
def test_what_is_no_whole_sample_is_left_alone(sample_set: Path, tmp_path: Path, spoil, told: str) -> None:
    shutil.copytree(sample_set, tmp_path / "mine")
    spoil(tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(OutputError, match=told):
        write_sample(tmp_path / "mine")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        write_sample(tmp_path / "mine")
    with pytest.raises(OutputError, match="cannot write"):
        write_sample(tmp_path / "mine" / "deeper")


def test_a_stop_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(root: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(content, "composites", stop)
    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "mine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("reader", "folder", "split", "least"),
    [
        ("masks", "composites_dev", None, 24),
        ("masks", "bookstore_dev", None, 20),
        ("folder", "room", None, 60),
        ("cocoa", "COCOA", "val", 60),
        ("cocoa", "COCOA", "train", 60),
    ],
)
def test_its_data_sets_are_good(sample_set: Path, reader: str, folder: str, split: str | None, least: int) -> None:
    data = amodal.dataset(reader, sample_set / "data" / folder, split)
    assert len(data) >= least
    assert not [finding for finding in check(data, images=True) if finding.serious]
    assert all(sample.amodal.contains(sample.visible) for sample in data)
    assert any(sample.occlusion_rate > 0.3 for sample in data)


def test_its_masks_fit_its_photographs(sample_set: Path) -> None:
    rows = json.loads((sample_set / "instances.json").read_text())
    assert len(rows["images"]) == 8 and len(rows["annotations"]) == 35
    for row in rows["images"]:
        assert amodal.read(sample_set / "photos" / row["file_name"]).shape[:2] == (row["height"], row["width"])
    assert len(list(CocoFile(sample_set / "instances.json").annotations())) == 35
    visible, occluder = (read_mask(sample_set / f"{name}.png") for name in ("visible", "occluder"))
    assert not visible & occluder


def test_its_room_is_the_scene_that_was_drawn(sample_set: Path) -> None:
    scene = open_source("gltf", sample_set / "room.glb").geometry(None)
    assert (len(scene.faces), len(scene.instances)) == (672, 19)
    assert np.ptp(scene.vertices, axis=0) == pytest.approx([6.2, 5.2, 2.7], abs=0.01)
    assert {path.stem for path in (sample_set / "data" / "objects").iterdir()} == set(content.FURNITURE)


def test_the_scene_of_the_readme_builds(
    sample_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In smaller pictures than `room.toml` asks for."""
    pytest.importorskip("embreex")
    for name in ("room.glb", "cameras.json"):
        shutil.copy(sample_set / name, tmp_path)
    quick = "[render]\nsupersample = 1\nshadow_rays = 1\nambient_rays = 1\n[[scene]]\nlimit = 2\n"
    (tmp_path / "room.toml").write_text((sample_set / "room.toml").read_text().replace("[[scene]]\n", quick))
    monkeypatch.chdir(tmp_path)
    build()(["data", "build", "scenes", "room.toml", "-o", "out"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "read: room, 19 objects, 672 faces" in printed and "part of the building" in printed
    assert len(amodal.dataset("folder", tmp_path / "out", split="eval")) >= 10
