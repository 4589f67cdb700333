"""Formats as they are found: what is easily misread is read right, or refused in one line; mutants of every format too."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from amodal.core.errors import AmodalError, DataError
from amodal.core.options import build_options
from amodal.geometry import project
from amodal.geometry.cameras import read_list, with_photograph
from amodal.geometry.readers import ReaderOptions, open_source, read_mesh
from amodal.geometry.readers.mtl import texture_line
from amodal.geometry.readers.polygons import triangulate
from scenes_make import (
    OBJ,
    SQUARE,
    TWO_SQUARES,
    areas,
    camera,
    gltf,
    write_bop,
    write_glb,
    write_matterport,
    write_obj,
    write_scannet,
)


def test_polygons_keep_their_area() -> None:
    """Convex, concave and turned polygons of every size; a polygon with a notch is not its hull."""
    rng = np.random.default_rng(0)
    rings = [SQUARE[:, :2], np.array([[-1, -1], [0, -0.5], [1, -1], [0, 1.0]])]
    rings.append(np.array([[-1, -1], [1, -1], [1, 1], [0.5, 1], [0.5, -0.5], [-0.5, -0.5], [-0.5, 1], [-1, 1.0]]))
    for _ in range(20):
        count = int(rng.integers(5, 12))
        angle = (np.arange(count) + rng.uniform(0, 0.8, count)) * 2 * np.pi / count
        rings.append(np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.2, 1, (len(angle), 1)))
    rings += [ring[::-1] for ring in rings] + [SQUARE[:2, :2]]
    flat = np.concatenate(rings)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = np.column_stack([flat, np.zeros(len(flat))]) @ turn.T + [5, -3, 2]
    counts = np.array([len(ring) for ring in rings])
    triangles, whose = triangulate(points, np.arange(len(points)), counts)
    a, b, c = (flat[triangles[:, k]] for k in range(3))
    signed = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    for number, ring in enumerate(rings):
        following = np.roll(ring, -1, axis=0)
        exact = (ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]).sum() / 2
        mine = signed[whose == number]
        assert np.isclose(mine.sum(), exact if len(ring) > 2 else 0) and np.isclose(np.abs(mine).sum(), abs(mine.sum()))


OBJECTS = {
    "byte order mark": ("﻿o chair\n" + OBJ + "f 1 2 3 4\n", {"chair": 2500}),
    "continued line": ("o a\n" + OBJ + "f 1 2 \\\n3 4\n", {"a": 2500}),
    "comments": ("o a # seat\n" + OBJ + "f 1 2 3 4 # quad\n#f 1 2 3\n", {"a": 2500}),
    "next-line character": ("o caf\x85e\n" + OBJ + "f 1 2 3 4\n", {"caf\x85e": 2500}),
    "number signs": ("o chair #1\n" + OBJ + "f 1 2 3\no chair #2\nf 1 3 4\n", {"chair #1": 1275, "chair #2": 1225}),
    "carriage returns": ("o a b\r" + OBJ.replace("\n", "\r") + "f 1 2 3 4\r", {"a b": 2500}),
    "tabs": ("o\ta\n" + OBJ.replace(" ", "\t") + "f\t1\t2 3 4\n", {"a": 2500}),
    "concave": ("o u\nv -1 -1 0\nv 0 -.5 0\nv 1 -1 0\nv 0 1 0\nf 1 2 3 4\n", {"u": 938}),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_obj_as_it_is_written(case: str, tmp_path: Path) -> None:
    text, expected = OBJECTS[case]
    (tmp_path / "s.obj").write_bytes(text.encode())
    assert areas("obj", tmp_path / "s.obj") == expected


def test_obj_tells_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "s.obj").write_text("o a\n" + OBJ + "f 1 2 3 4\nf 1 2\nsurf 0 1 0 1 1 2 3\nl 1 2\n")
    scene = open_source("obj", tmp_path / "s.obj").geometry(None)
    assert any("1 faces have fewer than three corners" in line for line in scene.remarks)
    assert any("1 lines of kind 'surf'" in line for line in scene.remarks) and len(scene.remarks) == 2


def test_texture_names(tmp_path: Path) -> None:
    (tmp_path / "tex").mkdir()
    for name in ("red wood.png", "red.png"):
        (tmp_path / "tex" / name).write_bytes(b"")
    lines = ("tex/red wood.png", "-s 1 1 1 tex/red wood.png", "-o 0.5 tex/red wood.png", "tex\\red wood.png -bm 1")
    assert {texture_line(tmp_path, line)[0].name for line in lines} == {"red wood.png"}
    expected = tmp_path / "tex" / "red.png", {"-clamp": ["on"], "-s": ["1", "1"]}
    assert texture_line(tmp_path, "-clamp on -s 1 1 tex/red.png") == expected
    assert texture_line(tmp_path, "-clamp on tex\\red.png -s 1 1") == expected


def test_gltf_modes_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "s.gltf"
    assert areas("gltf", gltf(path, SQUARE, [0, 1, 2, 0, 2, 3])) == {"thing": 2500}
    assert areas("gltf", gltf(path, SQUARE, [0, 1, 2, 3], mode=6)) == {"thing": 2500}
    assert areas("gltf", gltf(path, SQUARE, [0, 1, 3, 2], mode=5)) == {"thing": 2500}
    quantised = {"extensionsRequired": ["KHR_mesh_quantization"], "accessor": {"normalized": True}}
    assert areas("gltf", gltf(path, SQUARE * 32767, [0, 1, 2, 0, 2, 3], component=5122, **quantised)) == {"thing": 2500}
    with pytest.raises(DataError, match="requires the extensions VENDOR_x"):
        areas("gltf", gltf(path, SQUARE, [0, 1, 2], extensionsRequired=["VENDOR_x"]))
    with pytest.raises(DataError, match="primitive mode 9 is unknown"):
        areas("gltf", gltf(path, SQUARE, [0, 1, 2], mode=9))


def test_gltf_sparse_morphs_and_instances(tmp_path: Path) -> None:
    path = tmp_path / "s.gltf"
    small = SQUARE / 2
    sparse = {"count": 4, "indices": {"bufferView": 2, "componentType": 5126}, "values": {"bufferView": 3}}
    sparse["indices"]["componentType"] = 5123
    more = np.concatenate([np.frombuffer(np.arange(4, dtype="<u2").tobytes(), "<f4"), SQUARE.ravel()])
    start = 48 + 12
    views = [
        {"buffer": 0, "byteOffset": start, "byteLength": 8},
        {"buffer": 0, "byteOffset": start + 8, "byteLength": 48},
    ]
    found = gltf(path, small, [0, 1, 2, 0, 2, 3], accessor={"sparse": sparse}, views=views, more=more)
    assert areas("gltf", found) == {"thing": 2500}
    shift = np.array([[0, 0, 0], [0, 0, -1], [100, 0, 0]], np.float32)
    instances = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 2}}}
    accessors = [{"bufferView": 2, "componentType": 5126, "count": 3, "type": "VEC3"}]
    found = gltf(
        path,
        small,
        [0, 1, 2, 0, 2, 3],
        node={"extensions": instances},
        accessors=accessors,
        views=[{"buffer": 0, "byteOffset": start, "byteLength": 36}],
        more=shift.ravel(),
        extensionsRequired=["EXT_mesh_gpu_instancing"],
    )
    assert areas("gltf", found) == {"thing_0": 625, "thing_1": 400, "thing_2": 0}


def test_gltf_draco(tmp_path: Path) -> None:
    """Packed primitives are unpacked; one that cannot be is told and the rest is read."""
    draco = pytest.importorskip("DracoPy", reason="needs the extra amodal[scenes]")
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.uint32)
    packed = draco.encode(SQUARE, faces, preserve_order=True)
    for data, expected in ((packed, 2), (packed[:8], 1)):
        path = gltf(tmp_path / "s.gltf", SQUARE, [0, 1, 2, 0, 2, 3])
        content = json.loads(path.read_text())
        text = "data:;base64," + __import__("base64").b64encode(data).decode()
        content["buffers"].append({"byteLength": len(data), "uri": text})
        content["bufferViews"].append({"buffer": 1, "byteLength": len(data)})
        extension = {"KHR_draco_mesh_compression": {"bufferView": 2, "attributes": {"POSITION": 0}}}
        content["accessors"] += [{"componentType": 5126, "count": 4, "type": "VEC3"}]
        content["meshes"].append({"primitives": [{"attributes": {"POSITION": 2}, "extensions": extension}]})
        content["meshes"][1]["primitives"][0] |= {"indices": 1, "mode": 5}  # what it was before it was packed
        content["nodes"].append({"name": "packed", "mesh": 1, "translation": [0, 0, -1]})
        content["scenes"][0]["nodes"] = [0, 1]
        path.write_text(json.dumps(content))
        scene = open_source("gltf", path).geometry(None)
        assert len(scene.instances) == expected and bool(scene.remarks) == (expected == 1)
        assert len(scene.faces) == 2 * expected
    assert "Draco data cannot be unpacked" in scene.remarks[0]


HEADER = (
    "ply\nformat {form} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nelement face {n}\n"
)


def test_ply_lists_and_quads(tmp_path: Path) -> None:
    corners = "".join(" ".join(map(str, row)) + "\n" for row in SQUARE.tolist())
    head = HEADER.format(form="ascii", n=2) + "property list uchar int vertex_indices\n"
    path = tmp_path / "thing.ply"
    path.write_text(head + "end_header\n" + corners + "3 0 1 2\n4 0 1 2 3\n")
    assert areas("ply", path) == {"thing": 2500}
    path.write_text(
        head
        + "property list uchar float texcoord\nend_header\n"
        + corners
        + "3 0 1 2 6 0 0 1 0 1 1\n3 0 2 3 6 0 0 1 1 0 1\n"
    )
    assert areas("ply", path) == {"thing": 2500}
    for order, form in (("<", "binary_little_endian"), (">", "binary_big_endian")):
        head = (
            HEADER.format(form=form, n=2)
            + "property int segment_id\nproperty list uchar int vertex_index\nend_header\n"
        )
        rows = struct.pack(order + "iB3i", 7, 3, 0, 1, 2) + struct.pack(order + "iB4i", 8, 4, 0, 1, 2, 3)
        path.write_bytes(head.encode() + SQUARE.astype(order + "f4").tobytes() + rows)
        assert areas("ply", path) == {"thing": 2500}
        assert len(read_mesh(path).faces) == 3
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="does not hold what its header promises"):
        read_mesh(path)


def test_labels_follow_the_faces_of_the_file(tmp_path: Path) -> None:
    """A house whose mesh has quads: labels count the file's faces, not the triangles."""
    from amodal.geometry.readers.ply import read_ply

    corners = "".join(" ".join(map(str, row)) + "\n" for row in SQUARE.tolist())
    head = (
        HEADER.format(form="ascii", n=2)
        + "property list uchar int vertex_indices\nproperty int segment_id\nend_header\n"
    )
    (tmp_path / "s.ply").write_text(head + corners + "4 0 1 2 3 5\n3 0 1 2 6\n")
    ply = read_ply(tmp_path / "s.ply")
    assert ply.polygon.tolist() == [0, 0, 1] and ply.polygons == 2
    assert ply.face_property("segment_id").tolist() == [5, 5, 6]


