"""Legal files that are seldom: addresses, skeletons and fallbacks of glTF, strips of PLY, faces of OBJ without a name."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from amodal.core.errors import DataError
from amodal.core.options import build_options
from amodal.geometry import Camera, project
from amodal.geometry.cameras import read_list
from amodal.geometry.readers import ReaderOptions, open_source
from scenes_make import (
    MATRIX,
    OBJ,
    SIZE,
    SQUARE,
    TWO_SQUARES,
    WORLD_FROM_CAM,
    areas,
    gltf,
    write_bop,
    write_camera_list,
    write_matterport,
    write_scannet,
)


def changed(path: Path, **more) -> dict:
    """The square's file as JSON, with more as `gltf` takes it."""
    content: dict = json.loads(gltf(path, SQUARE, [0, 1, 2, 0, 2, 3], **more).read_text())
    return content


@pytest.mark.parametrize("form", ["base64", "escaped base64", "plain"])
def test_gltf_data_addresses(form: str, tmp_path: Path) -> None:
    """Addresses may be escaped anywhere, and need not be base64 (RFC 2397)."""
    path = tmp_path / "s.gltf"
    content = changed(path)
    buffer = content["buffers"][0]
    head, _, text = buffer["uri"].partition(",")
    if form == "escaped base64":
        buffer["uri"] = f"{head}," + "".join(f"%{ord(c):02X}" if c in "+/=8g" else c for c in text)
    elif form == "plain":
        buffer["uri"] = "data:application/octet-stream," + "".join(f"%{byte:02x}" for byte in base64.b64decode(text))
    path.write_text(json.dumps(content))
    assert areas("gltf", path) == {"thing": 2500}


def test_gltf_packed_views_with_plain_data_are_read(tmp_path: Path) -> None:
    """What `gltfpack -cf` writes: the plain data lie in a buffer that readers of the packed data need not load."""
    path = tmp_path / "s.gltf"
    content = changed(path, extensionsUsed=["EXT_meshopt_compression"])
    packing = {"buffer": 0, "byteLength": 9, "byteStride": 12, "count": 4, "mode": "ATTRIBUTES"}
    content["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": packing}
    content["buffers"][0]["extensions"] = {"EXT_meshopt_compression": {"fallback": True}}
    path.write_text(json.dumps(content))
    assert areas("gltf", path) == {"thing": 2500}
    del content["buffers"][0]["uri"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="packed by EXT_meshopt_compression, which is not read"):
        open_source("gltf", path)


def test_gltf_second_buffer_without_an_address_is_refused(tmp_path: Path) -> None:
    """The chunk of a GLB is its first buffer's alone."""
    path = tmp_path / "s.glb"
    content = changed(path)
    data = base64.b64decode(content["buffers"][0]["uri"].partition(",")[2])
    content["buffers"] = [{"byteLength": len(data)}, {"byteLength": len(data)}]
    for buffer in (0, 1):
        content["bufferViews"][0]["buffer"] = buffer
        text = json.dumps(content).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        if buffer == 0:
            assert areas("gltf", path) == {"thing": 2500}
    with pytest.raises(DataError, match=r"buffer 1 has no address \(uri\)"):
        open_source("gltf", path)


def test_gltf_rotations_of_short_integers_keep_the_size(tmp_path: Path) -> None:
    """A quarter turn in bytes is (0, 0, 90, 90) / 127, which is longer than 1."""
    path = tmp_path / "s.gltf"
    content = changed(path, node={"rotation": [0, 0, 90 / 127, 90 / 127], "scale": [50, 50, 50]})
    path.write_text(json.dumps(content))
    vertices = open_source("gltf", path).geometry(None).vertices
    assert np.allclose(np.linalg.norm(vertices, axis=1), 50 * np.sqrt(2), atol=1e-5)


