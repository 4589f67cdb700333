"""The closed-form scene through every reader and camera convention; bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amodal.core.errors import DataError, UnknownNameError
from amodal.core.options import build_options
from amodal.geometry import Camera, project
from amodal.geometry.cameras import read_list
from amodal.geometry.readers import ReaderOptions, open_source
from scenes_make import (
    FOCAL,
    HALF_OUT,
    LENS,
    MATRIX,
    SIZE,
    TWO_SQUARES,
    WORLD_FROM_CAM,
    add_glb_cameras,
    camera,
    half_out_exact,
    join,
    sphere,
    square,
    write_bop,
    write_camera_list,
    write_glb,
    write_glb_with_camera,
    write_matterport,
    write_obj,
    write_ply,
    write_scannet,
)

WALL_AND_BALL = [("ball_1", *sphere((5.0, 0, 0), 1.5, 24)), ("board_1", *square(1.0, -10, -10, 32, 60))]


def opened(kind: str, root: Path, parts):
    """The scene written in a format and read again: geometry, camera, projection."""
    if kind in ("matterport", "matterport poses", "matterport faces"):
        path = write_matterport(root, parts, conf=kind != "matterport poses", segments=kind != "matterport faces")
        source = open_source("matterport", path)
    elif kind == "scannet":
        source = open_source(kind, write_scannet(root, parts))
    elif kind == "bop":
        source = open_source(kind, write_bop(root, parts))
    elif kind == "gltf camera":
        options = build_options(ReaderOptions, {"picture": (SIZE[1], SIZE[0])})
        source = open_source("gltf", write_glb_with_camera(root / "s.glb", parts), options=options)
    else:
        path = write_glb(root / "s.glb", parts) if kind.startswith("gltf") else write_obj(root / "s.obj", parts)
        source = open_source(kind.split(maxsplit=1)[0], path)
    if kind.startswith(("gltf", "obj")) and kind != "gltf camera":
        convention = "opengl" if kind.endswith("opengl") else "opencv"
        cameras = read_list(write_camera_list(root / "cameras.json", convention))[0]
    else:
        cameras = list(source.cameras)
    assert len(cameras) == 1
    scene = source.geometry(cameras[0])
    return scene, cameras[0], named(scene, project(scene, cameras[0]), [name for name, *_ in parts])


def named(scene, found, names):
    """The projection with ids 1, 2, ... in the order of `names`: formats list objects in orders of their own."""
    if all(each.label.startswith("obj_") for each in scene.instances):
        return found  # BOP knows objects by number
    heads = [name.split("_")[0] for name in names]
    ids = {each.id: next(k for k, head in enumerate(heads, 1) if head in each.label) for each in scene.instances}
    labels = np.vectorize(lambda value: ids.get(value, 0))(found.labels)
    return replace(found, labels=labels, amodal={ids[key]: mask for key, mask in found.amodal.items()})


KINDS = [
    "matterport",
    "matterport poses",
    "matterport faces",
    "scannet",
    "gltf",
    "gltf opengl",
    "gltf camera",
    "obj",
    "obj opengl",
    "bop",
]


@pytest.mark.parametrize("kind", KINDS)
def test_two_squares_through_every_reader(kind: str, tmp_path: Path) -> None:
    if kind.startswith("gltf"):
        pytest.importorskip("trimesh")
    scene, view, found = opened(kind, tmp_path, TWO_SQUARES)
    assert view.size == SIZE and np.allclose(view.matrix, MATRIX)
    assert len(scene.instances) == 2
    assert found.amodal[1].box == (10, 8, 40, 32) and found.amodal[2].box == (25, 20, 50, 44)
    rows = found.visible[1].to_array(SIZE).sum(axis=1)
    assert rows.tolist() == [0] * 8 + [30] * 12 + [15] * 12 + [0] * 16
    assert np.isclose(found.depth[10, 12], 4.0)


@pytest.mark.parametrize("kind", KINDS)
def test_ball_and_cube_through_every_reader(kind: str, tmp_path: Path) -> None:
    if kind.startswith("gltf"):
        pytest.importorskip("trimesh")
    (tmp_path / "a").mkdir()
    _, _, found = opened(kind, tmp_path / "a", WALL_AND_BALL)
    reference = project(*reference_scene(WALL_AND_BALL))
    difference = found.amodal[1].to_array(SIZE) ^ reference.amodal[1].to_array(SIZE)
    assert difference.sum() <= 2  # files hold float32
    assert abs(found.visible[1].area * 2 - found.amodal[1].area) <= 2 and found.visible[1].box[0] == 32
    (tmp_path / "b").mkdir()
    _, _, found = opened(kind, tmp_path / "b", HALF_OUT)
    assert np.array_equal(found.amodal[1].to_array(SIZE), half_out_exact())


def reference_scene(parts):
    from scenes_make import scene_of

    return scene_of(parts), camera()


def test_labels_and_categories(tmp_path: Path) -> None:
    scene, view, _ = opened("matterport", tmp_path, TWO_SQUARES)
    assert [(each.label, each.category) for each in scene.instances] == [
        ("dining chair", "chair"),
        ("dining table", "table"),
    ]
    assert view.image is not None and view.name == "0f37bd0737e349de9d536263a4bd32aa_i1_2"
    walls = [
        ("my_shop_RetailShopWall_01_001", *square(3.0, 0, 0, 9, 9)),
        ("my_shop_ChairB_01_003", *square(2.0, 0, 0, 9, 9)),
    ]
    scene = open_source("obj", write_obj(tmp_path / "s.obj", walls)).geometry(None)
    assert [(each.label, each.category, each.structure) for each in scene.instances] == [
        ("RetailShopWall", "RetailShopWall", True),
        ("ChairB", "Chair", False),
    ]


def labelled(house: Path, categories: str = "") -> tuple[list[tuple[str, str, bool]], tuple[str, ...]]:
    options = build_options(ReaderOptions, {"categories": categories})
    scene = open_source("matterport", house, options=options).geometry(None)
    return [(each.label, each.category, each.structure) for each in scene.instances], scene.remarks


@pytest.mark.parametrize("empty", ["", None])
def test_matterport_objects_without_a_label_in_semseg_have_that_of_the_house(empty: str | None, tmp_path: Path) -> None:
    house = write_matterport(tmp_path, TWO_SQUARES)
    file = house / "house_segmentations" / "17DRP5sb8fy.semseg.json"
    content = json.loads(file.read_text())
    content["segGroups"][0]["label"] = empty
    file.write_text(json.dumps(content))
    found, remarks = labelled(house)
    assert found == [("dining chair", "chair", False), ("dining table", "table", False)] and remarks == ()
    (
        house / "house_segmentations" / "17DRP5sb8fy.house"
    ).unlink()  # then the faces know: category_id 1 of the first object
    found, remarks = labelled(house)
    assert found == [("unlabeled", "unlabeled", True), ("dining table", "dining table", False)]
    assert "1 objects have no label but a row of category_mapping.tsv" in remarks[0]


def test_matterport_faces_name_rows_of_the_table(tmp_path: Path) -> None:
    """The rows by the column index; without it by their place, which is told."""
    house = write_matterport(tmp_path, TWO_SQUARES, segments=False)
    (house / "house_segmentations" / "17DRP5sb8fy.house").unlink()
    table = tmp_path / "category_mapping.tsv"
    table.write_text("index\traw_category\tmpcat40\n2\tside table\ttable\n1\tarm chair\tchair\n")
    found, remarks = labelled(house, str(table))
    assert found == [("arm chair", "chair", False), ("side table", "table", False)]
    assert len(remarks) == 1 and "taken from the mesh's own face properties" in remarks[0]
    table.write_text("raw_category\tmpcat40\narm chair\tchair\n")
    found, remarks = labelled(house, str(table))
    assert found == [("arm chair", "chair", False), ("unlabeled", "unlabeled", True)]
    assert "has no column index; its rows are counted from 1" in remarks[1]
    assert "the faces of 1 objects name a row that" in remarks[2]
    table.write_text("index\traw_category\tmpcat40\none\tarm chair\tchair\n")
    with pytest.raises(DataError, match="the column index must hold whole numbers"):
        labelled(house, str(table))
    vertices, faces, _ = join(TWO_SQUARES)
    table.write_text("index\traw_category\tmpcat40\n2\tside table\ttable\n1\tarm chair\tchair\n")
    mesh = house / "house_segmentations" / "17DRP5sb8fy.ply"
    write_ply(mesh, vertices, faces, {"face_segment": [7, 7, 7, 9], "face_category": [2, 1, 2, -1]})
    found, remarks = labelled(house, str(table))
    assert found == [("side table", "table", False), ("unlabeled", "unlabeled", True)]
    assert "1 times the faces of an object name a second category" in remarks[1]


def test_convention_matterport_conf_counts_rows_from_the_bottom(tmp_path: Path) -> None:
    """cy = 10 in the file is 10 rows above the picture's lower edge; the camera looks along -z with y up."""
    house = write_matterport(tmp_path, TWO_SQUARES)
    conf = next(house.glob("undistorted_camera_parameters/*.conf"))
    text = conf.read_text().replace(f"{SIZE[0] - 24.0}", "10")
    conf.write_text(text)
    view = open_source("matterport", house).cameras[0]
    assert view.matrix[1, 2] == SIZE[0] - 10
    assert np.allclose(view.cam_from_world, np.linalg.inv(WORLD_FROM_CAM))
    point = view.matrix @ (view.cam_from_world @ [2.0, -0.5, 0.25, 1])[:3]  # right of the axis and above it
    assert np.allclose(point[:2] / point[2], [32 + 0.25 * FOCAL, 38 - 0.125 * FOCAL])


