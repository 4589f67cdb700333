"""`amodal data build scenes` on bad scenes, scenes that are too large, and bad configurations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import DataError, OptionError
from amodal.data import dataset
from amodal.synthesis.scenes.build import build
from amodal.synthesis.scenes.config import read_config
from amodal.synthesis.scenes.view import Stage
from scenes_make import (
    TWO_SQUARES,
    cube,
    join,
    square,
    write_camera_list,
    write_matterport,
    write_obj,
    write_ply,
    write_scannet,
)

pytest.importorskip("embreex")

SCENE = '[[scene]]\nkind = "{}"\npath = "{}"\nname = "{}"\n{}\n'
ALL = "[select]\nratio = 0\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n[render]\nsupersample = 1\nambient_rays = 1\n"
GOOD = 'cameras = "list"\ncamera_list = "cameras.json"'
BAD = 'cameras = "list"\ncamera_list = "bad.json"'
OWN = 'cameras = "files"'
BAD_SCENES = [
    ("obj", "good.obj", "good", GOOD, "material file missing.mtl is missing; grey instead"),
    ("obj", "nan.obj", "nan", GOOD, "2 of 4 faces have NaN"),
    ("obj", "empty.obj", "empty", GOOD, "has no faces"),
    ("matterport", "bare/17DRP5sb8fy", "bare", OWN, "17DRP5sb8fy.ply has no labels"),
    ("matterport", "short/17DRP5sb8fy", "short", OWN, "has 2 labels, the mesh 4 faces"),
    ("matterport", "odd/17DRP5sb8fy", "odd", OWN, "17DRP5sb8fy is malformed"),
    ("scannet", "scene0000_00", "scan", OWN, "the pose is not finite (lost tracking)"),
    ("obj", "inside.obj", "inside", GOOD, "view v: the camera is inside the object stone; left out"),
    ("obj", "near.obj", "near", GOOD, "view v: the camera is inside an object or against a wall; left out"),
    ("obj", "good.obj", "cameras", BAD, "camera flat: focal length (0, 40)"),
    ("obj", "good.obj", "still", BAD, "camera still: the pose is singular"),
    ("obj", "good.obj", "vast", BAD, "1000000 x 48 pixels; 1 to 16,384 a side"),
    ("obj", "painted.obj", "painted", GOOD, "texture gone.png of material red is missing"),
    ("obj", "good.obj", "large", GOOD + "\nreader = {max_faces = 3}", "has 4 faces, more than max_faces = 3"),
    ("gltf", "cut.glb", "cut", GOOD, "is it whole, and glTF 2.0?"),
]
"""Kind, path, name, cameras of a scene, and what must be told of it."""


def write_bad_scenes(root: Path) -> None:
    """The files of `BAD_SCENES`."""
    (name, points, faces), table = TWO_SQUARES
    row = json.loads(write_camera_list(root / "cameras.json", "opencv").read_text())[0]
    flat, still = (
        {**row, "name": "flat", "fx": 0},
        {**row, "name": "still", "world_from_camera": np.zeros((4, 4)).tolist()},
    )
    vast = {**row, "name": "vast", "width": 10**6}
    (root / "cameras.json").write_text(json.dumps([row]))
    (root / "bad.json").write_text(json.dumps([flat, still, vast, {"name": "half"}, 3]))
    broken = points.copy()
    broken[0] = np.nan
    bare = write_matterport(root / "bare", TWO_SQUARES)
    for file in bare.glob("house_segmentations/*.json"):
        file.unlink()
    vertices, triangles, _ = join(TWO_SQUARES)
    write_ply(bare / "house_segmentations" / "17DRP5sb8fy.ply", vertices, triangles)
    short = write_matterport(root / "short", TWO_SQUARES)
    (short / "house_segmentations" / "17DRP5sb8fy.fsegs.json").write_text('{"segIndices": [0, 1]}')
    odd = write_matterport(root / "odd", TWO_SQUARES)
    (odd / "house_segmentations" / "17DRP5sb8fy.semseg.json").write_text('{"segGroups": [3]}')
    write_scannet(root, TWO_SQUARES)
    write_obj(root / "good.obj", TWO_SQUARES)
    write_obj(root / "nan.obj", [(name, broken, faces), table])
    write_obj(root / "empty.obj", [(name, points, np.zeros((0, 3), int))])
    write_obj(root / "near.obj", [("sheet_1", *square(0.03, -9, -9, 99, 99)), table])
    write_obj(root / "inside.obj", [("stone", *cube((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))), table])
    painted = (
        (root / "good.obj").read_text().replace("missing.mtl", "m.mtl").replace("o table_1", "o table_1\nusemtl red")
    )
    (root / "painted.obj").write_text(painted)
    (root / "m.mtl").write_text("newmtl red\nKd x y z\nmap_Kd gone.png\n")
    (root / "cut.glb").write_bytes(b"glTF\2\0\0\0")


def test_bad_scenes_are_listed_and_the_rest_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of bad input in one configuration: a line each, and the good scene is made."""
    write_bad_scenes(tmp_path)
    (tmp_path / "c.toml").write_text(ALL + "".join(SCENE.format(*case[:4]) for case in BAD_SCENES))
    assert run(["data", "build", "scenes", str(tmp_path / "c.toml"), "-o", str(tmp_path / "out")]) == 3
    assert "Traceback" not in capsys.readouterr().err
    lines = (tmp_path / "out" / "failures.txt").read_text().splitlines()
    assert len(lines) == len(set(lines))
    for *_, scene, _, text in BAD_SCENES:
        assert any(line.startswith(f"scene {scene}") and text in line for line in lines), (scene, text)
    made = {sample.extra["scene"] for sample in dataset("folder", tmp_path / "out")}
    assert made == {"good", "nan", "scan", "painted"}


