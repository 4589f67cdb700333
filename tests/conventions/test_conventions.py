"""One test per line of docs/conventions.md."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

import amodal
from amodal.core.errors import PromptError
from amodal.core.image import encode_png, read, read_mask
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt
from amodal.geometry.camera import Camera
from amodal.geometry.mesh import Mesh
from amodal.geometry.project import nearest_faces

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"
PINNED: list[str] = []


def pins(line: str):
    """Marks the test of a line of the page, told by its first column."""
    PINNED.append(line)
    return lambda test: test


def test_every_line_of_the_page_has_a_test():
    lines = re.findall(r"^\| (?!what )([^|]+?) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(PINNED) == sorted(lines)


@pins("image")
def test_convention_images_are_rgb_upright():
    buffer = io.BytesIO()
    picture = PILImage.new("RGB", (3, 2), (250, 100, 1))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(buffer, "PNG", exif=exif)
    image = read(buffer.getvalue())
    assert image.shape == (3, 2, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [250, 100, 1]


@pins("point")
def test_convention_point_is_x_y_and_pixels_are_half_open():
    prompt = Prompt.make(point=(19.9, 0))
    prompt.check((10, 20))
    with pytest.raises(PromptError):
        Prompt.make(point=(20, 0)).check((10, 20))
    with pytest.raises(PromptError):
        Prompt.make(point=(0, 10)).check((10, 20))


@pins("box")
def test_convention_box_is_half_open():
    assert Mask.from_box((2, 1, 5, 3)).area == 6
    assert Mask.from_box((2, 1, 5, 3)).box == (2, 1, 5, 3)


@pins("size")
def test_convention_size_is_height_width():
    assert Mask.from_box((0, 0, 1, 1)).to_array((4, 7)).shape == (4, 7)
    assert amodal.load()(np.zeros((4, 7, 3), np.uint8), box=(0, 0, 3, 2)).size == (4, 7)


@pins("mask")
def test_convention_mask_files_mark_the_object_white_above_one_half():
    levels = np.array([[0, 127, 128, 255]], np.uint8)
    assert read_mask(encode_png(levels)).to_array((1, 4)).tolist() == [[False, False, True, True]]


@pins("`Mask`")
def test_convention_mask_is_crop_and_origin_that_may_be_negative():
    mask = Mask.from_array([[0, 0], [0, 1]], origin=(-5, -3))
    assert mask.origin == (-4, -2) and mask.bits.shape == (1, 1)


@pins("amodal, visible, occluded")
def test_convention_occluded_is_amodal_minus_visible(photo, disc_visible):
    result = amodal.load("hull")(photo, mask=disc_visible)
    assert result.occluded == result.amodal - result.visible
    assert result.amodal.contains(result.visible)


@pins("RGBA")
def test_convention_rgba_is_straight_and_empty_outside(photo, disc_visible):
    result = amodal.load("hull")(photo, mask=disc_visible)
    assert np.array_equal(result.rgba[..., 3], result.amodal.bits * np.uint8(255))
    assert not result.rgba[~result.amodal.bits].any()


@pins("RLE")
def test_convention_rle_is_column_major_zeros_first():
    assert Mask.from_array([[0, 1], [1, 1]]).to_rle((2, 2)) == {"size": [2, 2], "counts": "13"}


@pins("empty masks")
def test_convention_iou_of_empty_masks_is_one():
    empty = Mask.from_array([[False]])
    assert empty.iou(empty) == 1.0


@pins("camera around an object")
def test_convention_cameras_around_an_object():
    from amodal.downstream.views.protocol import RelativeCamera, studio

    assert studio(RelativeCamera()).position == pytest.approx([0, 0, 1.5])
    assert studio(RelativeCamera(azimuth=90)).position == pytest.approx([1.5, 0, 0], abs=1e-9)
    assert studio(RelativeCamera(elevation=30)).position[1] == pytest.approx(0.75)
    assert studio(RelativeCamera(radius=0.5)).position == pytest.approx([0, 0, 2])
    assert studio(RelativeCamera(azimuth=90)).position == pytest.approx([1.5, 0, 0], abs=1e-9)
    assert studio(RelativeCamera(elevation=30)).position[1] == pytest.approx(0.75)
    assert studio(RelativeCamera(radius=0.5)).position[2] == pytest.approx(2.0)


def test_convention_meshes_of_objects_have_gltf_axes():
    from amodal.downstream.views.protocol import RelativeCamera, studio

    camera = studio(RelativeCamera(), size=100)
    pixels, depth = camera.locate([[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    assert pixels[0, 0] > 50 and pixels[1, 1] < 50 and depth[2] < depth[0]  # right, up, nearer


@pins("pixel")
def test_convention_pixel_centres_are_at_halves():
    camera = Camera.make("c", (2, 2), [[1, 0, 1.5], [0, 1, 0.5], [0, 0, 1]], np.eye(4))
    assert camera.rays(np.array([[1.5, 0.5]])) == pytest.approx(np.array([[0, 0, 1]]))  # row 0, column 1
    assert Mask.from_array([[0, 1], [0, 0]]).box == (1, 0, 2, 1)


@pins("soft mask")
def test_convention_soft_masks_are_float32_in_0_1(photo, disc_visible):
    values = amodal.load()(photo, mask=disc_visible).probability.crop((-20, -20, 120, 120))
    assert values.dtype == np.float32 and values.min() >= 0 and 0.5 < values.max() <= 1


@pins("camera")
def test_convention_cameras_are_opencvs():
    camera = Camera.looking((0, 0, 0), (5, 0, 0), (100, 100), 50.0)  # along the world's x; z is up
    right, below, ahead = camera.cam_from_world[:3, :3] @ np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]).T
    assert np.array([right, below, ahead]) == pytest.approx(np.eye(3), abs=1e-12)


@pins("depth")
def test_convention_depth_is_z():
    wall = Mesh(np.array([[-9, -9, 2], [9, -9, 2], [0, 9, 2.0]]), np.array([[0, 1, 2]]))
    _, depth = nearest_faces(wall, Camera.make("c", (3, 3), [[1, 0, 1.5], [0, 1, 1.5], [0, 0, 1]], np.eye(4)))
    assert depth == pytest.approx(np.full((3, 3), 2.0))  # the rays through the corners are longer


@pins("mesh of one object")
def test_convention_meshes_of_objects_have_gltfs_axes():
    from amodal.downstream.reconstruction.reconstruct import create_lifter

    upright = np.zeros((64, 64, 4), np.uint8)
    upright[8:56, 28:36] = 255  # a pole, with a flag to the right at its top
    upright[8:20, 36:56] = 255
    points = create_lifter("inflate", {"resolution": 24}).lift(upright).vertices
    wide = points[points[:, 0] > np.median(points[:, 0]) + 0.1]
    assert np.ptp(points[:, 1]) > np.ptp(points[:, 0]) > np.ptp(points[:, 2])  # as high as the picture, y; z is depth
    assert wide[:, 1].mean() > points[:, 1].mean()  # the flag is up, at the right


@pins("angle")
def test_convention_angles_are_degrees():
    from amodal.geometry.camera import orbit

    half = orbit(90, 0)
    assert half.position / np.linalg.norm(half.position) == pytest.approx([1, 0, 0], abs=1e-9)
    camera = orbit(0, 0, fov=90, size=100)
    assert camera.matrix[0, 0] == pytest.approx(50)


@pins("units")
def test_convention_units_are_metres_seconds_and_bytes():
    """What a name or its documentation calls otherwise is told by the name: `job_s`, `upload_bytes`, `cache_gb`."""
    from amodal.serve.config import Limits

    limits = Limits()
    assert limits.job_s == 600 and limits.upload_bytes == 32 << 20
    assert "metres" in (Camera.__doc__ or "")
