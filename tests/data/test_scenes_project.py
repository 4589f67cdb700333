"""Projection: closed-form areas, agreement with a brute-force ray caster, exactness, beyond the frame, occluders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amodal.core.mask import Mask
from amodal.geometry import Camera, SceneGeometry, project
from amodal.synthesis.scenes.select import depth_order, order_graph
from amodal.synthesis.scenes.view import describe
from scenes_make import FOCAL, HALF_OUT, SIZE, TWO_SQUARES, camera, cube, half_out_exact, scene_of, sphere, square


def brute_force(scene: SceneGeometry, view: Camera) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Labels (H, W) and amodal masks by testing every ray against every triangle (Moeller and Trumbore, 1997)."""
    height, width = view.size
    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    rays, origin = view.rays(grid), view.position
    nearest = np.full(len(rays), np.inf)
    labels = np.zeros(len(rays), int)
    amodal = {each.id: np.zeros(len(rays), bool) for each in scene.instances}
    for face, owner in zip(scene.faces, scene.owner, strict=True):
        a, b, c = scene.vertices[face]
        side, other = b - a, c - a
        p = np.cross(rays, other)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / (p @ side)
            u = (p @ (origin - a)) * inverse
            q = np.cross(origin - a, side)
            v = (rays @ q) * inverse
            t = (other @ q) * inverse
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
        if owner:
            amodal[owner] |= hit
        closer = hit & (t < nearest)
        nearest[closer], labels[closer] = t[closer], owner
    return labels.reshape(view.size), {key: bits.reshape(view.size) for key, bits in amodal.items()}


def test_two_squares_to_the_pixel() -> None:
    found = project(scene_of(TWO_SQUARES), camera())
    chair, table = found.amodal[1], found.amodal[2]
    assert chair.box == (10, 8, 40, 32) and chair.area == 30 * 24
    assert table.box == (25, 20, 50, 44) and table.area == 25 * 24
    assert found.visible[2] == table
    assert found.visible[1].area == 720 - 15 * 12
    rows = found.visible[1].to_array(SIZE).sum(axis=1)
    assert rows.tolist() == [0] * 8 + [30] * 12 + [15] * 12 + [0] * 16
    assert found.occluders(1) == {2: 180} and found.occluders(2) == {}
    assert np.isclose(found.depth[10, 12], 4.0) and np.isclose(found.depth[40, 45], 2.0) and found.depth[0, 0] == 0


def test_visible_masks_of_the_data_sets_own() -> None:
    """Chair: columns 10 to 39, rows 8 to 31; table in front: columns 25 to 49, rows 20 to 43."""
    found = project(scene_of(TWO_SQUARES), camera())
    chair, table = Mask.from_box((20, 18, 45, 28)), Mask.from_box((27, 0, 50, 40))
    both = found.with_seen({1: chair, 2: table, 9: chair})
    assert both.visible[2] == table & found.amodal[2]  # where both claim a pixel, the nearer surface has it
    assert both.visible[1] == (chair & found.amodal[1]) - both.visible[2]  # columns 25 and 26 too, which the table hid
    assert both.occluders(2) == {1: 2 * 8, 0: 2 * 16 + 23 * 4}
    alone = found.with_seen({1: chair})
    assert alone.visible[1] == chair & found.amodal[1]
    assert alone.visible[2] == found.amodal[2] - alone.visible[1]  # without a mask: what no mask has
    assert np.array_equal(found.with_seen({}).labels, found.labels)


def test_sphere_behind_a_wall() -> None:
    """The outline of a sphere on the axis is a circle with tan(angle) = r / sqrt(d^2 - r^2); a wall hides the left half."""
    wall = square(1.0, -10, -10, 32, 60)
    found = project(scene_of([("ball", *sphere((5.0, 0, 0), 1.5)), ("wall", *wall)]), camera())
    radius = FOCAL * 1.5 / np.sqrt(25 - 2.25)
    columns, rows = np.meshgrid(np.arange(64) + 0.5 - 32, np.arange(48) + 0.5 - 24)
    exact = columns**2 + rows**2 <= radius**2
    assert (found.amodal[1].to_array(SIZE) != exact).sum() <= 4  # the ball is a polyhedron
    assert found.visible[1].area * 2 == found.amodal[1].area
    assert found.visible[1].box[0] == 32
    assert found.occluders(1) == {2: found.amodal[1].area // 2}


def test_cube_half_out_of_the_frame() -> None:
    """A cube whose front has its middle on the left edge; its right side is seen at a slant. Row by row as in closed form."""
    scene = scene_of(HALF_OUT)
    exact = half_out_exact(beyond=32)
    inside = project(scene, camera())
    assert inside.amodal[1] == inside.visible[1]
    assert np.array_equal(inside.amodal[1].to_array(SIZE), exact[:, 32:])
    beyond = project(scene, camera(), beyond=0.5)
    assert np.array_equal(beyond.amodal[1].crop((-32, 0, 64, 48)), exact)
    assert beyond.amodal[1].box[0] == -10 and beyond.amodal[1].area == inside.amodal[1].area + 10 * 20
    assert beyond.visible == inside.visible


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_brute_force(seed: int) -> None:
    """Random triangles on all sides, many across the camera plane."""
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(12):
        centre = rng.normal(0, 2.5, 3)
        parts.append((f"o{k}", centre + rng.normal(0, 1.0, (9, 3)), np.arange(9).reshape(3, 3)))
    scene = scene_of(parts, loose=2)
    view = camera(position=rng.normal(0, 0.3, 3))
    labels, amodal = brute_force(scene, view)
    found = project(scene, view)
    assert np.array_equal(found.labels, labels)
    for identity, bits in amodal.items():
        mask = found.amodal.get(identity)
        assert np.array_equal(mask.to_array(SIZE) if mask else np.zeros(SIZE, bool), bits)


def test_embree_agrees(seed: int = 3) -> None:
    pytest.importorskip("embreex")
    from amodal.geometry.rays import Caster

    scene = scene_of([("ball", *sphere((4.0, 0.2, 0.1), 1.0, 24)), ("cube", *cube((2.5, -0.6, -0.9), (3.0, 0.1, 0.2)))])
    view = camera()
    grid = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5), -1).reshape(-1, 2)
    caster = Caster(scene.vertices, scene.faces)
    distance, face = caster.first(np.tile(view.position, (len(grid), 1)), view.rays(grid))
    labels = np.where(face >= 0, scene.owner[face], 0).reshape(SIZE)
    found = project(scene, view)
    assert (labels != found.labels).mean() < 2e-3  # float32 against float64 at outlines
    both = (labels == found.labels) & (labels > 0)
    assert np.allclose(distance.reshape(SIZE)[both], found.depth[both], rtol=1e-3)
    assert caster.blocked(np.zeros((2, 3)), np.array([[4.0, 0, 0], [-4.0, 0, 0]]), 1.0).tolist() == [True, False]