def test_one_reason_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all views fail for the same reason."""
    write_obj(tmp_path / "good.obj", TWO_SQUARES)
    row = json.loads(write_camera_list(tmp_path / "cameras.json", "opencv").read_text())[0]
    (tmp_path / "cameras.json").write_text(json.dumps([row, {**row, "name": "other"}]))
    (tmp_path / "c.toml").write_text(ALL + SCENE.format("obj", "good.obj", "good", GOOD))

    def dark(*_: object) -> None:
        raise DataError("there is no light")

    monkeypatch.setattr(Stage, "view", dark)
    with pytest.raises(DataError) as caught:
        build(read_config(tmp_path / "c.toml"), tmp_path / "out")
    assert str(caught.value) == "no view could be made: scene good: there is no light"


TEN_MILLION = """
import resource, sys
from pathlib import Path
from amodal.synthesis.scenes.build import build
from amodal.synthesis.scenes.config import read_config
report = build(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
print(report.samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(*report.failures, sep="\\n")
"""


@pytest.mark.slow
def test_ten_million_faces(tmp_path: Path) -> None:
    """They are projected in 3 GB, and a line says what they need; with a lower limit the file is not even read."""
    house = write_matterport(tmp_path, TWO_SQUARES)
    side = 2236
    u, v = np.meshgrid(np.linspace(10, 40, side + 1), np.linspace(8, 32, side + 1), indexing="ij")
    points = np.stack([np.full(u.size, 4.0), (32 - u.ravel()) / 10, (24 - v.ravel()) / 10], axis=1)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    far = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side + 2], 1),
            np.stack([corner, corner + side + 2, corner + side + 1], 1),
        ]
    )
    near = TWO_SQUARES[1]
    write_dense_ply(house, np.concatenate([points, near[1]]), np.concatenate([far, near[2] + len(points)]), len(far))
    for file in house.glob("house_segmentations/*.json"):
        file.unlink()
    (tmp_path / "c.toml").write_text(ALL + SCENE.format("matterport", "17DRP5sb8fy", "huge", ""))
    done = subprocess.run(
        [sys.executable, "-c", TEN_MILLION, str(tmp_path / "c.toml"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    first, *lines = done.stdout.splitlines()
    samples, megabytes = map(int, first.split())
    assert samples == 2 and megabytes < 3000
    assert any("faces need about 2.4 GB of memory" in line for line in lines)
    chair = next(sample for sample in dataset("folder", tmp_path / "out") if sample.category == "chair")
    assert (chair.visible.area, chair.amodal.area) == (540, 720)
    (tmp_path / "c.toml").write_text(
        ALL + SCENE.format("matterport", "17DRP5sb8fy", "huge", "reader = {max_faces = 5000000}")
    )
    with pytest.raises(DataError, match="9,999,394 faces, more than max_faces = 5,000,000"):
        build(read_config(tmp_path / "c.toml"), tmp_path / "none")


def write_dense_ply(house: Path, vertices: np.ndarray, faces: np.ndarray, first: int) -> None:
    """The house's mesh anew, quickly: `first` faces of object 0, the others of object 1."""
    table = np.zeros(len(faces), [("n", "u1"), ("v", "<i4", 3), ("segment_id", "<i4")])
    table["n"], table["v"] = 3, faces
    table["segment_id"][first:] = 1
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"] + [f"element face {len(faces)}"]
    header += ["property list uchar int vertex_indices", "property int segment_id", "end_header", ""]
    with (house / "house_segmentations" / "17DRP5sb8fy.ply").open("wb") as file:
        file.write("\n".join(header).encode())
        file.write(vertices.astype("<f4").tobytes())
        file.write(table.tobytes())


BAD_CONFIGS = {
    "scene = 3": "scene",
    'name = "a"': r"has no \[\[scene\]\]",
    '[[scene]]\nkind = "obj"\npath = "a.obj"\nspeed = 3': "scene.0.speed: extra inputs are not permitted",
    '[[scene]]\nkind = "obj"\npath = "a.obj"\n[[scene]]\nkind = "obj"\npath = "a.obj"': "two scenes are named 'a'",
    '[[scene]]\nkind = "obj"\npath = "a.obj"\ncameras = "list"': "has no camera_list",
    '[[scene]]\nkind = "obj"\npath = "a.obj"\nsplit = "b"\n[[scene]]\nkind = "obj"\npath = "./a.obj"\nname = "c"': "splits share no",
    "[select]\nratio = -1": "select.ratio",
    "= 3": "is not TOML",
}


@pytest.mark.parametrize("text", BAD_CONFIGS)
def test_bad_configurations(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(OptionError, match=BAD_CONFIGS[text]):
        read_config(tmp_path / "c.toml")
