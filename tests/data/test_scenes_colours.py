"""Colours as the formats mean them: what a picture of the mesh shows, to the byte, and what is told where it shows less."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from amodal.core.image import encode_png
from amodal.geometry import Camera, Mesh
from amodal.geometry.readers import open_source
from amodal.geometry.render import Renderer
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


@pytest.mark.parametrize("values", [np.full((4, 3), 0.5, "f4"), np.full((4, 4), 128, "u1"), np.full((4, 4), 32768, "u2")])
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