def picture(path: Path, width: int, height: int) -> Path:
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def test_cameras_fit_their_photographs(tmp_path: Path) -> None:
    half = with_photograph(camera(), picture(tmp_path / "half.png", 32, 24))
    assert half.size == (24, 32) and half.matrix[0].tolist() == [20, 0, 16]
    with pytest.raises(DataError, match=r"calibrated for 64 x 48 pixels and its photograph has 48 x 64"):
        with_photograph(camera(), picture(tmp_path / "turned.png", 48, 64))
    row = {"width": 64, "height": 48, "fx": 40, "fy": 40, "cx": 32, "cy": 24, "world_from_camera": np.eye(4).tolist()}
    rows = [{**row, "name": name, "image": f"{name}.png"} for name in ("half", "turned", "gone")]
    (tmp_path / "c.json").write_text(json.dumps(rows))
    cameras, failures = read_list(tmp_path / "c.json")
    assert [each.size for each in cameras] == [(24, 32)] and len(failures) == 2
    assert "no scaled copy" in failures[0] and "there is no photograph" in failures[1]
    (tmp_path / "c.json").write_text(json.dumps([{**row, "name": "../x"}, {**row, "name": "a"}, {**row, "name": "a"}]))
    with pytest.raises(DataError, match=r"stand for several cameras \(first: a\)"):
        read_list(tmp_path / "c.json")


