"""Reading pictures of every kind, and refusing what is none."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PILImage

from amodal.core.drawing import lay
from amodal.core.errors import ImageError, MaskError
from amodal.core.image import as_image, encode_png, read, read_mask


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(picture: PILImage.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_rgb_comes_back_exactly(rgb, tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(rgb))
    assert np.array_equal(read(tmp_path / "a.png"), rgb)
    assert np.array_equal(read(encode_png(rgb)), rgb)
    with open(tmp_path / "a.png", "rb") as file:
        assert np.array_equal(read(file), rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(rgb, orientation):
    picture = PILImage.fromarray(rgb)
    exif = picture.getexif()
    exif[0x0112] = orientation
    upright = {
        1: rgb, 2: rgb[:, ::-1], 3: rgb[::-1, ::-1], 4: rgb[::-1], 5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, -1), 7: rgb[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(rgb),
    }  # fmt: skip
    assert np.array_equal(read(encoded(picture, exif=exif)), upright[orientation])


def test_sixteen_bit_is_scaled_by_its_full_range():
    wide = np.array([[0, 257, 32896, 65535]], np.uint16)
    image = read(encoded(PILImage.fromarray(wide)))
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_is_laid_on_white():
    rgba = np.zeros((1, 2, 4), np.uint8)
    rgba[0, 1] = (10, 20, 30, 255)
    assert read(encoded(PILImage.fromarray(rgba))).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_palette_cmyk_grey_and_one_pixel(rgb):
    palette = PILImage.fromarray(rgb).quantize(16)
    assert np.array_equal(read(encoded(palette)), np.array(palette.convert("RGB")))
    cmyk = PILImage.fromarray(rgb).convert("CMYK")
    with pytest.warns(UserWarning, match="CMYK without a colour profile"):
        assert read(encoded(cmyk, "JPEG", quality=95)).shape == rgb.shape
    grey = PILImage.fromarray(rgb[..., 0])
    assert np.array_equal(read(encoded(grey)), np.repeat(rgb[..., :1], 3, 2))
    assert read(encoded(PILImage.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def test_first_frame_of_an_animation_with_a_warning():
    frames = [PILImage.new("RGB", (3, 2), (level, 0, 0)) for level in (50, 250)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    with pytest.warns(UserWarning, match="several frames; the first one"):
        assert read(data).shape == (2, 3, 3)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims width x height and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 64)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"not a picture", "is not a picture that can be read"),
        (encode_png(np.zeros((64, 64, 3), np.uint8))[:60], "damaged or cut short"),
        (bomb(20_000, 20_000), "100 megapixels"),
        (bomb(12_000, 10_000), "12000 x 10000, above the limit of 100 megapixels"),
    ],
)
def test_bad_files(tmp_path, content, text):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=text) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_and_folder(tmp_path):
    with pytest.raises(ImageError, match="there is no file"):
        read(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        read(tmp_path)


def test_forty_megapixels():
    picture = PILImage.new("RGB", (8000, 5000), (9, 9, 9))
    assert read(encoded(picture, "JPEG")).shape == (5000, 8000, 3)


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4, 5)), np.zeros((4, 5, 3)), np.zeros((4, 5), np.uint8), np.zeros((0, 5, 3), np.uint8)]
)
def test_as_image_tells_shape_and_type(array):
    with pytest.raises(ImageError, match=r"image must be \(H, W, 3\) uint8 RGB, got .*; [a-z]"):
        as_image(array)


def test_masks_of_every_kind(tmp_path):
    bits = np.zeros((5, 7), bool)
    bits[1:3, 2:6] = True
    values = bits.astype(np.uint8)
    kinds = {
        "255": encode_png(bits),
        "01": encode_png(values),
        "rgb": encode_png(np.repeat(values[..., None] * 255, 3, 2)),
        "alpha": encode_png(np.dstack([np.zeros((5, 7, 3), np.uint8), values * 255])),
        "one-bit": encoded(PILImage.fromarray(bits)),
        "wide": encoded(PILImage.fromarray(values.astype(np.uint16) * 65535)),
    }
    label = PILImage.frombytes("P", (7, 5), (values * 3).tobytes())
    label.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    kinds["palette"] = encoded(label)
    for name, content in kinds.items():
        assert np.array_equal(read_mask(content, (5, 7)).to_array((5, 7)), bits), name
    inverted = read_mask(encode_png(~bits), (5, 7), invert=True)
    assert np.array_equal(inverted.to_array((5, 7)), bits)


def test_masks_that_do_not_fit():
    with pytest.raises(MaskError, match="is 7 x 5 pixels, the image 9 x 5"):
        read_mask(encode_png(np.ones((5, 7), bool)), (5, 9))
    with pytest.raises(MaskError, match="marks no pixel"):
        read_mask(encode_png(np.zeros((5, 7), bool)))
    with pytest.warns(UserWarning, match="100% white; white marks the visible object.*invert the mask"):
        read_mask(encode_png(np.ones((5, 7), bool)))


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (7, 5)])
def test_laying_a_picture_equals_assignment(size):
    numbers = np.random.default_rng(0)
    for channels in (3, 4):
        over = numbers.integers(0, 256, (2 * size[0], size[1], channels), dtype=np.uint8)[::2]
        onto = numbers.integers(0, 256, (*size, channels), dtype=np.uint8)
        where = numbers.random(size[::-1]).T < 0.5
        expected = onto.copy()
        expected[where] = over[where]
        lay(over, where, onto)
        assert np.array_equal(onto, expected)
