"""Piles: the same for the same seed, without intersections, with exact masks, into a scene too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from amodal.cli import run
from amodal.core.errors import DataError
from amodal.core.options import build_options
from amodal.data import dataset
from amodal.geometry.readers import open_source
from amodal.geometry.render import RenderOptions
from amodal.synthesis.scenes.piles import PileOptions, Piles
from amodal.synthesis.scenes.select import SelectOptions
from scenes_make import cube, sphere, write_obj

pytest.importorskip("embreex")

SMALL = {"width": 96, "height": 72, "objects": (5, 6), "spread": 0.05, "placing": "geometric"}


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    write_obj(folder / "ball_1.obj", [("ball", *sphere((0.1, 0, 0.2), 0.04, 8))])
    write_obj(folder / "brick.obj", [("brick", *cube((0, 0, 0), (0.12, 0.06, 0.04)))])
    bar, foot = cube((0, 0, 0.08), (0.15, 0.02, 0.1)), cube((0, 0, 0), (0.02, 0.02, 0.08))
    write_obj(folder / "hook.obj", [("hook", np.concatenate([bar[0], foot[0]]), np.concatenate([bar[1], foot[1] + 8]))])
    return folder


def piles(folder: Path, **settings) -> Piles:
    quick = build_options(RenderOptions, {"supersample": 1, "ambient_rays": 1, "shadow_rays": 1})
    chosen = build_options(SelectOptions, {"min_amodal": 40, "min_visible": 10})
    return Piles(folder, build_options(PileOptions, {**SMALL, **settings}), render=quick, chosen=chosen)


def columns(scene, count: int = 41) -> list[list[tuple[float, int]]]:
    """Per vertical ray of a grid all hits, lowest first: height and owner. Every ray against every triangle."""
    grid = np.linspace(-0.2, 0.2, count) + 1e-4
    x, y = (each.ravel() for each in np.meshgrid(grid, grid))
    hits: list[list[tuple[float, int]]] = [[] for _ in x]
    for face, owner in zip(scene.faces, scene.owner, strict=True):
        a, b, c = scene.vertices[face]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-15:
            continue
        u = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        v = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        for place in np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1)):
            height = a[2] + u[place] * (b[2] - a[2]) + v[place] * (c[2] - a[2])
            hits[place].append((float(height), int(owner)))
    return [sorted(each) for each in hits]


def test_nothing_intersects(objects: Path) -> None:
    """Placed by geometry: on every vertical line later objects are wholly above earlier ones; stacks of at least three occur."""
    highest = 0
    for index in range(8):
        scene, _ = piles(objects).scene(0, index)
        for hits in columns(scene):
            owners = [owner for _, owner in hits]
            assert owners == sorted(owners), f"pile {index}: {hits}"
            highest = max(highest, len(set(owners)))
        for instance in scene.instances[1:]:
            lowest = scene.vertices[scene.faces[scene.owner == instance.id]][..., 2].min()
            assert lowest > 0
    assert highest >= 4  # the table and three objects


def test_what_falls_rests_and_keeps_apart(objects: Path) -> None:
    """Above the table, out of each other's convex hulls, and the same every time; the geometric way is told apart."""
    pytest.importorskip("mujoco", reason="needs the extra amodal[physics]")
    highest = 0.0
    for index in range(2):
        scene, _ = piles(objects, placing="falling").scene(0, index)
        again, _ = piles(objects, placing="falling").scene(0, index)
        assert np.array_equal(scene.vertices, again.vertices)
        corners = {
            each.id: scene.vertices[np.unique(scene.faces[scene.owner == each.id])] for each in scene.instances[1:]
        }
        assert len(corners) >= 3
        for mine, points in corners.items():
            assert points[:, 2].min() > -1.1e-3
            highest = max(highest, float(points[:, 2].max()))
            for other, body in corners.items():
                if other != mine:
                    sides = ConvexHull(body).equations
                    assert (points @ sides[:, :3].T + sides[:, 3]).max(axis=1).min() > -2e-3
    assert highest > 0.08  # one lies on another
    assert piles(objects, placing="auto").options.placing == "falling"


def test_the_same_for_the_same_seed(objects: Path) -> None:
    first, again, other = (piles(objects).pair(seed, 3) for seed in (0, 0, 1))
    assert np.array_equal(first[0], again[0]) and not np.array_equal(first[0], other[0])
    assert [each.amodal for each in first[1]] == [each.amodal for each in again[1]]


def test_pairs_are_exact(objects: Path) -> None:
    seen = 0
    for index in range(4):
        image, samples = piles(objects).pair(0, index)
        assert image.shape == (72, 96, 3) and image.std() > 5
        for sample in samples:
            assert sample.amodal.contains(sample.visible)
            assert sample.amodal.clip(sample.size).area > 1.2 * sample.visible.area
            assert sample.extra["occluders"] and "table" not in sample.id
            seen += 1
    assert seen >= 2


def test_into_a_scene(objects: Path, tmp_path: Path) -> None:
    parts = [("Floor", *cube((-2, -2, -0.1), (2, 2, 0.0))), ("Desk", *cube((-1, -1, 0.7), (1, 1, 0.75)))]
    room = open_source("obj", write_obj(tmp_path / "room.obj", parts)).geometry(None)
    quick = build_options(RenderOptions, {"supersample": 1, "ambient_rays": 1, "shadow_rays": 1})
    found = Piles(objects, build_options(PileOptions, SMALL), into=room, render=quick)
    scene, _ = found.scene(0, 0)
    assert [each.name for each in scene.instances[:2]] == ["Floor", "Desk"] and len(scene.instances) >= 7
    lowest = scene.vertices[scene.faces[scene.owner > 2]][..., 2].min()
    assert 0 < lowest < 0.01 or 0.75 < lowest < 0.76
    steep = open_source("obj", write_obj(tmp_path / "ball.obj", [("ball", *sphere((0, 0, 0), 0.5, 12))])).geometry(None)
    with pytest.raises(DataError, match="has no flat place"):
        Piles(objects, into=steep).scene(0, 0)


def test_command_line(objects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "build", "piles", str(objects), "-o", str(tmp_path / "out"), "--count", "2"]
    command += [
        "--set",
        "width=192",
        "--set",
        "height=144",
        "--set",
        "objects=5,6",
        "--set",
        "spread=0.05",
        "--set",
        "placing=geometric",
    ]
    assert run(command) == 0
    images = {sample.image_id for sample in dataset("folder", tmp_path / "out")}
    assert len(images) == 2
    before = (tmp_path / "out" / "annotations.json").read_bytes()
    assert run([*command, "--resume"]) == 0 and (tmp_path / "out" / "annotations.json").read_bytes() == before
    assert run([*command, "--seed", "9"]) == 1
    assert "--force begins anew" in capsys.readouterr().err
    assert run(["data", "build", "piles", str(tmp_path / "out"), "-o", str(tmp_path / "x")]) == 1
    assert "holds no *.glb or *.obj" in capsys.readouterr().err
    big = tmp_path / "big"
    big.mkdir()
    write_obj(big / "wall.obj", [("wall", *cube((0, 0, 0), (5, 5, 0.1)))])
    with pytest.raises(DataError, match="raise spread, or scale it"):
        Piles(big).scene(0, 0)
