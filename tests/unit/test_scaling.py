"""Windows cut from large arrays, and small arrays stretched over many pixels."""

from __future__ import annotations

import gc

import cv2
import numpy as np
import pytest

from amodal.core.scaling import Levels, stretch
from amodal.core.soft_mask import SoftMask


def ramp(height, width, rows, columns):
    """What a linear ramp is when its (rows, columns) pixels are stretched over (height, width), and the ramp itself."""
    y, x = np.mgrid[:rows, :columns] + 0.5
    far_y, far_x = np.mgrid[:height, :width] + 0.5
    full = 3 * far_x * columns / width + 5 * far_y * rows / height
    return (3 * x + 5 * y).astype(np.float32), full


@pytest.mark.parametrize("full", [(97, 131), (400, 300), (2311, 1777)])  # warped, warped, resized
@pytest.mark.parametrize("cubic", [False, True])
def test_a_part_lies_where_it_belongs(full, cubic):
    values, expected = ramp(*full, 64, 48)
    place, size = (full[1] // 3, full[0] // 4), (full[0] // 3, full[1] // 2)
    part = stretch(values, full, place, size, cubic=cubic)
    window = expected[place[1] : place[1] + size[0], place[0] : place[0] + size[1]]
    pixel = 3 * 48 / full[1] + 5 * 64 / full[0]  # what the ramp changes within a pixel of the result
    assert part.shape == size
    assert np.abs(part - window).max() < 0.1 * pixel + (
        0.5 if cubic else 0.3
    )  # OpenCV's warp counts in 32nds of a pixel of the array


@pytest.mark.parametrize("place,size", [((0, 0), (1000, 1200)), ((1199, 999), (1, 1)), ((0, 990), (10, 7))])
def test_up_to_the_edges(place, size):
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    whole = cv2.resize(picture, (1200, 1000), interpolation=cv2.INTER_LINEAR)
    part = stretch(picture, (1000, 1200), place, size)
    assert np.array_equal(part, whole[place[1] : place[1] + size[0], place[0] : place[0] + size[1]])


def test_a_soft_mask_is_the_same_in_parts_and_whole():
    soft = SoftMask(np.random.default_rng(1).random((30, 40), np.float32), (-100, 50), (733, 911))
    whole = soft.crop(soft.box)
    part = soft.crop((13, 200, 400, 600))
    assert np.abs(part - whole[150:550, 113:500]).max() < 0.02


def test_windows_of_a_large_picture_are_averages():
    picture = np.random.default_rng(2).integers(0, 256, (1024, 1024, 3), np.uint8)
    cut = Levels(picture).cut(0, 0, 1024, 32)
    averages = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(cut.astype(int) - averages).max() <= 2
    beyond = Levels(picture).cut(-1024, 0, 1024, 8)
    assert not beyond.any()
    assert Levels(picture).cut(-1024, 0, 1024, 8, edge=True).any()


def test_levels_of_a_picture_are_shared_while_somebody_holds_them():
    picture = np.zeros((64, 64, 3), np.uint8)
    held = Levels.of(picture)
    assert Levels.of(picture) is held
    assert Levels.of(picture.copy()) is not held
    number = id(held)
    del held
    gc.collect()
    assert Levels.of(picture).arrays[0] is picture, number