def test_scannet_frames_smaller_than_the_calibration(tmp_path: Path) -> None:
    scan = write_scannet(tmp_path, TWO_SQUARES)
    (scan / "color").mkdir()
    picture(scan / "color" / "0.png", 32, 24)
    source = open_source("scannet", scan)
    scene, view = source.geometry(None), source.cameras[0]
    assert view.size == (24, 32) and view.image is not None
    assert sorted(mask.area for mask in project(scene, view).amodal.values()) == [156, 180]


def test_scannet_calibrations_of_unknown_pictures_are_refused(tmp_path: Path) -> None:
    scan = write_scannet(tmp_path, TWO_SQUARES)
    (scan / f"{scan.name}.txt").write_text("axisAlignment = 1 0 0 0\n")
    with pytest.raises(DataError, match=r"does not say colorWidth and colorHeight.*write both"):
        open_source("scannet", scan)


def seeds(root: Path) -> dict[str, Path]:
    """One small file of every kind, and the reader's argument."""
    made = {"obj": write_obj(root / "s.obj", TWO_SQUARES), "gltf": write_glb(root / "s.glb", TWO_SQUARES)}
    gltf(root / "t.gltf", SQUARE, [0, 1, 2, 0, 2, 3])
    made["scannet"] = write_scannet(root, TWO_SQUARES)
    made["matterport"] = write_matterport(root, TWO_SQUARES)
    made["bop"] = write_bop(root, TWO_SQUARES)
    return made


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """A damaged copy: bytes changed, cut, doubled, or numbers blown up."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data) or 1))
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + 1] = bytes([int(rng.integers(256))])
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            data[at:at] = data[at : at + int(rng.integers(1, 60))]
        elif kind == 3:
            data[at : at + 1] = [b"-1", b"99999999999", b"1e308", b"nan", b'"x"', b"[]", b"{}", b"null"][
                int(rng.integers(8))
            ]
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("kind", ["obj", "gltf", "text gltf", "ply", "scannet", "matterport", "bop"])
def test_mutants_are_read_or_refused(kind: str, tmp_path: Path, count: int = 60) -> None:
    made = seeds(tmp_path)
    reader, path = kind.rpartition(" ")[2], made.get(kind.rpartition(" ")[2])
    if kind == "text gltf":
        path = tmp_path / "t.gltf"
    if kind == "ply":
        path = next(tmp_path.rglob("*.ply"))
    assert path is not None
    files = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    rng = np.random.default_rng(0)
    options = build_options(ReaderOptions, {"max_faces": 100_000})
    for _ in range(count):
        file = files[int(rng.integers(len(files)))]
        content = file.read_bytes()
        file.write_bytes(mutate(content, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                source = open_source(reader, path, options=options)
                scene = source.geometry(source.cameras[0] if source.cameras else None)
                for view in source.cameras[:1]:
                    if max(view.size) <= 512:
                        project(scene, view)
            except AmodalError as error:
                assert str(error) and "\n" not in str(error)
        file.write_bytes(content)


ODD = (None, True, -1, 1.5, 1e308, 10**30, 99_999_999, "", "../x", [], {}, [1, 2, 3], "data:;base64,!!")


def places(value, above=()):
    """The way to every value within JSON."""
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in rows:
        yield (*above, key)
        yield from places(inner, (*above, key))


@pytest.mark.parametrize("kind", ["gltf", "scannet", "matterport", "bop"])
def test_odd_values_in_json_are_refused_or_told(kind: str, tmp_path: Path, count: int = 60) -> None:
    path = seeds(tmp_path)[kind] if kind != "gltf" else tmp_path / "t.gltf"
    if kind == "gltf":
        node = {"extensions": {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 0}}}, "camera": 0}
        look = {
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
            "textures": [{"source": 0}],
        }
        lens = {"cameras": [{"type": "perspective", "perspective": {"yfov": 1.0}}], "images": [{"uri": "gone.png"}]}
        gltf(path, SQUARE, [0, 1, 2, 0, 2, 3], node=node, **look, **lens)
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    rng = np.random.default_rng(0)
    for _ in range(count):
        file = files[int(rng.integers(len(files)))]
        before = file.read_text()
        content = json.loads(before)
        ways = list(places(content))
        *above, last = ways[int(rng.integers(len(ways)))]
        inner = content
        for key in above:
            inner = inner[key]
        inner[last] = ODD[int(rng.integers(len(ODD)))]
        file.write_text(json.dumps(content))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                source = open_source(kind, path)
                source.geometry(source.cameras[0] if source.cameras else None)
            except AmodalError as error:
                assert "\n" not in str(error)
        file.write_text(before)
