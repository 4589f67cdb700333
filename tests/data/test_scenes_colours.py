"""Colours as the formats mean them: what a picture of the mesh shows, to the byte, and what is told where it shows less."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from amodal.core.image import encode_png
from amodal.geometry import Camera, Mesh
from amodal.geometry.readers import open_source
from amodal.geometry.readers.ply_look import mosaic
from amodal.geometry.render import Renderer
from amodal.geometry.texture import Atlas, to_srgb
from scenes_make import OBJ, SQUARE, gltf

VIEW = Camera.looking((0, 0, 4), (0, 0, 0), (100, 100), 100.0, up=(0, 1, 0))
"""Sees the square as 50 x 50 pixels in the middle."""
GREY = 217
"""What a surface without a look is: 0.7 in linear light."""
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUARTERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8).repeat(16, 0).repeat(16, 1)
"""A texture of four colours."""
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
"""glTF's texture coordinates of the square's corners."""


def seen(mesh: Mesh) -> list[tuple[int, ...]]:
    """The colours of the square's quarters: above left and right, below left and right."""
    picture = Renderer(mesh).paint(VIEW)[0]
    return [tuple(picture[y, x].tolist()) for y, x in ((38, 38), (38, 62), (62, 38), (62, 62))]


def shown(path: Path, told: str = "") -> list[tuple[int, ...]]:
    """What is `seen` of a file, whose one remark has `told` in it (empty: there is none)."""
    scene = open_source(path.suffix[1:], path).geometry(None)
    assert len(scene.remarks) == bool(told) and told in "".join(scene.remarks)
    return seen(scene)


def dressed(path: Path, kind: str, values: np.ndarray, material: dict | None = None, texture: bytes = b"") -> Path:
    """The square in glTF, with an attribute of its vertices and a material."""
    content = json.loads(gltf(path, SQUARE, [0, 1, 2, 0, 2, 3]).read_text())
    data = values.tobytes()
    content["buffers"].append({"byteLength": len(data), "uri": "data:;base64," + base64.b64encode(data).decode()})
    content["bufferViews"].append({"buffer": 1, "byteLength": len(data)})
    component = {"f": 5126, "B": 5121, "H": 5123}[values.dtype.char]
    row = {"bufferView": 2, "componentType": component, "count": 4, "type": f"VEC{values.shape[1]}"}
    content["accessors"].append({**row, "normalized": component != 5126})
    primitive = content["meshes"][0]["primitives"][0]
    primitive["attributes"][kind] = 2
    if material is not None:
        primitive["material"], content["materials"] = 0, [{"pbrMetallicRoughness": material}]
    if texture:
        content["textures"] = [{"source": 0}]
        content["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(texture).decode()}]
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "values", [np.full((4, 3), 0.5, "f4"), np.full((4, 4), 128, "u1"), np.full((4, 4), 32768, "u2")]
)
def test_gltf_colours_of_vertices_are_linear_as_factors_are(values: np.ndarray, tmp_path: Path) -> None:
    assert shown(dressed(tmp_path / "s.gltf", "COLOR_0", values)) == [(186, 186, 186)] * 4
    factor = {"baseColorFactor": [0.5, 0.5, 0.5, 1]}
    assert shown(dressed(tmp_path / "s.gltf", "TEXCOORD_0", UV, factor)) == [(186, 186, 186)] * 4


def test_colours_that_are_saved_are_read_again(tmp_path: Path) -> None:
    pytest.importorskip("trimesh", reason="needs the extra amodal[scenes]")
    colours = np.array([[3, 128, 250], [0, 10, 60], [255, 1, 20], [90, 91, 92]], np.uint8)
    Mesh.coloured(SQUARE, [[0, 1, 2], [0, 2, 3]], colours).save(tmp_path / "s.glb")
    scene = open_source("gltf", tmp_path / "s.glb").geometry(None)
    places = [int(np.abs(scene.vertices - corner).sum(axis=1).argmin()) for corner in SQUARE]
    assert scene.surface is not None and scene.surface.colours is not None and scene.remarks == ()
    assert np.array_equal(scene.surface.colours[places], colours)


def test_gltf_texture_coordinates_of_any_number(tmp_path: Path) -> None:
    material = {"baseColorTexture": {"index": 0, "texCoord": 2}}
    path = dressed(tmp_path / "s.gltf", "TEXCOORD_2", UV, material, encode_png(QUARTERS))
    assert shown(path) == [RED, GREEN, BLUE, WHITE]
    path = dressed(tmp_path / "s.gltf", "TEXCOORD_0", UV, material, encode_png(QUARTERS))
    assert shown(path, "material 0 has a texture at TEXCOORD_2, which its mesh lacks") == [(GREY,) * 3] * 4


