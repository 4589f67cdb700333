"""`amodal data build scenes`: from a configuration to a data set; resuming; bad scenes and views; pictures; cameras in free space."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as tools
from pycocotools.coco import COCO

from amodal.cli import run
from amodal.data import dataset
from amodal.data.scenes.build import build
from amodal.data.scenes.cameras import CameraSampling, sample_cameras
from amodal.data.scenes.config import read_config
from amodal.data.scenes.readers import open_source
from amodal.data.scenes.select import SelectOptions, flaw
from amodal.errors import Cancelled, DataError, OptionError, OutputError
from amodal.image import read
from amodal.mask import Mask
from amodal.options import build_options
from amodal.scale.local import run_local
from scenes_make import (
    TWO_SQUARES,
    cube,
    join,
    square,
    write_bop,
    write_camera_list,
    write_matterport,
    write_obj,
    write_ply,
    write_scannet,
)

pytest.importorskip("embreex")


def room(path: Path) -> Path:
    """A closed room of 6 x 5 x 2.6 m with walls 0.2 m thick and boxes on the floor."""
    rng = np.random.default_rng(0)
    walls = [
        ("Floor", cube((-3.2, -2.7, -0.2), (3.2, 2.7, 0.0))),
        ("Ceiling", cube((-3.2, -2.7, 2.6), (3.2, 2.7, 2.8))),
        ("WallA", cube((-3.2, -2.7, 0.0), (-3.0, 2.7, 2.6))),
        ("WallB", cube((3.0, -2.7, 0.0), (3.2, 2.7, 2.6))),
        ("WallC", cube((-3.0, -2.7, 0.0), (3.0, -2.5, 2.6))),
        ("WallD", cube((-3.0, 2.5, 0.0), (3.0, 2.7, 2.6))),
    ]
    parts = [(name, points, faces) for name, (points, faces) in walls]
    for k in range(10):
        low = np.array([*rng.uniform((-2.6, -2.1), (2.0, 1.5)), 0.0])
        points, faces = cube(tuple(low), tuple(low + rng.uniform((0.2, 0.2, 0.4), (0.5, 0.5, 1.2))))
        parts.append((f"Box_{k}", points, faces))
    return write_obj(path / "room.obj", parts)


CONFIG = """
name = "rooms"
beyond_frame = 0.25
depth = true
[select]
min_amodal = 40
min_visible = 10
max_open_edges = 1.0
[render]
supersample = 1
ambient_rays = 2
shadow_rays = 1
[[scene]]
kind = "obj"
path = "room.obj"
split = "train"
cameras = "sample"
sample = {count = 6, width = 96, height = 72, distance = [0.6, 3.0]}
[[scene]]
kind = "obj"
path = "gone.obj"
split = "eval"
cameras = "sample"
[[scene]]
kind = "obj"
name = "squares"
path = "squares.obj"
split = "eval"
cameras = "list"
camera_list = "cameras.json"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    room(tmp_path)
    write_obj(tmp_path / "squares.obj", TWO_SQUARES)
    row = json.loads(write_camera_list(tmp_path / "cameras.json", "opencv").read_text())[0]
    away = np.diag([-1.0, 1, -1, 1]) @ np.array(row["world_from_camera"])
    rows = [row, {**row, "name": "flat", "fx": 0}, {**row, "name": "away", "world_from_camera": away.tolist()}]
    (tmp_path / "cameras.json").write_text(json.dumps(rows))
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def test_build_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "build", "scenes", str(folder / "config.toml"), "-o", str(folder / "out")]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("split") and "train" in out and "total" in out and "occluded    instances" in out
    for text in ("scene gone: there is no", "camera flat: focal length (0, 40)", "view away: the camera sees nothing"):
        assert text in err and text in (folder / "out" / "failures.txt").read_text()
    statistics = json.loads((folder / "out" / "statistics.json").read_text())
    assert statistics["views"] == 7 and statistics["splits"]["eval"]["instances"] == 1
    assert sum(statistics["total"]["occlusion_histogram"]) == statistics["total"]["instances"] > 3
    assert statistics["left_out"]["part of the building"] > 0
    samples = [*dataset("folder", folder / "out", "train"), *dataset("folder", folder / "out", "eval")]
    assert len(samples) == statistics["total"]["instances"]
    for sample in samples:
        assert sample.amodal.contains(sample.visible) and sample.image.shape[:2] == sample.size
        assert sample.amodal.clip(sample.size).area > 1.2 * sample.visible.area and sample.beyond_frame
        assert sample.extra["occluders"] and sample.order >= 1
        assert (folder / "out" / "depth" / f"{sample.image_id}.png").is_file()
    chair = samples[-1]
    assert (chair.id, chair.visible.area, chair.amodal.area) == ("squares-v-chair_1", 540, 720)
    assert chair.extra["occluders"] == [{"name": "table_1", "pixels": 180}] and chair.extra["depth"] == 4.0
    assert chair.occluder == Mask.from_box((25, 20, 50, 44)), (
        "the table is no sample itself, its mask is known all the same"
    )
    assert not (folder / "out" / ".work").exists()
    pictures = [read(path) for path in sorted((folder / "out" / "train" / "images").iterdir())]
    assert all(10 < picture.mean() < 250 and picture.std() > 5 for picture in pictures)


