"""What a mask's pixels span and how they hang together, against plain definitions."""

import numpy as np
import pytest

from amodal.core.mask import Mask
from amodal.core.regions import connected, deepest, depth, joined, rings
from amodal.core.scaling import in_frame, to_bytes, to_unit

PICTURE = """
##...#
##....
..##..
...#.#
"""
BITS = np.array([[sign == "#" for sign in row] for row in PICTURE.split()])


def test_parts_are_joined_by_corners_too() -> None:
    parts = connected(Mask.from_array(BITS, (10, 20)))
    assert [part.area for part in parts] == [7, 1, 1] and parts[1].box == (15, 20, 16, 21)
    seeds = np.zeros_like(BITS)
    seeds[3, 3] = seeds[1, 4] = True  # the second is of no part
    assert np.array_equal(joined(BITS, seeds), parts[0].shift(-10, -20).to_array(BITS.shape))
    assert not joined(BITS, np.zeros_like(BITS)).any()


@pytest.mark.parametrize("exact", [True, False])
def test_depth_counts_from_the_nearest_pixel_outside(exact: bool) -> None:
    rng = np.random.default_rng(3)
    bits = rng.random((30, 40)) < 0.97
    outside = np.argwhere(~np.pad(bits, 1)) - 1
    nearest = [np.hypot(*(outside - place).T).min() for place in np.argwhere(bits)]
    found = depth(bits, exact=exact)
    assert np.allclose(found[bits], nearest, atol=1e-4 if exact else 0.5) and not found[~bits].any()
    column, row = (int(value - 0.5) for value in deepest(Mask.from_array(bits, (5, -7)), exact=exact))
    assert found[row + 7, column - 5] == found.max()


def test_borders_enclose_exactly_the_pixels() -> None:
    bits = BITS.copy()
    bits[2, 3] = False  # two pixels of one part touch at a corner, and there is a hole
    bits = np.pad(np.kron(bits, np.ones((2, 2), bool)), 1, constant_values=True)
    area = 0.0
    for ring in rings(bits):
        steps = np.abs(np.roll(ring, -1, axis=0) - ring).sum(axis=1)
        assert (steps == 1).all(), "closed, one pixel a step"
        (x, y), (u, v) = ring.T, np.roll(ring, -1, axis=0).T
        area += float((x * v - u * y).sum()) / 2
    assert area == bits.sum(), "outer borders count up, holes down"


def test_which_pixels_of_a_window_lie_in_the_frame() -> None:
    inside = in_frame((-1.0, 2.0), (4.0, 8.0), (4, 8), (5, 2))
    assert inside.shape == (4, 8)
    assert np.array_equal(np.argwhere(inside.any(axis=0))[:, 0], [2, 3, 4, 5])  # x in (0, 2), half a pixel a step
    assert np.array_equal(np.argwhere(inside.any(axis=1))[:, 0], [0])  # y in (0, 5), two pixels a step


def test_bytes_survive_the_networks_range() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    unit = to_unit(every)
    assert unit.dtype == np.float32 and unit.min() == -1 and unit.max() == 1
    assert np.array_equal(to_bytes(unit), every)
    assert to_bytes(np.array([-3, 3], np.float32)).tolist() == [0, 255]