def test_convention_matterport_poses_look_along_z(tmp_path: Path) -> None:
    house = write_matterport(tmp_path, TWO_SQUARES, conf=False)
    view = open_source("matterport", house).cameras[0]
    assert np.allclose(view.cam_from_world, np.linalg.inv(WORLD_FROM_CAM))
    assert view.matrix[0, 2] == 32 and view.matrix[1, 2] == 24  # 31.5 and 23.5 in the file: integer pixel centres


def test_convention_gltf_cameras_look_along_minus_z(tmp_path: Path) -> None:
    """yfov spans the height; the aspect ratio sets the width; units are scaled; bad cameras are told, the others kept."""
    pytest.importorskip("trimesh")
    side = {"perspective": {"yfov": np.pi / 2, "aspectRatio": 1.5, "znear": 0.1}, "type": "perspective"}
    flat = {"type": "orthographic", "orthographic": {"xmag": 1, "ymag": 1, "zfar": 9, "znear": 0}}
    cameras = [
        LENS,
        side,
        flat,
        {"type": "perspective", "perspective": {"yfov": 0.0, "znear": 1}},
        {"type": "perspective"},
    ]
    nodes = [{"name": "plain", "camera": 0}, {"name": "high", "camera": 1, "translation": [1, 2, 3]}]
    nodes += [{"name": name, "camera": number} for name, number in (("map", 2), ("shut", 3), ("void", 4), ("gone", 9))]
    nodes += [
        {"name": "dot", "camera": 0, "scale": [1, 0, 1]},
        {"name": "plain", "camera": 0},
        {"name": "unused", "camera": 0},
    ]
    path = add_glb_cameras(write_glb(tmp_path / "s.glb", TWO_SQUARES), nodes, cameras, list(range(8)))
    options = build_options(ReaderOptions, {"picture": (64, 48), "scale": 10})
    source = open_source("gltf", path, options=options)
    plain, high, twin = source.cameras
    assert (plain.name, high.name) == ("plain", "high") and twin.name.startswith("plain_")
    assert plain.size == (48, 64) and np.allclose(plain.matrix, MATRIX)
    assert high.size == (48, 72) and np.allclose(high.matrix, [[24, 0, 36], [0, 24, 24], [0, 0, 1]])
    assert np.allclose(high.position, [10, 20, 30])
    assert np.allclose((high.cam_from_world @ [10, 21, 28, 1])[:3], [0, -1, 2])  # up in the world is up in the picture
    told = [
        "map is orthographic",
        "shut: yfov is 0",
        "void is malformed",
        "gone is malformed",
        "dot: the pose is singular",
    ]
    assert len(source.failures) == 5
    assert all(text in line for text, line in zip(told, source.failures, strict=True))