def skinned(path: Path, joints: int = 2, weight: float = 0.5) -> Path:
    """The square in centimetres, 50 cm too high, on two joints of a rig in metres that undo both; its node is elsewhere."""
    content = changed(path)
    corners = (SQUARE * 100 + [0, 0, 50]).astype("<f4").tobytes()
    which, weights = np.tile([0, 1, 0, 0], (4, 1)).astype("u1"), np.tile([weight, weight, 0, 0], (4, 1)).astype("<f4")
    undo = np.eye(4)
    undo[2, 3] = -50
    binds = np.stack([undo.T] * 2).astype("<f4")[:joints]
    data = base64.b64decode(content["buffers"][0]["uri"].partition(",")[2])
    data = corners + data[48:] + b"\0" * (-len(data) % 4)
    for values, component, kind in ((which, 5121, "VEC4"), (weights, 5126, "VEC4"), (binds, 5126, "MAT4")):
        content["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes})
        view = len(content["bufferViews"]) - 1
        content["accessors"].append(
            {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        )
        data += values.tobytes()
    content["buffers"][0] = {
        "byteLength": len(data),
        "uri": "data:;base64," + base64.b64encode(data).decode(),
    }
    content["meshes"][0]["primitives"][0]["attributes"] |= {"JOINTS_0": 2, "WEIGHTS_0": 3}
    content["skins"] = [{"joints": [2, 3][:joints], "inverseBindMatrices": 4}]
    content["nodes"] = [
        {"name": "thing", "mesh": 0, "skin": 0, "translation": [5, 5, 5], "scale": [3, 3, 3]},
        {"name": "rig", "scale": [0.01, 0.01, 0.01], "children": [2, 3]},
        {"name": "left", "translation": [100, 0, 0]},
        {"name": "right", "translation": [-100, 0, 0]},
    ]
    content["scenes"] = [{"nodes": [0, 1]}]
    path.write_text(json.dumps(content))
    return path


def test_gltf_skeletons_place_their_mesh(tmp_path: Path) -> None:
    """Half of each joint is the middle of both; the node of a mesh with a skin does not move it."""
    path = skinned(tmp_path / "s.gltf")
    scene = open_source("gltf", path).geometry(None)
    assert np.allclose(scene.vertices, SQUARE) and scene.remarks == ()
    assert areas("gltf", path) == {"thing": 2500}


@pytest.mark.parametrize(
    ("given", "told"),
    [({"joints": 1}, "hang on joint 1, and its skeleton has 1"), ({"weight": 0.0}, "hang on no joint")],
)
def test_gltf_bad_skeletons_are_told(given: dict, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        open_source("gltf", skinned(tmp_path / "s.gltf", **given))


@pytest.mark.parametrize("kind", ["scannet", "matterport", "matterport poses"])
def test_cameras_have_the_units_of_their_scene(kind: str, tmp_path: Path) -> None:
    """Scans in other units: `reader.scale` makes metres of meshes and of the poses beside them."""
    name, _, poses = kind.partition(" ")
    there = WORLD_FROM_CAM.copy()
    there[:3, 3] = (1.0, 0.5, 0.25)
    if name == "scannet":
        path = write_scannet(tmp_path, TWO_SQUARES)
        file, before, after = path / "pose" / "0.txt", WORLD_FROM_CAM, there
    else:
        path = write_matterport(tmp_path, TWO_SQUARES, not poses)
        folder = "matterport_camera_poses" if poses else "undistorted_camera_parameters"
        (file,) = (path / folder).iterdir()
        turn = np.diag([1.0, 1, 1, 1] if poses else [1.0, -1, -1, 1])
        before, after = WORLD_FROM_CAM @ turn, there @ turn
    numbers = [" ".join(map(repr, each.reshape(-1).tolist())) for each in (before, after)]
    text = file.read_text() if file.suffix == ".conf" else " ".join(file.read_text().split())
    assert text.count(numbers[0]) == 1
    file.write_text(text.replace(*numbers))
    found = []
    for scale in (1.0, 0.001):
        source = open_source(name, path, options=build_options(ReaderOptions, {"scale": scale}))
        seen = project(source.geometry(None), source.cameras[0])
        found.append([mask for _, mask in sorted(seen.amodal.items())])
        assert np.isclose(seen.depth.max(), scale * 3)
    assert found[0] == found[1] and found[0][0].area > 500


def test_obj_faces_before_the_first_name_are_an_object(tmp_path: Path) -> None:
    path = tmp_path / "room.obj"
    path.write_text(OBJ + "f 1 2 3 4\no far\nv 0 0 1\nv 1 0 1\nv 0 1 1\nf -3 -2 -1\n")
    assert areas("obj", path) == {"room": 2500, "far": 561}


@pytest.mark.parametrize("line", ["f 1 2 3 7", "f -1 -2 -3 -7"])
def test_obj_faces_name_vertices_of_their_own_file(line: str, tmp_path: Path) -> None:
    """In a folder, numbers beyond a file's vertices are none of another file."""
    (tmp_path / "a.obj").write_text(OBJ + "f 1 2 3 4\n")
    (tmp_path / "b.obj").write_text(f"{OBJ}{line}\n")
    (tmp_path / "c.obj").write_text(OBJ + "f 1 2 3 4\n")
    with pytest.raises(DataError, match=r"b\.obj: faces name vertices that are not there \(of 4\)"):
        open_source("obj", tmp_path)


def test_obj_texture_coordinates_of_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(OBJ + "vt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\n")
    (tmp_path / "b.obj").write_text(OBJ + "vt 0 0\nf 1/-1 2/-2 3/-3\n")
    with pytest.raises(DataError, match=r"b\.obj: faces name texture coordinates that are not there"):
        open_source("obj", tmp_path)


PLY = "ply\nformat {form} 1.0\ncomment of the end_header mark\nelement vertex 4\n" + "".join(
    f"property float {axis}\n" for axis in "xyz"
)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_ply_line_ends(form: str, end: str, tmp_path: Path) -> None:
    """A header's lines end as the first does, and the mark of its end stands at the beginning of a line; x begins with a line feed."""
    path = tmp_path / "thing.ply"
    head = PLY.format(form=form) + "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    points = SQUARE.astype("<f4").copy()
    points[0, 0] = np.frombuffer(b"\n\0\x80\xbf", "<f4")[0]  # -1.0000012, whose first byte is a line feed
    text = "".join(" ".join(map(str, row)) + "\n" for row in SQUARE.tolist()) + "4 0 1 2 3\n"
    binary = points.tobytes() + struct.pack("<B4i", 4, 0, 1, 2, 3)
    body = text.replace("\n", end).encode() if form == "ascii" else binary
    path.write_bytes(head.replace("\n", end).encode() + body)
    assert areas("ply", path) == {"thing": 2500}


def test_ply_strips_in_place_of_faces(tmp_path: Path) -> None:
    """-1 begins another strip; corners that are named twice join strips by triangles without area."""
    path = tmp_path / "thing.ply"
    head = PLY.format(form="ascii") + "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    corners = "".join(" ".join(map(str, row)) + "\n" for row in SQUARE.tolist())
    for row, faces in (("4 0 1 3 2", 2), ("7 0 1 2 -1 0 2 3", 2), ("6 0 1 3 3 2 2", 1)):
        path.write_text(f"{head}{corners}{row}\n")
        scene = open_source("ply", path).geometry(None)
        assert len(scene.faces) == faces and scene.remarks == ()
        normals = np.cross(*(scene.corners[:, k] - scene.corners[:, 0] for k in (1, 2)))
        assert (normals[:, 2] > 0).all(), "every triangle shows its front to +z"


def test_ply_without_faces_says_what_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "thing.ply"
    corners = "".join(" ".join(map(str, row)) + "\n" for row in SQUARE.tolist())
    head = PLY.format(form="ascii") + "element multi_patch 1\nproperty list int int vertex_indices\nend_header\n"
    path.write_text(f"{head}{corners}4 0 1 3 2\n")
    with pytest.raises(DataError, match="is it a point cloud.*multi_patch are not read"):
        open_source("ply", path)


def test_bop_without_pictures_needs_their_size(tmp_path: Path) -> None:
    scene = write_bop(tmp_path, TWO_SQUARES)
    (scene / "rgb" / "000001.png").unlink()
    (told,) = open_source("bop", scene).failures
    assert "no picture in rgb or gray" in told and "states its size" in told
    (tmp_path / "camera.json").write_text(json.dumps({"height": SIZE[0], "width": SIZE[1]}))
    (camera,) = open_source("bop", scene).cameras
    assert camera.size == SIZE


def test_matterport_sizes_are_not_guessed_without_photographs(tmp_path: Path) -> None:
    """A calibration that is not of pictures of the usual size needs the photograph, which tells its own."""
    path = write_matterport(tmp_path, TWO_SQUARES)
    (photo,) = (path / "undistorted_color_images").iterdir()
    assert open_source("matterport", path).cameras[0].size == SIZE
    photo.unlink()
    source = open_source("matterport", path)
    assert source.cameras == () and "its camera's middle is (32, 24)" in source.failures[0]
    conf = path / "undistorted_camera_parameters" / "17DRP5sb8fy.conf"
    conf.write_text(conf.read_text().replace("40.0 0 32  0 40.0 24.0", "800.0 0 640  0 800.0 512.0"))
    (camera,) = open_source("matterport", path).cameras
    assert camera.size == (1024, 1280)


@pytest.mark.parametrize("lens", [{"k1": -0.2}, {"skew": 1}, {"distortion": [0, 0, 0.01]}])
def test_lists_of_cameras_have_pinholes(lens: dict, tmp_path: Path) -> None:
    """Photographs of a lens that bends would not lie on masks of a pinhole."""
    path = write_camera_list(tmp_path / "cameras.json", "opencv")
    (row,) = json.loads(path.read_text())
    (key,) = lens
    harmless = {**row, "k1": 0, "distortion": [0.0, 0.0], "skew": None, "time": 7, "camera_model": "OPENCV"}
    round_about = {**row, "name": "round", "camera_model": "EQUIRECTANGULAR"}
    path.write_text(
        json.dumps([{**row, **lens, "name": "bent"}, harmless, round_about, {**row, "name": "half", "width": 32.5}])
    )
    cameras, (told, model, size) = read_list(path)
    assert [each.name for each in cameras] == ["v"]
    assert told.startswith(f"camera bent: {key} is not 0; cameras of a list are pinholes")
    assert model == "camera round: its model is EQUIRECTANGULAR; cameras of a list are pinholes"
    assert size == "camera half: width 32.5 and height 48 must be whole numbers of pixels"


def test_transposed_matrices_are_refused() -> None:
    for matrix in (MATRIX.T, MATRIX / 10, np.vstack([MATRIX[:2], np.zeros(3)])):
        with pytest.raises(DataError, match=r"must be \[0, fy, cy\] and \[0, 0, 1\]"):
            Camera.make("v", SIZE, matrix, np.eye(4))
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    assert Camera.make("v", SIZE, MATRIX, pose).position.tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="is the pose transposed"):
        Camera.make("v", SIZE, MATRIX, pose.T)