def test_coco_and_cocoa_hold_the_same_truth(tmp_path: Path) -> None:
    """`annotations.json` through pycocotools, the COCO-A file through our reader and pycocotools: masks, order, occluders."""
    write_obj(tmp_path / "s.obj", TWO_SQUARES)
    write_camera_list(tmp_path / "cameras.json", "opencv")
    text = "[select]\nratio = 0\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n"
    scene = '[[scene]]\nkind = "obj"\npath = "s.obj"\ncameras = "list"\ncamera_list = "cameras.json"\nsplit = "eval"\n'
    (tmp_path / "c.toml").write_text(text + scene)
    build(read_config(tmp_path / "c.toml"), tmp_path / "out")
    root = tmp_path / "out" / "eval"
    masks = {"chair": (Mask.from_box((10, 8, 40, 32)), 540), "table": (Mask.from_box((25, 20, 50, 44)), 600)}

    chair, table = dataset("cocoa", root)
    for sample in (chair, table):
        amodal, visible = masks[sample.category]
        assert sample.amodal == amodal and sample.visible.area == visible and sample.image.shape == (48, 64, 3)
    assert chair.visible == chair.amodal - table.amodal
    assert (chair.order, table.order, chair.occluders, table.occluders) == (2, 1, (table.id,), ())

    own = COCO(str(root / "annotations.json"))
    names = {row["id"]: row["name"] for row in own.loadCats(own.getCatIds())}
    for row in own.anns.values():
        amodal, visible = masks[names[row["category_id"]]]
        assert np.array_equal(own.annToMask(row).astype(bool), amodal.to_array((48, 64)))
        assert tools.area(row["visible_mask"]) == visible == row["visible_area"]
    theirs = COCO(str(root / "COCO_amodal_val2014.json"))
    (picture,) = theirs.loadImgs(theirs.getImgIds())
    assert (root / "images" / picture["file_name"]).is_file()
    (entry,) = theirs.loadAnns(theirs.getAnnIds(imgIds=picture["id"]))
    for region in entry["regions"]:
        amodal, visible = masks[region["name"]]
        bits = tools.decode(tools.frPyObjects([region["segmentation"]], 48, 64))[..., 0]
        assert np.array_equal(bits.astype(bool), amodal.to_array((48, 64)))
        assert tools.area(region.get("visible_mask", tools.encode(np.asfortranarray(bits)))) == visible


