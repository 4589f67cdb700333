"""`amodal data build scenes`: from a configuration to a data set; resuming; pictures; selection; cameras in free space."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import Cancelled, DataError, OutputError
from amodal.core.image import encode_png, read
from amodal.core.mask import Mask
from amodal.core.options import build_options
from amodal.data import dataset
from amodal.engine.local import run_local
from amodal.geometry.cameras import CameraSampling, sample_cameras
from amodal.geometry.readers import open_source
from amodal.synthesis.scenes.build import build
from amodal.synthesis.scenes.config import read_config
from amodal.synthesis.scenes.select import SelectOptions, flaw
from reference import COCO
from reference import coco_mask as tools
from scenes_make import SIZE, TWO_SQUARES, cube, write_bop, write_camera_list, write_matterport, write_obj

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
        build(config, folder / "parts", progress=stop)
    assert not (folder / "parts" / "statistics.json").exists()
    rest = []
    again = build(config, folder / "parts", progress=lambda what, done, total: rest.append(done))
    assert rest[0] == 4 and again.views == whole.views == 7
    for name in ("train/annotations.json", "eval/annotations.json", "eval/COCO_amodal_val2014.json", "statistics.json"):
        assert (folder / "parts" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    for path in (folder / "whole" / "train" / "images").iterdir():
        assert (folder / "parts" / "train" / "images" / path.name).read_bytes() == path.read_bytes()
    other = config.model_copy(update={"jpeg": 50})
    with pytest.raises(OutputError, match="other settings"):
        build(other, folder / "parts")


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
        (*notes,) = report.notes
        assert ["no mask_visib/" in note for note in notes] == [True] * (kind == "photo")


def test_bop_pictures_that_were_scaled(tmp_path: Path) -> None:
    """Without a stated size they are refused; `camera_*.json` that agree state it."""
    scene = write_bop(tmp_path, TWO_SQUARES)
    picture = scene / "rgb" / "000001.png"
    picture.write_bytes(encode_png(np.full((2 * SIZE[0], 2 * SIZE[1], 3), 90, np.uint8)))
    text = "[select]\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n"
    (tmp_path / "c.toml").write_text(text + '[[scene]]\nkind = "bop"\npath = "test/000048"\n')
    with pytest.raises(DataError, match=r"a camera\.json beside the splits must state the size of cam_K"):
        build(read_config(tmp_path / "c.toml"), tmp_path / "refused")
    for name in ("camera_uw.json", "camera_cmu.json"):
        (tmp_path / name).write_text(json.dumps({"height": SIZE[0], "width": SIZE[1]}))
    report = build(read_config(tmp_path / "c.toml"), tmp_path / "scaled")
    assert report.views == 1
    (sample, *_) = dataset("folder", tmp_path / "scaled")
    assert sample.size == (2 * SIZE[0], 2 * SIZE[1])


def write_seen(scene: Path, row: int, mask: np.ndarray) -> None:
    """`mask_visib` of one object of picture 1."""
    (scene / "mask_visib").mkdir(exist_ok=True)
    (scene / "mask_visib" / f"000001_{row:06d}.png").write_bytes(encode_png(mask))


def test_bop_sees_what_the_label_images_see(tmp_path: Path) -> None:
    """A hand without a model hides the chair's upper half; a rendered picture has no hand."""
    scene = write_bop(tmp_path, TWO_SQUARES)
    chair = np.zeros(SIZE, bool)
    chair[20:32, 10:25] = True  # 180 of the 540 pixels that the table leaves
    chair[:4, :4] = True  # beside the model: left out
    write_seen(scene, 0, chair)
    text = '[select]\nmin_amodal = 40\nmin_visible = 10\nmax_open_edges = 1.0\n[[scene]]\nkind = "bop"\npath = "test/000048"\n'
    for kind, visible, hidden in (("photo", 180, {"(no object)": 360, "002_obj_000002": 180}), ("render", 540, None)):
        (tmp_path / "c.toml").write_text(f'pictures = "{kind}"\n' + text)
        report = build(read_config(tmp_path / "c.toml"), tmp_path / kind)
        (sample,) = dataset("folder", tmp_path / kind)
        assert (sample.amodal.area, sample.visible.area) == (720, visible)
        assert report.failures == []
        if hidden is None:
            assert report.notes == []
            continue
        assert {each["name"]: each["pixels"] for each in sample.extra["occluders"]} == hidden
        assert sample.occluder is not None and sample.occluder.overlap(sample.amodal) == 540
        (note,) = report.notes
        assert "objects have no picture in mask_visib/" in note
        assert report.statistics["notes"] == [note]


def test_bop_label_images_that_do_not_fit_are_told(tmp_path: Path) -> None:
    scene = write_bop(tmp_path, TWO_SQUARES)
    beside = np.zeros(SIZE, bool)
    beside[:8] = True
    write_seen(scene, 0, beside)
    write_seen(scene, 1, np.zeros(SIZE, bool))  # wholly hidden: a mask without a pixel is no fault
    (tmp_path / "c.toml").write_text('[[scene]]\nkind = "bop"\npath = "test/000048"\n')
    report = build(read_config(tmp_path / "c.toml"), tmp_path / "beside")
    assert report.samples == 0 and len(report.failures) == 1
    assert "of 1 objects (first: 001_obj_000001) more than a tenth" in report.failures[0]
    write_seen(scene, 1, np.zeros((24, 32), bool))
    with pytest.raises(
        DataError, match=r"view 000001: mask_visib/000001_000001\.png: .*32 x 24.*64 x 48.*mend it, or remove"
    ):
        build(read_config(tmp_path / "c.toml"), tmp_path / "small")


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


def test_the_papers_preset_keeps_what_the_rule_keeps() -> None:
    """No filter but the rule of section 3.2, floors too; what is set beside it comes on top."""
    paper, own = (build_options(SelectOptions, {"preset": name}) for name in ("paper", "own"))
    assert (paper.ratio, paper.min_amodal, paper.max_components, paper.structure) == (1.2, 1, None, True)
    assert own == build_options(SelectOptions, None)
    assert build_options(SelectOptions, {"preset": "paper", "min_amodal": 50}).min_amodal == 50
    for name in ("mp3d", "scannet"):
        config = read_config(Path(__file__).parents[2] / "examples" / f"{name}.toml")
        assert config.select == paper and len(config.scene) == 2
