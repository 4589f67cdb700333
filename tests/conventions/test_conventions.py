"""One test per line of docs/conventions.md."""

import io

import numpy as np
import pytest
from PIL import Image as PILImage

import amodal
from amodal.errors import PromptError
from amodal.image import encode_png, read, read_mask
from amodal.mask import Mask
from amodal.prompt import Prompt


def test_convention_images_are_rgb_upright():
    buffer = io.BytesIO()
    picture = PILImage.new("RGB", (3, 2), (250, 100, 1))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(buffer, "PNG", exif=exif)
    image = read(buffer.getvalue())
    assert image.shape == (3, 2, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [250, 100, 1]


def test_convention_point_is_x_y_and_pixels_are_half_open():
    prompt = Prompt.make(point=(19.9, 0))
    prompt.check((10, 20))
    with pytest.raises(PromptError):
        Prompt.make(point=(20, 0)).check((10, 20))
    with pytest.raises(PromptError):
        Prompt.make(point=(0, 10)).check((10, 20))


def test_convention_box_is_half_open():
    assert Mask.from_box((2, 1, 5, 3)).area == 6
    assert Mask.from_box((2, 1, 5, 3)).box == (2, 1, 5, 3)


def test_convention_size_is_height_width():
    assert Mask.from_box((0, 0, 1, 1)).to_array((4, 7)).shape == (4, 7)
    assert amodal.load()(np.zeros((4, 7, 3), np.uint8), box=(0, 0, 3, 2)).size == (4, 7)


def test_convention_mask_files_mark_the_object_white_above_one_half():
    levels = np.array([[0, 127, 128, 255]], np.uint8)
    assert read_mask(encode_png(levels)).to_array((1, 4)).tolist() == [[False, False, True, True]]


def test_convention_mask_is_crop_and_origin_that_may_be_negative():
    mask = Mask.from_array([[0, 0], [0, 1]], origin=(-5, -3))
    assert mask.origin == (-4, -2) and mask.bits.shape == (1, 1)


def test_convention_occluded_is_amodal_minus_visible(photo, disc_visible):
    result = amodal.load("hull")(photo, mask=disc_visible)
    assert result.occluded == result.amodal - result.visible
    assert result.amodal.contains(result.visible)


def test_convention_rgba_is_straight_and_empty_outside(photo, disc_visible):
    result = amodal.load("hull")(photo, mask=disc_visible)
    assert np.array_equal(result.rgba[..., 3], result.amodal.bits * np.uint8(255))
    assert not result.rgba[~result.amodal.bits].any()


def test_convention_rle_is_column_major_zeros_first():
    assert Mask.from_array([[0, 1], [1, 1]]).to_rle((2, 2)) == {"size": [2, 2], "counts": "13"}


def test_convention_iou_of_empty_masks_is_one():
    empty = Mask.from_array([[False]])
    assert empty.iou(empty) == 1.0
