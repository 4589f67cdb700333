"""Going on with a build whose scene or cameras have changed; names of views that meet, or are no names of files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import DataError, OptionError, OutputError
from amodal.data import dataset
from amodal.synthesis.review.store import open_sets
from amodal.synthesis.scenes.build import BuildReport, build
from amodal.synthesis.scenes.config import read_config
from scenes_make import (
    LENS,
    TWO_SQUARES,
    WORLD_FROM_CAM,
    add_glb_cameras,
    square,
    write_camera_list,
    write_glb,
    write_obj,
)

pytest.importorskip("embreex")

SELECT = "depth = true\n[select]\nratio = 0\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n"
SCENE = '[[scene]]\nkind = "obj"\npath = "s.obj"\ncameras = "list"\ncamera_list = "cameras.json"\n'


def built(folder: Path, text: str = SCENE, **more: bool) -> BuildReport:
    (folder / "c.toml").write_text(SELECT + text)
    return build(read_config(folder / "c.toml"), folder / "out", **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_obj(tmp_path / "s.obj", TWO_SQUARES)
    write_camera_list(tmp_path / "cameras.json", "opencv")
    return tmp_path


def areas(folder: Path) -> list[int]:
    return [sample.amodal.area for sample in dataset("folder", folder / "out")]


def test_a_changed_scene_is_not_gone_on_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert built(folder).views == 1 and areas(folder) == [720, 600]
    assert built(folder).views == 1, "what has not changed goes on"
    write_obj(folder / "s.obj", [("chair_1", *square(4.0, 10, 8, 30, 32)), TWO_SQUARES[1]])
    with pytest.raises(OutputError, match=r"the scene s has changed since .* was begun.*begin anew, or"):
        built(folder)
    assert areas(folder) == [720, 600], "what is there stays"
    assert run(["data", "build", "scenes", str(folder / "c.toml"), "-o", str(folder / "out")]) == 1
    assert "--force begins anew" in capsys.readouterr().err
    assert built(folder, overwrite=True).views == 1 and areas(folder) == [480, 600]


def test_a_changed_camera_is_not_gone_on_with(folder: Path) -> None:
    built(folder)
    (row,) = json.loads((folder / "cameras.json").read_text())
    (folder / "cameras.json").write_text(json.dumps([row, {**row, "name": "second"}]))
    report = built(folder)
    assert report.views == 2 and report.notes == [], "cameras may be added"
    (folder / "cameras.json").write_text(json.dumps([row]))
    report = built(folder)
    (note,) = report.notes
    assert report.views == 2 and note.startswith("1 views (first: s-second) are of cameras that are no longer there")
    assert report.statistics["notes"] == [note]
    (folder / "cameras.json").write_text(json.dumps([{**row, "fx": 44.0}, {**row, "name": "second"}]))
    with pytest.raises(OutputError, match=r"the camera of view s-v \(matrix\) has changed"):
        built(folder)


def test_views_noted_by_earlier_versions_go_on(folder: Path) -> None:
    """Their journals do not tell what was read."""
    built(folder)
    journal = folder / "out" / "views.jsonl"
    record = json.loads(journal.read_text())
    assert record.pop("read")["faces"] == 4
    journal.write_text(json.dumps(record) + "\n")
    assert built(folder).views == 1


def test_two_views_of_one_name_are_told(folder: Path) -> None:
    """Scene `a-b` with camera `c` and scene `a` with camera `b-c` would be one picture."""
    (row,) = json.loads((folder / "cameras.json").read_text())
    for file, name in (("one.json", "c"), ("two.json", "b-c")):
        (folder / file).write_text(json.dumps([{**row, "name": name}]))
    text = SCENE.replace("cameras.json", "one.json") + 'name = "a-b"\n'
    text += SCENE.replace("cameras.json", "two.json").replace("s.obj", "t.obj") + 'name = "a"\n'
    write_obj(folder / "t.obj", TWO_SQUARES)
    report = built(folder, text)
    assert report.views == 1
    line, *_ = report.failures
    assert line.startswith("scene a: view b-c: another view is named a-b-c too")
    row.pop("name")
    (folder / "cameras.json").write_text(json.dumps([{**row, "name": "000001"}, row]))
    report = built(folder, overwrite=True)
    assert report.views == 1 and "another view is named s-000001 too" in report.failures[0]
    # Object `1-box` of view `v` and object `box` of view `v-1` would be one object.
    write_obj(folder / "s.obj", [("1-box", *square(4.0, 10, 8, 40, 32)), ("box", *square(2.0, 25, 20, 50, 44))])
    (folder / "cameras.json").write_text(json.dumps([{**row, "name": name} for name in ("v", "v-1", "w")]))
    report = built(folder, overwrite=True)
    assert report.views == 2 and len(areas(folder)) == 4
    assert report.failures[0].startswith("scene s: picture s-v-1: the object id s-v-1-box is taken")


@pytest.mark.parametrize("name", ["Cam/1", "../../../escaped", "a:b", "é ü", "x" * 300, ""])
def test_any_name_of_a_camera_stays_in_the_folder(name: str, tmp_path: Path) -> None:
    """Pictures and depth have one name each, below the folder, whatever a glTF file calls its cameras."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    folder = tmp_path / "deep" / "er"
    pose = WORLD_FROM_CAM @ np.diag([1.0, -1, -1, 1])
    node = {"name": name, "camera": 0, "matrix": pose.T.reshape(-1).tolist()}
    add_glb_cameras(write_glb(folder / "s.glb", TWO_SQUARES), [node], [LENS], [0])
    report = built(folder, '[[scene]]\nkind = "gltf"\npath = "s.glb"\nreader = {picture = [64, 48]}\n')
    assert (report.views, report.failures) == (1, [])
    (picture,), (depth,) = ([*(folder / "out" / kind).iterdir()] for kind in ("images", "depth"))
    assert picture.stem == depth.stem
    samples = [*dataset("folder", folder / "out")]
    assert {each.image_id for each in samples} == {f"s-{name}"}
    assert sorted(each.amodal.area for each in samples) == [600, 720] and samples[0].image.shape == (48, 64, 3)
    assert not [*tmp_path.rglob("escaped*")]


