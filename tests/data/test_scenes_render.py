"""Pictures: textures the right way up, light from above, shadows; completeness of meshes; missing textures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amodal.core.errors import DataError
from amodal.core.image import encode_png
from amodal.core.options import build_options
from amodal.geometry import Camera, Material, SceneGeometry, Surface, project
from amodal.geometry.camera import look_at
from amodal.geometry.readers import open_source
from amodal.geometry.render import Renderer, RenderOptions
from amodal.geometry.scene import open_edge_shares
from amodal.geometry.texture import Atlas
from scenes_make import SIZE, camera, cube, scene_of, sphere, square, write_obj

pytest.importorskip("embreex")


def options(**values) -> RenderOptions:
    return build_options(RenderOptions, {"noise": 0, **values})


def textured(path: Path) -> SceneGeometry:
    """A wall with a picture: red above, blue below; green at its left edge."""
    points, _ = square(2.0, 8, 8, 56, 40)
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16] = (230, 20, 20)
    picture[16:] = (20, 20, 230)
    picture[:, :12] = (20, 230, 20)
    (path / "p.png").write_bytes(encode_png(picture))
    (path / "m.mtl").write_text("newmtl wall\nmap_Kd p.png\n")
    lines = ["mtllib m.mtl", "o wall", "usemtl wall"] + ["v " + " ".join(map(repr, p)) for p in points.tolist()]
    lines += ["vt 0 1", "vt 1 1", "vt 1 0", "vt 0 0", "f 1/1 2/2 3/3 4/4"]
    (path / "wall.obj").write_text("\n".join(lines))
    return open_source("obj", path / "wall.obj").geometry(None)


def test_texture_is_the_right_way_up(tmp_path: Path) -> None:
    image = Renderer(textured(tmp_path), options()).render(camera()).astype(int)
    assert image.shape == (*SIZE, 3)
    for (row, column), channel in {(14, 40): 0, (34, 40): 2, (14, 12): 1, (34, 12): 1}.items():
        others = [image[row, column, k] for k in range(3) if k != channel]
        assert image[row, column, channel] > 2 * max(others)
    assert image[2, 2].min() > 150  # the sky


def test_the_picture_lies_on_the_masks(tmp_path: Path) -> None:
    scene = textured(tmp_path)
    image = Renderer(scene, options()).render(camera()).astype(int)
    coloured = image.min(axis=2) < 120  # the sky is bright in all channels, the wall dark in one
    assert np.array_equal(coloured, project(scene, camera()).amodal[1].to_array(SIZE))


def test_light_comes_from_above_and_casts_shadows() -> None:
    scene = scene_of([("floor", *cube((-3, -3, -0.1), (3, 3, 0))), ("box", *cube((-0.3, -0.3, 0.5), (0.3, 0.3, 0.9)))])
    pose = look_at(np.array([-3.0, 0.5, 2.0]), np.array([0.0, 0.0, 0.2]), np.array([0.0, 0.0, 1.0]))
    view = Camera.make("v", SIZE, [[50, 0, 32], [0, 50, 24], [0, 0, 1]], pose)
    renderer = Renderer(scene, options())
    assert renderer.lighting.sun is not None and renderer.lighting.sun[2] > 0.5
    image = renderer.render(view).astype(float).mean(axis=2)
    under = (
        view.matrix @ (view.cam_from_world @ [*(-0.5 / renderer.lighting.sun[2] * renderer.lighting.sun[:2]), 0, 1])[:3]
    )
    clear = view.matrix @ (view.cam_from_world @ [-1.2, 1.2, 0, 1])[:3]
    column, row = (under[:2] / under[2]).astype(int)
    free_column, free_row = (clear[:2] / clear[2]).astype(int)
    assert image[row, column] < 0.8 * image[free_row, free_column]
    assert np.array_equal(renderer.render(view, 5), renderer.render(view, 5))


def test_a_room_gets_lamps() -> None:
    walls = [cube((-3, -3, -0.1), (3, 3, 0)), cube((-3, -3, 2.6), (3, 3, 2.7)), cube((-3, -3, 0), (-2.9, 3, 2.6))]
    scene = scene_of([(f"part{k}", *wall) for k, wall in enumerate(walls)])
    renderer = Renderer(scene, options())
    assert renderer.lighting.sun is None and len(renderer.lighting.lamps) >= 2
    assert (renderer.lighting.lamps[:, 2] > 1.8).all() and (renderer.lighting.lamps[:, 2] < 2.6).all()


def test_small_copies_of_textures_keep_the_mean() -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (64, 32, 3), np.uint8)
    atlas = Atlas((Material((1, 1, 1), texture), Material((0.5, 0.25, 0.0))))
    uv = rng.random((500, 2)).astype(np.float32)
    zero = np.zeros(500, np.int32)
    far = atlas.sample(zero, uv, np.full(500, 2.0, np.float32))
    near = atlas.sample(zero, uv, np.full(500, 1e-4, np.float32))
    assert np.ptp(far, axis=0).max() < 1e-6 and near.std() > 0.1
    assert np.allclose(far.mean(0), ((texture / 255.0).mean((0, 1))) ** 2.2, atol=0.02)
    assert np.allclose(atlas.sample(zero + 1, uv, zero.astype(np.float32)), (0.5, 0.25, 0))
    centre = np.array([[(5 + 0.5) / 32, 1 - (9 + 0.5) / 64]], np.float32)
    assert np.allclose(atlas.sample(zero[:1], centre, np.zeros(1, np.float32)), (texture[9, 5] / 255) ** 2.2, atol=1e-3)


def test_completeness_of_meshes() -> None:
    ball, faces = sphere((3, 0, 0), 1, 12)
    split = ball[faces].reshape(-1, 3), np.arange(len(faces) * 3).reshape(-1, 3)  # no vertex is shared, as along seams
    parts = [
        ("closed", ball, faces),
        ("seams", *split),
        ("half", ball, faces[: len(faces) // 2]),
        ("flat", *square(2.0, 0, 0, 9, 9)),
    ]
    shares = [each.open_edges for each in scene_of(parts).instances]
    assert shares[0] < 0.02 and shares[1] < 0.02  # the poles' triangles have no width
    assert 0.02 < shares[2] < 0.1 and shares[3] == 0.8
    scene = scene_of(parts)
    assert np.array_equal(open_edge_shares(scene.faces, scene.owner, scene.vertices, at_once=10)[1:].round(4), shares)


def test_gltf_without_its_texture(tmp_path: Path) -> None:
    """A picture that is gone leaves the geometry as it is, in plain colour."""
    trimesh = pytest.importorskip("trimesh")
    points, faces = square(4.0, 10, 8, 40, 32)
    mesh = trimesh.Trimesh(points, faces, process=False)
    picture = __import__("PIL.Image", fromlist=["Image"]).new("RGB", (4, 4), "red")
    mesh.visual = trimesh.visual.TextureVisuals(np.zeros((4, 2)), image=picture)
    scene = trimesh.Scene()
    scene.add_geometry(mesh, node_name="poster")
    for name, content in trimesh.exchange.gltf.export_gltf(scene).items():
        (tmp_path / name).write_bytes(content)
    content = json.loads((tmp_path / "model.gltf").read_text())
    content["images"][0].pop("bufferView", None)
    content["images"][0]["uri"] = "gone.png"
    (tmp_path / "model.gltf").write_text(json.dumps(content))
    found = open_source("gltf", tmp_path / "model.gltf").geometry(None)
    assert project(found, camera()).amodal[1].area == 720
    assert any("texture" in remark for remark in found.remarks)


def test_grey_without_a_surface() -> None:
    scene = scene_of([("ball", *sphere((4, 0, 0), 1, 16))])
    assert scene.surface is None
    image = Renderer(scene, options()).render(camera())
    assert np.ptp(image[24, 32].astype(int)) <= 3
    with pytest.raises(DataError, match="faces name vertices that are not there"):
        scene_of([("odd", np.zeros((3, 3)), np.array([[0, 1, 7]]))])
    assert isinstance(Surface((), np.zeros(0, np.int32), np.zeros((0, 3, 2), np.float32)), Surface)


def test_obj_scene_renders_without_material(tmp_path: Path) -> None:
    scene = open_source("obj", write_obj(tmp_path / "s.obj", [("ball", *sphere((4, 0, 0), 1, 16))])).geometry(None)
    assert Renderer(scene, options(supersample=1)).render(camera()).std() > 5