def test_gltf_objects_below_a_camera_stay(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    path = write_glb(tmp_path / "s.glb", TWO_SQUARES)
    nodes = [{"name": "rig", "camera": 0, "children": [1], "translation": [1, 0, 0]}, {"name": "lamp", "mesh": 0}]
    scene = open_source("gltf", add_glb_cameras(path, nodes, [LENS], [0])).geometry(None)
    ids = {each.name: each.id for each in scene.instances}
    assert set(ids) == {"chair_1", "table_1", "rig"}
    rig, chair = (scene.vertices[scene.faces[scene.owner == ids[name]]].mean((0, 1)) for name in ("rig", "chair_1"))
    shift, twin = (
        rig - chair + [0.5 - 1, -0.25, 1],
        scene.vertices[scene.faces[scene.owner == ids["table_1"]]].mean((0, 1)) - chair,
    )
    assert np.allclose(shift, 0, atol=1e-6) or np.allclose(shift, twin, atol=1e-6)  # mesh 0 is either of the two


def test_gltf_mirrored_nodes_keep_their_front(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    nodes = [{"name": "plain", "mesh": 0}, {"name": "mirrored", "mesh": 0, "scale": [1, -1, 1]}]
    path = add_glb_cameras(write_glb(tmp_path / "s.glb", TWO_SQUARES), nodes, [], [0, 1])
    scene = open_source("gltf", path).geometry(None)
    fronts = []
    for name in ("plain", "mirrored"):
        identity = next(each.id for each in scene.instances if each.name == name)
        a, b, c = scene.vertices[scene.faces[scene.owner == identity][0]]
        fronts.append(np.sign(np.cross(b - a, c - a)[0]))
    assert fronts[0] == fronts[1] != 0


def test_scannet_lost_tracking_is_told(tmp_path: Path) -> None:
    source = open_source("scannet", write_scannet(tmp_path, TWO_SQUARES))
    assert len(source.cameras) == 1
    assert source.failures == ("camera 1: the pose is not finite (lost tracking); the view is left out",)


BAD_CAMERAS = {
    "focal": ({"fx": 0}, "focal length (0, 40) must be above 0"),
    "singular": ({"world_from_camera": np.diag([1.0, 1, 0, 1]).tolist()}, "singular"),
    "mirrored": ({"world_from_camera": np.diag([1.0, 1, -1, 1]).tolist()}, "no rotation"),
    "lost": ({"world_from_camera": np.full((4, 4), -np.inf).tolist()}, "lost tracking"),
    "shape": ({"world_from_camera": [1, 2, 3]}, "needs a 3x3 matrix and a 4x4 pose"),
    "empty": ({"width": 0}, "0 x 48 pixels"),
    "axes": ({"convention": "blender"}, "it must be opencv or opengl"),
}


@pytest.mark.parametrize("case", BAD_CAMERAS)
def test_bad_cameras_are_told_and_the_others_kept(case: str, tmp_path: Path) -> None:
    change, text = BAD_CAMERAS[case]
    path = write_camera_list(tmp_path / "cameras.json", "opencv")
    good = json.loads(path.read_text())[0]
    path.write_text(json.dumps([{**good, **change, "name": "bad"}, good]))
    cameras, failures = read_list(path)
    assert [each.name for each in cameras] == ["v"]
    assert len(failures) == 1 and text in failures[0] and "bad" in failures[0]


def test_bad_meshes(tmp_path: Path) -> None:
    name, points, faces = TWO_SQUARES[0]
    broken = points.copy()
    broken[0] = np.nan
    nan = write_obj(tmp_path / "nan.obj", [(name, broken, faces), TWO_SQUARES[1]])
    scene = open_source("obj", nan).geometry(None)
    assert len(scene.instances) == 1 and "2 of 4 faces have NaN" in scene.remarks[1]
    assert "objects have no faces (first: chair_1)" in scene.remarks[2]
    assert "missing.mtl is missing; grey instead" in scene.remarks[0]
    empty = write_obj(tmp_path / "empty.obj", [(name, points, np.zeros((0, 3), int))])
    with pytest.raises(DataError, match=r"has no faces; is it a point cloud\?"):
        open_source("obj", empty)
    (tmp_path / "odd.obj").write_text("v 0 0 zero\n")
    with pytest.raises(DataError, match="line 1: cannot understand 'v 0 0 zero'"):
        open_source("obj", tmp_path / "odd.obj")
    with pytest.raises(DataError, match=r"more than max_faces = 1"):
        open_source("obj", nan, options=build_options(ReaderOptions, {"max_faces": 1}))
    with pytest.raises(DataError, match="there is no"):
        open_source("obj", tmp_path / "absent.obj")
    with pytest.raises(UnknownNameError, match="did you mean 'gltf'"):
        open_source("glft", nan)


def test_bad_labels(tmp_path: Path) -> None:
    house = write_matterport(tmp_path, TWO_SQUARES)
    folder = house / "house_segmentations"
    labels = folder / "17DRP5sb8fy.fsegs.json"
    labels.write_text(json.dumps({"segIndices": [0, 0, 7]}))
    with pytest.raises(DataError, match="has 3 labels, the mesh 4 faces; they must belong together"):
        open_source("matterport", house)
    labels.unlink()
    vertices, faces, _ = join(TWO_SQUARES)
    write_ply(folder / "17DRP5sb8fy.ply", vertices, faces)
    with pytest.raises(DataError, match="has no labels"):
        open_source("matterport", house)
    scan = write_scannet(tmp_path, TWO_SQUARES)
    next(scan.glob("*.segs.json")).write_text(json.dumps({"segIndices": [1]}))
    with pytest.raises(DataError, match="has 1 labels, the mesh 8 vertices"):
        open_source("scannet", scan)
    next(scan.glob("*.aggregation.json")).unlink()
    with pytest.raises(DataError, match="has no labels"):
        open_source("scannet", scan)


@pytest.mark.parametrize("keep", [3, 60, 300, -5])
def test_cut_ply(keep: int, tmp_path: Path) -> None:
    house = write_matterport(tmp_path, TWO_SQUARES)
    mesh = house / "house_segmentations" / "17DRP5sb8fy.ply"
    mesh.write_bytes(mesh.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"17DRP5sb8fy\.ply"):
        open_source("matterport", house)


def test_cut_glb(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    path = write_glb(tmp_path / "s.glb", TWO_SQUARES)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot read .*s\.glb"):
        open_source("gltf", path)


def test_bop_bad_pose_is_remarked(tmp_path: Path) -> None:
    folder = write_bop(tmp_path, TWO_SQUARES)
    truth = json.loads((folder / "scene_gt.json").read_text())
    truth["1"][0]["cam_R_m2c"] = [0] * 9
    truth["1"].append({"obj_id": 99, "cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 1]})
    (folder / "scene_gt.json").write_text(json.dumps(truth))
    source = open_source("bop", folder)
    scene = source.geometry(source.cameras[0])
    assert len(scene.instances) == 1
    assert "singular or no rotation" in scene.remarks[0] and "there is no model" in scene.remarks[1]


def test_obj_texture_and_folder(tmp_path: Path) -> None:
    """A folder of files without names: each file is an object; a missing texture is remarked on."""
    for name, points, faces in TWO_SQUARES:
        lines = ["mtllib m.mtl", "usemtl red"] + ["v " + " ".join(map(repr, p)) for p in points.tolist()]
        lines += ["vt 0 0", "f " + " ".join(f"{i - 4}/-1" for i in range(4))]
        (tmp_path / f"{name}.obj").write_text("\n".join(lines))
        del faces
    (tmp_path / "m.mtl").write_text("newmtl red\nKd 1 0 0\nmap_Kd gone.png\n")
    scene = open_source("obj", tmp_path).geometry(None)
    assert [each.name for each in scene.instances] == ["chair_1", "table_1"]
    assert "texture gone.png of material red is missing or damaged" in scene.remarks[0]
    assert project(scene, camera()).visible[1].area == 540


def test_camera_scaled_and_rays() -> None:
    double = camera().scaled(2)
    assert double.size == (96, 128) and double.matrix[0, 2] == 64
    assert np.allclose(camera().rays([[32, 24]]), [[1, 0, 0]]) and isinstance(double, Camera)