def test_depth_that_the_file_cannot_tell_is_none(folder: Path) -> None:
    write_obj(folder / "s.obj", [("far_1", *square(70.0, 10, 8, 40, 32)), ("near_1", *square(65.0, 25, 20, 50, 44))])
    built(folder)
    (file,) = (folder / "out" / "depth").iterdir()
    depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert depth[10, 12] == 0 and depth[40, 45] == 65000


def test_no_view_at_all_says_why(folder: Path) -> None:
    (folder / "cameras.json").write_text("[]")
    with pytest.raises(DataError, match="no view could be made: no cameras"):
        built(folder)


def test_begun_anew_no_split_of_the_old_build_is_left(folder: Path) -> None:
    """`amodal data review` takes every split that lies there, and what has none before those that have."""
    sets = [("train", "eval"), ("",), ("eval",)]
    for splits in sets:
        text = "".join(f'{SCENE}name = "s{k}"\nsplit = "{split}"\n' for k, split in enumerate(splits))
        for k in range(1, len(splits)):
            write_obj(folder / f"s{k}.obj", TWO_SQUARES)
            text = text.replace('"s.obj"', f'"s{k}.obj"', 1)
        assert built(folder, text, overwrite=True).views == len(splits)
        found = {
            path.parent.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("annotations.json")
        }
        assert found == {split or "." for split in splits}
        assert set(open_sets(folder / "out")) == set(splits)


@pytest.mark.parametrize("split", ["../out", "/tmp", "a/b", ".."])
def test_splits_are_names_of_folders(split: str, folder: Path) -> None:
    with pytest.raises(OptionError, match=r"scene\.0\.split"):
        built(folder, f'{SCENE}split = "{split}"\n')