def test_no_ray_slips_between_triangles() -> None:
    """A finely divided wall whose edges pass exactly through pixel centres has no holes."""
    x, y = np.meshgrid(np.arange(-1, 66), np.arange(-1, 50))
    points = np.stack([np.full(x.size, 3.0), -(x.ravel() - 31.5) / FOCAL * 3, -(y.ravel() - 23.5) / FOCAL * 3], 1)
    index = np.arange(67 * 51).reshape(51, 67)
    a, b, c, d = (i.ravel() for i in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    found = project(scene_of([("wall", points, faces)]), camera())
    assert found.amodal[1].area == SIZE[0] * SIZE[1] and (found.labels == 1).all()


def test_visible_is_exact_and_inside_amodal() -> None:
    rng = np.random.default_rng(1)
    parts = [
        (f"b{k}", *cube(tuple(p), tuple(p + rng.uniform(0.1, 1, 3)))) for k, p in enumerate(rng.uniform(-3, 3, (40, 3)))
    ]
    found = project(scene_of(parts), camera(position=(-3, 0, 0)), beyond=0.3)
    for identity, visible in found.visible.items():
        assert visible.area == (found.labels == identity).sum()
        assert found.amodal[identity].contains(visible)
        assert sum(found.occluders(identity).values()) == found.amodal[identity].clip(SIZE).area - visible.area
    assert sum(each.area for each in found.visible.values()) == (found.labels > 0).sum()


def test_order_graph() -> None:
    parts = [
        ("c", *square(6.0, 10, 10, 40, 30)),
        ("b", *square(4.0, 20, 12, 45, 28)),
        ("a", *square(2.0, 30, 14, 50, 26)),
    ]
    found = project(scene_of(parts), camera())
    graph = order_graph(found)
    assert set(graph[1]) == {2, 3} and set(graph[2]) == {3} and graph[3] == {}
    assert depth_order(graph) == {3: 1, 2: 2, 1: 3}
    assert set(depth_order({1: {2: 5}, 2: {1: 5}})) == {1, 2}  # a tie does not run for ever
    circle = {1: {2: 9}, 2: {3: 9}, 3: {1: 9}}
    around = {4: {1: 5, 2: 1}, 5: {4: 3, 0: 7}, 6: {}, 7: {6: 2}}
    assert depth_order({**circle, **around}) == {1: 1, 2: 1, 3: 1, 4: 2, 5: 3, 6: 1, 7: 2}
    assert depth_order({}) == {}


def test_the_occluder_has_every_hidden_pixel() -> None:
    """Many small things, each of which hides too little to be named, hide a third of a square."""
    small = [
        (f"s{k}", *square(2.0, 12 + 4 * (k % 7), 10 + 4 * (k // 7), 13 + 4 * (k % 7), 13 + 4 * (k // 7)))
        for k in range(35)
    ]
    scene = scene_of([TWO_SQUARES[0], ("big", *square(3.0, 38, 8, 50, 32)), *small])
    found = project(scene, camera())
    (sample, _) = describe(scene, found, [1, 2], Path("photo.jpg"), "view", 0.02, False)
    assert sample.occluders == ("view-big",) and len(sample.extra["occluders"]) == 1
    assert sample.occluded.area == 48 + 105
    assert sample.occluder == found.visible[2] | sample.occluded


def test_camera_inside_and_across() -> None:
    """A camera inside of a cube sees it everywhere, although all its faces cross the camera plane or lie behind it."""
    found = project(scene_of([("cube", *cube((-1, -1, -1), (1, 1, 1)))]), camera())
    assert found.amodal[1].area == SIZE[0] * SIZE[1]
    behind = project(scene_of([("cube", *cube((-5, -1, -1), (-3, 1, 1)))]), camera())
    assert behind.amodal == {} and (behind.faces == -1).all()


def test_unlabelled_surfaces_hide_too() -> None:
    parts = [TWO_SQUARES[0], ("loose", *square(2.0, 25, 20, 50, 44))]
    found = project(scene_of(parts, loose=1), camera())
    assert found.visible[1].area == 540 and found.occluders(1) == {0: 180}