def test_stopped_build_goes_on_and_gives_the_same(folder: Path) -> None:
    config = read_config(folder / "config.toml")
    whole = build(config, folder / "whole")

    def stop(what: str, done: int, total: int) -> None:
        if done == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        build(config, folder / "parts", tick=stop)
    assert not (folder / "parts" / "statistics.json").exists()
    with pytest.raises(OutputError, match="--resume"):
        build(config, folder / "parts")
    rest = []
    again = build(config, folder / "parts", resume=True, tick=lambda what, done, total: rest.append(done))
    assert rest[0] == 4 and again.views == whole.views == 7
    for name in ("train/annotations.json", "eval/annotations.json", "eval/COCO_amodal_val2014.json", "statistics.json"):
        assert (folder / "parts" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    for path in (folder / "whole" / "train" / "images").iterdir():
        assert (folder / "parts" / "train" / "images" / path.name).read_bytes() == path.read_bytes()
    other = config.model_copy(update={"jpeg": 50})
    with pytest.raises(OutputError, match="other settings"):
        build(other, folder / "parts", resume=True)


@pytest.mark.slow
def test_processes_give_the_same(folder: Path) -> None:
    config = read_config(folder / "config.toml")
    build(config, folder / "one")
    build(config, folder / "two", run=partial(run_local, workers=2))
    one, two = ({path.relative_to(root): path for path in root.rglob("*")} for root in (folder / "one", folder / "two"))
    assert set(one) == set(two)
    for name, path in one.items():
        if path.is_file() and name.name != "views.jsonl":  # views are noted as they come
            assert path.read_bytes() == two[name].read_bytes()


def test_photographs_are_taken_where_there_are_some(tmp_path: Path) -> None:
    """Matterport brings photographs: the data set holds them byte for byte; `render` paints instead."""
    house = write_matterport(tmp_path, TWO_SQUARES)
    text = '[select]\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n[[scene]]\nkind = "matterport"\npath = "17DRP5sb8fy"\n'
    (tmp_path / "c.toml").write_text(text)
    build(read_config(tmp_path / "c.toml"), tmp_path / "photo")
    (tmp_path / "c.toml").write_text('pictures = "render"\n' + text)
    build(read_config(tmp_path / "c.toml"), tmp_path / "render")
    photo = next((house / "undistorted_color_images").iterdir())
    assert next((tmp_path / "photo" / "images").iterdir()).read_bytes() == photo.read_bytes()
    rendered = read(next((tmp_path / "render" / "images").iterdir()))
    assert rendered.std() > 5
    (sample,) = dataset("folder", tmp_path / "photo")
    assert sample.category == "chair" and sample.extra["label"] == "dining chair"


def test_bop_builds(tmp_path: Path) -> None:
    write_bop(tmp_path, TWO_SQUARES)
    scene = '[[scene]]\nkind = "bop"\npath = "test/000048"\n'
    text = 'pictures = "{}"\n[select]\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n' + scene
    for kind in ("photo", "render"):
        (tmp_path / "c.toml").write_text(text.format(kind))
        report = build(read_config(tmp_path / "c.toml"), tmp_path / kind)
        assert (report.views, report.samples, report.failures) == (1, 1, [])


def test_sampled_cameras_are_in_free_space(tmp_path: Path) -> None:
    scene = open_source("obj", room(tmp_path)).geometry(None)
    options = build_options(CameraSampling, {"count": 30, "width": 64, "height": 48, "distance": (0.6, 3.0)})
    cameras, failures = sample_cameras(scene, options)
    assert not failures and len(cameras) == 30
    boxes = [scene.vertices[scene.faces[scene.owner == each.id]].reshape(-1, 3) for each in scene.instances]
    for camera in cameras:
        x, y, z = camera.position
        assert abs(x) < 3.0 - 0.2 and abs(y) < 2.5 - 0.2 and 1.1 <= z <= 1.8
        assert not any(
            (points.min(0) < camera.position).all() and (camera.position < points.max(0)).all() for points in boxes
        )
        assert np.isclose(camera.cam_from_world[0, 2], 0)  # upright: the picture's x axis is level
    again, _ = sample_cameras(scene, options)
    assert all(np.array_equal(a.cam_from_world, b.cam_from_world) for a, b in zip(cameras, again, strict=True))
    outside = build_options(CameraSampling, {"count": 2, "tries": 30, "distance": (7.0, 9.0)})
    cameras, failures = sample_cameras(scene, outside)
    assert not cameras and "no free place for view 0000 in 30 tries" in failures[0]


LISTED = '[[scene]]\nkind = "{}"\npath = "{}"\nname = "{}"\n{}\n'
ALL = "[select]\nratio = 0\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n[render]\nsupersample = 1\nambient_rays = 1\n"


def test_bad_scenes_are_listed_and_the_rest_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of bad input in one configuration: a line each, and the good scene is made."""
    name, points, faces = TWO_SQUARES[0]
    table, listed, own = TWO_SQUARES[1], 'cameras = "list"\ncamera_list = "cameras.json"', 'cameras = "files"'
    row = json.loads(write_camera_list(tmp_path / "cameras.json", "opencv").read_text())[0]
    flat, still = (
        {**row, "name": "flat", "fx": 0},
        {**row, "name": "still", "world_from_camera": np.zeros((4, 4)).tolist()},
    )
    vast = {**row, "name": "vast", "width": 10**6}
    (tmp_path / "cameras.json").write_text(json.dumps([row]))
    (tmp_path / "bad.json").write_text(json.dumps([flat, still, vast, {"name": "half"}, 3]))
    broken = points.copy()
    broken[0] = np.nan
    bare = write_matterport(tmp_path / "bare", TWO_SQUARES)
    for file in bare.glob("house_segmentations/*.json"):
        file.unlink()
    vertices, triangles, _ = join(TWO_SQUARES)
    write_ply(bare / "house_segmentations" / "17DRP5sb8fy.ply", vertices, triangles)
    short = write_matterport(tmp_path / "short", TWO_SQUARES)
    (short / "house_segmentations" / "17DRP5sb8fy.fsegs.json").write_text('{"segIndices": [0, 1]}')
    odd = write_matterport(tmp_path / "odd", TWO_SQUARES)
    (odd / "house_segmentations" / "17DRP5sb8fy.semseg.json").write_text('{"segGroups": [3]}')
    scan = write_scannet(tmp_path, TWO_SQUARES).relative_to(tmp_path)
    write_obj(tmp_path / "good.obj", TWO_SQUARES)
    write_obj(tmp_path / "nan.obj", [(name, broken, faces), table])
    write_obj(tmp_path / "empty.obj", [(name, points, np.zeros((0, 3), int))])
    write_obj(tmp_path / "near.obj", [("sheet_1", *square(0.03, -9, -9, 99, 99)), table])
    write_obj(tmp_path / "inside.obj", [("stone", *cube((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))), table])
    painted = (
        (tmp_path / "good.obj")
        .read_text()
        .replace("missing.mtl", "m.mtl")
        .replace("o table_1", "o table_1\nusemtl red")
    )
    (tmp_path / "painted.obj").write_text(painted)
    (tmp_path / "m.mtl").write_text("newmtl red\nKd x y z\nmap_Kd gone.png\n")
    (tmp_path / "cut.glb").write_bytes(b"glTF\2\0\0\0")
    cases = [
        ("obj", "good.obj", "good", listed, "material file missing.mtl is missing; grey instead"),
        ("obj", "nan.obj", "nan", listed, "2 of 4 faces have NaN"),
        ("obj", "empty.obj", "empty", listed, "has no faces"),
        ("matterport", "bare/17DRP5sb8fy", "bare", own, "17DRP5sb8fy.ply has no labels"),
        ("matterport", "short/17DRP5sb8fy", "short", own, "has 2 labels, the mesh 4 faces"),
        ("matterport", "odd/17DRP5sb8fy", "odd", own, "17DRP5sb8fy is malformed"),
        ("scannet", str(scan), "scan", own, "the pose is not finite (lost tracking)"),
        ("obj", "inside.obj", "inside", listed, "view v: the camera is inside the object stone; left out"),
        ("obj", "near.obj", "near", listed, "view v: the camera is inside an object or against a wall; left out"),
        ("obj", "good.obj", "cameras", listed.replace("cameras.json", "bad.json"), "camera flat: focal length (0, 40)"),
        ("obj", "good.obj", "still", listed.replace("cameras.json", "bad.json"), "camera still: the pose is singular"),
        (
            "obj",
            "good.obj",
            "vast",
            listed.replace("cameras.json", "bad.json"),
            "1000000 x 48 pixels; 1 to 16,384 a side",
        ),
        ("obj", "painted.obj", "painted", listed, "texture gone.png of material red is missing"),
        ("obj", "good.obj", "large", listed + "\nreader = {max_faces = 3}", "has 4 faces, more than max_faces = 3"),
        ("gltf", "cut.glb", "cut", listed, "is it whole, and glTF 2.0?"),
    ]
    (tmp_path / "c.toml").write_text(ALL + "".join(LISTED.format(*case[:4]) for case in cases))
    assert run(["data", "build", "scenes", str(tmp_path / "c.toml"), "-o", str(tmp_path / "out")]) == 3
    assert "Traceback" not in capsys.readouterr().err
    lines = (tmp_path / "out" / "failures.txt").read_text().splitlines()
    assert len(lines) == len(set(lines))
    for *_, scene, _, text in cases:
        assert any(line.startswith(f"scene {scene}") and text in line for line in lines), (scene, text)
    made = {sample.extra["scene"] for sample in dataset("folder", tmp_path / "out")}
    assert made == {"good", "nan", "scan", "painted"}


TEN_MILLION = """
import resource, sys
from pathlib import Path
from amodal.data.scenes.build import build
from amodal.data.scenes.config import read_config
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
    (tmp_path / "c.toml").write_text(ALL + LISTED.format("matterport", "17DRP5sb8fy", "huge", ""))
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
        ALL + LISTED.format("matterport", "17DRP5sb8fy", "huge", "reader = {max_faces = 5000000}")
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


def test_selection() -> None:
    options = build_options(SelectOptions, {"min_amodal": 50, "min_visible": 10, "cut_off": False})
    whole = Mask.from_box((10, 10, 30, 30))
    size = (40, 40)
    assert flaw(Mask.from_box((10, 10, 20, 30)), whole, size, options) == ""
    assert flaw(whole, whole, size, options) == "not occluded enough"
    assert flaw(Mask.from_box((10, 10, 27, 30)), whole, size, options) == "not occluded enough"  # 400 / 340 < 1.2
    assert flaw(Mask.from_box((10, 10, 26, 30)), whole, size, options) == ""  # 400 / 320 > 1.2
    assert flaw(Mask.from_box((10, 10, 11, 12)), whole, size, options) == "too little visible"
    assert flaw(Mask.from_box((1, 1, 2, 2)), Mask.from_box((1, 1, 4, 4)), size, options) == "too small"
    assert flaw(Mask.from_box((0, 10, 10, 20)), Mask.from_box((0, 10, 20, 20)), size, options) == "cut off by the frame"
    comb = np.zeros(size, bool)
    comb[10:30, 10:30:3] = True
    assert flaw(Mask.from_array(comb), whole, size, options) == "too many pieces"


def test_unlabelled_surfaces_hide_too(tmp_path: Path) -> None:
    from amodal.data.scenes import project
    from scenes_make import scene_of

    parts = [TWO_SQUARES[0], ("loose", *square(2.0, 25, 20, 50, 44))]
    from scenes_make import camera

    found = project(scene_of(parts, loose=1), camera())
    assert found.visible[1].area == 540 and found.occluders(1) == {0: 180}