def test_grey_textures_of_16_bits(tmp_path: Path) -> None:
    """As those of 8 bits, and not white wherever they are more than 255 of 65,535."""
    grey = (QUARTERS[..., 0].astype(np.uint16) // 3 + 40) * 257
    content = bytes(cv2.imencode(".png", grey)[1].tobytes())
    path = dressed(tmp_path / "s.gltf", "TEXCOORD_0", UV, {"baseColorTexture": {"index": 0}}, content)
    assert shown(path) == [(125,) * 3, (40,) * 3, (40,) * 3, (125,) * 3]


def ply(
    path: Path, vertex: str = "", rows: str = "", face: str = "", faces: tuple[str, str] = ("", ""), head=""
) -> Path:
    """The square as two triangles; more properties, with the same values at every vertex and each face's own."""
    properties = "".join(f"property {each}\n" for each in vertex.split(", ") if each)
    of_faces = "".join(f"property {each}\n" for each in face.split(", ") if each)
    corners = "".join(f"{x:g} {y:g} 0 {rows}\n" for x, y, _ in SQUARE.tolist())
    path.write_text(
        f"ply\nformat ascii 1.0\n{head}element vertex 4\nproperty float x\nproperty float y\nproperty float z\n{properties}"
        f"element face 2\nproperty list uchar int vertex_indices\n{of_faces}end_header\n{corners}"
        f"3 0 1 2 {faces[0]}\n3 0 2 3 {faces[1]}\n"
    )
    return path


@pytest.mark.parametrize(
    ("kind", "prefix", "values", "expected", "told"),
    [
        ("uchar", "", "255 50 7", (255, 50, 7), ""),
        ("uchar", "diffuse_", "255 50 7", (255, 50, 7), ""),
        ("ushort", "", "65535 32768 0", (255, 128, 0), ""),
        ("ushort", "", "255 50 7", (255, 50, 7), "255 is taken for white"),
        ("float", "", "1 0.5 0", (255, 128, 0), ""),
        ("float", "", "255 50 7", (255, 50, 7), ""),
        ("int", "", "255 50 7", (255, 50, 7), ""),
        ("int", "", "40000 50 7", (GREY,) * 3, "colours of vertices are not within 0 and 255; plain colour instead"),
    ],
)
def test_ply_colours(kind: str, prefix: str, values: str, expected: tuple, told: str, tmp_path: Path) -> None:
    names = ", ".join(f"{kind} {prefix}{name}" for name in ("red", "green", "blue"))
    assert shown(ply(tmp_path / "s.ply", names, values), told) == [expected] * 4
    told = told.replace("vertices", "faces")
    assert shown(ply(tmp_path / "s.ply", "", "", names, (values, values)), told) == [expected] * 4


def test_ply_faces_of_their_own_colours(tmp_path: Path) -> None:
    names = "uchar red, uchar green, uchar blue"
    path = ply(tmp_path / "s.ply", "", "", names, ("255 0 0", "0 0 255"))
    assert seen(open_source("ply", path).geometry(None))[3] == RED and shown(path)[0] == BLUE
    many = np.random.default_rng(0).integers(0, 256, (1000, 3), np.uint8)
    surface = mosaic(many)
    atlas = Atlas(surface.materials).sample(surface.material, surface.uv[:, 1], np.zeros(1000, np.float32))
    assert np.array_equal(np.rint(to_srgb(atlas)), many)


def test_ply_faces_show_the_texture_of_their_number(tmp_path: Path) -> None:
    for name, colour in (("red.png", RED), ("green.png", GREEN)):
        (tmp_path / name).write_bytes(encode_png(np.full((8, 8, 3), colour, np.uint8)))
    head, uv = "comment TextureFile red.png\ncomment TextureFile green.png\n", "6 0 0 1 0 1 1"
    face = "list uchar float texcoord, int texnumber"

    def quarters(first: int, second: int, told: str = "") -> tuple:
        path = ply(tmp_path / "s.ply", "", "", face, (f"{uv} {first}", f"{uv} {second}"), head)
        found = shown(path, told)
        return found[3], found[0]

    assert quarters(0, 1) == (RED, GREEN) and quarters(1, 0) == (GREEN, RED) and quarters(1, -1) == (GREEN, (GREY,) * 3)
    assert quarters(0, 7, "the texnumber of 1 triangles names none of 2 textures") == (RED, (GREY,) * 3)
    path = ply(tmp_path / "s.ply", "float s, float t", "0.5 0.5", "int texnumber", ("1", "0"), head)
    assert shown(path)[::3] == [RED, GREEN]
    path = ply(tmp_path / "s.ply", "float s, float t", "0.5 0.5", head=head)
    assert shown(path, "names 2 textures, and no face a texnumber; all show red.png") == [RED] * 4
    assert shown(ply(tmp_path / "s.ply", head=head), "has no texture coordinates; left out") == [(GREY,) * 3] * 4


def obj(path: Path, material: str, vertices: str = OBJ) -> Path:
    """The square in OBJ with texture coordinates and a material of these lines."""
    (path.parent / "q.png").write_bytes(encode_png(QUARTERS))
    (path.parent / "s.mtl").write_text(f"newmtl look\n{material}\n")
    used = "usemtl look\n" if material else ""
    corners = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    path.write_text(f"mtllib s.mtl\n{vertices}o thing\n{used}{corners}")
    return path


@pytest.mark.parametrize(
    ("line", "expected", "told"),
    [
        ("map_Kd q.png", [RED, GREEN, BLUE, WHITE], ""),
        ("map_kd q.png", [RED, GREEN, BLUE, WHITE], ""),
        ("map_Kd -o 0.5 0 0 q.png", [GREEN, RED, WHITE, BLUE], ""),
        ("map_Kd  -o  0.5  0.5   q.png", [WHITE, BLUE, GREEN, RED], ""),
        ("map_Kd -s 0.5 0.5 1 -clamp off -mm 0 1 -bm 1 q.png", [BLUE] * 4, ""),
        ("map_Kd q.png -s -1 1 1", [GREEN, RED, WHITE, BLUE], ""),
        ("map_Kd -s 0.5 0.5 -o 0.5 q.png", [WHITE] * 4, ""),
        ("map_Kd -clamp on q.png", [RED, GREEN, BLUE, WHITE], "-clamp of texture q.png is not understood; left out"),
        ("map_Kd -mm 0.1 1 q.png", [RED, GREEN, BLUE, WHITE], "-mm of texture"),
        ("map_Kd -type sphere q.png", [RED, GREEN, BLUE, WHITE], "-type of texture"),
        ("map_Kd -s 1e999 1 1 q.png", [RED, GREEN, BLUE, WHITE], "-s of texture"),
    ],
)
def test_obj_textures_are_scaled_and_shifted(line: str, expected: list, told: str, tmp_path: Path) -> None:
    assert shown(obj(tmp_path / "s.obj", line), told) == expected


def test_obj_colours_of_vertices(tmp_path: Path) -> None:
    """They stand for no material, tint a colour, and are none below a texture."""
    path = tmp_path / "s.obj"
    lines = OBJ.splitlines()
    orange = "".join(f"{line} 1 0.5 0\n" for line in lines)
    assert shown(obj(path, "", orange)) == [(255, 128, 0)] * 4
    assert shown(obj(path, "Kd 1 0 1", orange)) == [RED] * 4
    assert shown(obj(path, "map_Kd q.png", orange)) == [RED, GREEN, BLUE, WHITE]
    beyond = orange.replace("1 0.5 0\n", "255 128 0\n")
    assert shown(obj(path, "", beyond), "s.obj: colours of vertices must be within 0 and 1") == [(GREY,) * 3] * 4
    assert shown(obj(path, "", orange.replace("0.5 0\n", "nan 0\n")), "must be within 0 and 1") == [(GREY,) * 3] * 4
    longer = "".join(f"{line} 1 0.5 0 1\n" for line in lines)
    assert shown(obj(path, "", longer), "4 vertices have 5, or more than 6 numbers") == [(GREY,) * 3] * 4
    assert shown(obj(path, "", "".join(f"{line} 1.0\n" for line in lines))) == [(GREY,) * 3] * 4  # a weight


def test_obj_colours_in_one_file_of_a_folder(tmp_path: Path) -> None:
    """Each file's vertices keep their own: a file beyond 1 loses its colours alone."""
    for name, colour in (("a", " 0 0 1"), ("b", ""), ("c", " 255 0 0")):
        vertices = "".join(f"{line}{colour}\n" for line in OBJ.splitlines())
        (tmp_path / f"{name}.obj").write_text(vertices + "f 1 2 3 4\n")
    scene = open_source("obj", tmp_path).geometry(None)
    assert [seen(scene.keep(scene.owner == k))[0] for k in (1, 2, 3)] == [BLUE, (GREY,) * 3, (GREY,) * 3]
    assert len(scene.remarks) == 1 and scene.remarks[0].startswith("c.obj: colours of vertices")
