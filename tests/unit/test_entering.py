"""What enters: colours, mask pictures, frames and prompts of every kind are right, or refused in one line."""

import io

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageCms

from amodal.core import image
from amodal.core.errors import AmodalError, ImageError, MaskError, PromptError
from amodal.core.mask import Mask, check_reach, union
from amodal.core.picture import HEIF
from amodal.core.prompt import Prompt

BITS = np.zeros((24, 32), bool)
BITS[5:12, 6:20] = True
GREYS = [grey for grey in range(256) for _ in range(3)]


def encoded(picture: PILImage.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def palette(indices: np.ndarray, colours: list[int]) -> PILImage.Image:
    picture = PILImage.fromarray(indices.astype(np.uint8))
    picture.putpalette(colours)
    return picture


def rgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_black_and_white_palettes_are_read_by_brightness():
    white_first = palette(~BITS, [0, 0, 0, 255, 255, 255][::-1])  # index 0 is white
    for kind in ("PNG", "GIF"):
        assert np.array_equal(
            image.read_mask(encoded(palette(~BITS, [255] * 3 + [0] * 3), kind)).to_array((24, 32)), BITS
        )
    assert image.read_labels(encoded(white_first)) is None


def test_colour_palettes_are_labels_and_merging_them_is_told():
    one = encoded(palette(BITS, [0, 0, 0, 128, 0, 0]))
    assert np.array_equal(image.read_mask(one).to_array((24, 32)), BITS)
    two = encoded(palette(BITS * 1 + np.eye(24, 32, 1) * ~BITS * 2, [0, 0, 0, 128, 0, 0, 0, 128, 0]))
    with pytest.warns(UserWarning, match="holds 2 labels; every one but 0"):
        assert image.read_mask(two).area > BITS.sum()
    assert set(np.unique(image.read_labels(two))) == {0, 1, 2}
    for grey in (PILImage.fromarray(BITS * np.uint8(2) + np.eye(24, 32, 9, np.uint8)), palette(BITS * 3 + 1, GREYS)):
        assert len(np.unique(image.read_labels(encoded(grey)))) > 1
    assert image.read_labels(encoded(PILImage.fromarray(BITS.astype(np.uint8)))) is None, "0 and 1: a mask"


def test_the_background_of_a_colour_palette_is_black_wherever_it_stands():
    with pytest.warns(UserWarning, match="colour 1 is black, and taken for the background"):
        red_first = encoded(palette(~BITS, [200, 0, 0, 0, 0, 0]), "GIF")
        assert np.array_equal(image.read_mask(red_first).to_array((24, 32)), BITS)
        assert np.array_equal(image.read_labels(red_first) > 0, BITS)
    with pytest.warns(UserWarning, match=r"colour 0 is \(250, 250, 0\), which is taken for the background"):
        yellow_ground = encoded(palette(BITS, [250, 250, 0, 200, 0, 0]))
        assert np.array_equal(image.read_mask(yellow_ground).to_array((24, 32)), BITS)
    opaque = encoded(palette(BITS * 15, [0, 0, 0] + [0, 0, 90] * 20), transparency=bytes([255] * 21))
    assert np.array_equal(image.read_mask(opaque).to_array((24, 32)), BITS), "an alpha that says nothing hides no label"


def test_labels_in_colours_or_greys_are_taken_or_told():
    labels = BITS + 2 * np.eye(24, 32, 12, dtype=int) * ~BITS
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 90]], np.uint8)
    with pytest.warns(UserWarning, match="holds colours; every one but black"):
        assert np.array_equal(
            image.read_mask(encoded(PILImage.fromarray(colours[labels]))).to_array((24, 32)), labels > 0
        )
    with pytest.warns(UserWarning, match="a picture in colours; what is brighter than half"):
        image.read_mask(encoded(PILImage.fromarray(np.array([[[250, 240, 90], [200, 0, 0]]], np.uint8))))
    for values, kind in (((0, 50, 200), np.uint8), ((0, 26001, 40000), np.uint16)):
        with pytest.warns(UserWarning, match="3 values up to .*, labels perhaps; what is above half"):
            image.read_mask(
                encoded(PILImage.fromarray(np.array(values, kind)[labels * (labels < 2) + np.eye(24, 32, dtype=int)]))
            )


def test_a_tiff_whose_white_is_zero():
    # Pillow inverts 8 bits itself, when it writes them and when it reads them.
    for stored in (BITS * np.uint8(255), ~BITS * np.uint16(65535)):
        content = encoded(PILImage.fromarray(stored), "TIFF", tiffinfo={262: 0})
        assert np.array_equal(image.read_mask(content).to_array((24, 32)), BITS)
        assert np.array_equal(image.read(content)[..., 0] == 255, BITS)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_the_size_of_a_turned_picture(kind, turn):
    picture = PILImage.fromarray(np.zeros((24, 32, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = turn
    content = encoded(picture, kind, exif=exif)
    assert image.picture_size(content) == image.read(content).shape[:2] == ((32, 24) if turn > 4 else (24, 32))


def test_float_photos_below_zero_are_refused():
    with pytest.raises(ImageError, match="values from -1 to 1; float pictures must be in"):
        image.read(encoded(PILImage.fromarray(np.array([[-1, 1]], np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("top", [1, 255])
def test_masks_of_any_number_type(kind, top):
    content = encoded(PILImage.fromarray(BITS.astype(kind) * kind(top)), "TIFF")
    assert np.array_equal(image.read_mask(content).to_array((24, 32)), BITS)


@pytest.mark.parametrize("top", [21, 100, 127, 4095])
def test_two_values_are_a_mask_whatever_they_are(top):
    for kind in (np.uint8, np.uint16, np.float32)[top > 255 :]:
        content = encoded(PILImage.fromarray((BITS * top).astype(kind)), "TIFF")
        with pytest.warns(UserWarning, match=f"values 0 and {top}; the pixels of {top} are taken"):
            assert np.array_equal(image.read_mask(content).to_array((24, 32)), BITS)
    with pytest.raises(MaskError, match="marks no pixel"):
        image.read_mask(encoded(PILImage.fromarray(BITS * np.float32(0.3)), "TIFF"))


def test_label_maps_with_white_are_told_and_shades_are_not():
    ignored = np.where(np.indices((24, 32))[1] > 28, 255, np.where(BITS, 11, 0)).astype(np.uint8)  # 255: no label
    with pytest.warns(UserWarning, match="3 values up to 255, labels perhaps; what is above half of 255"):
        image.read_soft(encoded(PILImage.fromarray(ignored)))
    rows, columns = np.indices((24, 32))
    for shades in (rows * 5 + columns * 3, np.where(BITS, 255, 0) // (1 + columns % 3)):
        assert image.read_soft(encoded(PILImage.fromarray(shades.astype(np.uint8)))).max() > 0.5


def test_alpha_that_says_nothing_is_passed_over():
    grey = BITS.astype(np.uint8) * 255
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    assert np.array_equal(image.read_mask(encoded(PILImage.fromarray(opaque))).to_array((24, 32)), BITS)
    both = np.dstack([np.tril(grey)] * 3 + [grey])
    with pytest.warns(UserWarning, match="both transparency and brightness"):
        assert image.read_mask(encoded(PILImage.fromarray(both))).area == BITS.sum()


def test_profiles_are_converted_and_srgb_stays_byte_for_byte():
    photo = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert np.array_equal(image.read(encoded(PILImage.fromarray(photo), icc_profile=rgb_profile())), photo)
    with pytest.warns(UserWarning, match="colour profile .* is damaged"):
        assert np.array_equal(image.read(encoded(PILImage.fromarray(photo), icc_profile=b"nonsense")), photo)
    grey_with_rgb = PILImage.fromarray(photo[..., 0])
    with pytest.warns(UserWarning, match="is for RGB, its pixels are L"):
        image.read(encoded(grey_with_rgb, icc_profile=rgb_profile()))
    lab = PILImage.frombytes("LAB", (1, 1), bytes([255, 0, 0]))
    assert (image.as_image(lab) > 250).all()
    exchanged = rgb_profile().replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    red = image.read(encoded(PILImage.new("RGB", (2, 2), (255, 0, 0)), icc_profile=exchanged))
    assert np.abs(red.astype(int) - (0, 255, 0)).max() <= 2


def test_grey_with_premultiplied_alpha_and_floats_that_are_no_numbers():
    grey = PILImage.frombytes("La", (2, 1), bytes([50, 100, 0, 0]))
    assert image.as_image(grey)[0, 1].tolist() == [255, 255, 255]
    values = np.array([[0, 1, np.nan, np.inf]], np.float32)
    with pytest.warns(UserWarning, match="2 values that are no finite numbers; they are read as black"):
        assert image.read(encoded(PILImage.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 255, 0, 0]


def test_only_listed_formats_are_opened():
    eps = encoded(PILImage.new("RGB", (4, 4)), "EPS")
    for reader in (image.read, image.read_mask, image.read_labels, image.picture_size, image.read_rgba):
        with pytest.raises(ImageError, match="is not a picture that can be read .JPEG, PNG, BMP, GIF"):
            reader(eps)


@pytest.mark.skipif(not HEIF, reason="needs the extra heif")
def test_heic_is_read_and_taken_from_folders(tmp_path):
    import pillow_heif

    pillow_heif.from_pillow(PILImage.new("RGB", (64, 64), (200, 30, 30))).save(tmp_path / "a.heic")
    assert image.is_picture(tmp_path / "a.heic") and image.read(tmp_path / "a.heic").shape == (64, 64, 3)


def test_what_is_written_says_srgb():
    assert PILImage.open(io.BytesIO(image.encode_png(np.zeros((2, 3, 3), np.uint8)))).info["srgb"] == 0


@pytest.mark.parametrize("shape", [(12, 16), (32, 24), (10, 10)])
def test_a_mask_of_another_size_is_refused_with_both_sizes(shape):
    wrong = np.ones(shape, bool)
    with pytest.raises(MaskError, match=rf"is {shape[1]} x {shape[0]} pixels, the image 32 x 24") as caught:
        Prompt.make(mask=wrong).check((24, 32))
    assert ("EXIF rotation" in str(caught.value)) == (shape == (32, 24))
    encoded_mask = Mask.from_array(wrong).to_rle(shape)
    for entering in (wrong, wrong.tolist(), PILImage.fromarray(wrong), image.encode_png(wrong), encoded_mask):
        with pytest.raises(MaskError, match="the image 32 x 24"):
            image.as_mask(entering, (24, 32))
    record = Prompt.make(mask=encoded_mask).to_dict()
    with pytest.raises(MaskError, match="the image 32 x 24"):
        Prompt.from_dict(record).check((24, 32))


def test_masks_of_the_right_size_enter_by_every_door(tmp_path):
    (tmp_path / "m.png").write_bytes(image.encode_png(BITS))
    whole = Mask.from_array(BITS)
    doors = (BITS, BITS.tolist(), BITS * 1.0, whole, whole.to_dict(), whole.to_rle((24, 32)), tmp_path / "m.png")
    assert all(image.as_mask(entering, (24, 32)) == whole for entering in doors)


def test_canvases_are_bounded():
    far = {**Mask.from_box((0, 0, 1, 1)).to_dict(), "origin": [90_000, 90_000]}
    with pytest.raises(MaskError, match="too far beyond the image, which is 32 wide"):
        image.as_mask(far, (24, 32))
    with pytest.raises(MaskError, match="too far from each other"):
        union([Mask.from_dict(far), Mask.from_box((0, 0, 1, 1))])
    check_reach(Mask.from_box((-256, -256, 288, 280)), (24, 32))
    for size, counts in (
        ([10**5, 10**5], [10**10]),
        ([10**9, 10**9], "PPPPPPPP0"),
        ([4, 4], [10**12]),
        ([4, 4], [1] * 500),
    ):
        with pytest.raises(MaskError):
            Mask.from_rle({"size": size, "counts": counts})


PROMPTS = {
    "a number": {"point": 320},
    "a text": {"point": "12"},
    "booleans": {"point": (True, False)},
    "nested": {"point": [[1, 2]]},
    "ragged": {"points": [[1, 2], [3]]},
    "complex": {"point": (1j, 2)},
    "infinite": {"box": (0, 0, float("inf"), 4)},
    "huge": {"box": (0, 0, 1e300, 4)},
    "a share": {"labels": [0.9], "points": [[1, 2]]},
    "labels of text": {"labels": ["1"], "points": [[1, 2]]},
    "labels alone": {"labels": [1]},
    "box in shares": {"box": (0.1, 0.1, 0.5, 0.9)},
    "words that are none": {"text": 5},
    "a lone surrogate": {"text": "\ud800"},
    "a mask of text": {"mask": [["a"]]},
    "a mask of channels": {"mask": np.ones((24, 32, 3))},
}


@pytest.mark.parametrize("case", PROMPTS)
def test_prompts_that_are_refused(case):
    with pytest.raises((PromptError, MaskError, ImageError)) as caught:
        Prompt.make(**PROMPTS[case]).check((24, 32))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.float16, np.float64])
def test_prompts_of_any_number_type(kind):
    wanted = Prompt.make(points=[(6, 4)], box=(1, 2, 20, 18))
    assert Prompt.make(points=np.array([[6, 4]], kind), box=np.array([1, 2, 20, 18], kind)) == wanted


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (np.zeros((4, 5, 3)), r"image \* 255"),
        (np.zeros((3, 40, 50), np.uint8), "transpose"),
        (np.zeros((4, 5, 4), np.uint8), "drop the alpha"),
        (np.zeros((4, 5), np.uint8), "repeat the grey"),
        ([["a"]], "array of numbers"),
    ],
)
def test_pictures_that_are_refused_with_what_to_do(value, advice):
    with pytest.raises(AmodalError, match=advice):
        image.as_image(value)


@pytest.mark.parametrize("mode", ["La", "RGBa", "LAB"])
def test_mask_pictures_of_every_mode(mode):
    grey = np.repeat((BITS * np.uint8(255))[..., None], {"La": 2, "RGBa": 4, "LAB": 3}[mode], axis=2)
    grey[..., {"La": 1, "RGBa": 3, "LAB": [1, 2]}[mode]] = {"La": 255, "RGBa": 255, "LAB": 0}[mode]
    picture = PILImage.frombytes(mode, (32, 24), grey.tobytes())
    assert np.array_equal(image.as_mask(picture, (24, 32)).to_array((24, 32)), BITS)


@pytest.mark.parametrize("top", [1, 255])
def test_floats_may_leave_their_scale_by_rounding(top):
    soft = np.where(BITS, 1.04, -0.03)
    soft[4, 6:20] = np.linspace(0.1, 0.4, 14)  # more than two values
    values = (soft * top).astype(np.float32)
    mask = image.read_mask(encoded(PILImage.fromarray(values), "TIFF"))
    assert np.array_equal(mask.to_array((24, 32)), BITS)
    photo = image.read(encoded(PILImage.fromarray(values), "TIFF"))[..., 0]
    assert (photo[BITS] == 255).all() and (photo[:4] == 0).all()
    with pytest.warns(UserWarning, match="values up to 1.5, which are taken in 0..255; it is dark"):
        image.read(encoded(PILImage.fromarray(np.array([[0, 1.5]], np.float32)), "TIFF"))


def test_photos_of_which_little_is_seen_are_told():
    twelve = PILImage.fromarray(np.full((2, 3), 4000, np.uint16))
    with pytest.warns(UserWarning, match="values up to 4000, which are taken in 0..65535; it is dark"):
        assert image.read(encoded(twelve)).max() == 16
    clear = PILImage.fromarray(np.zeros((2, 3, 4), np.uint8))
    with pytest.warns(UserWarning, match="transparent everywhere, so that it is all white"):
        assert image.read(encoded(clear)).min() == 255
    keyed = PILImage.fromarray(np.array([[60_000, 30_000]], np.uint16))
    assert image.read(encoded(keyed, transparency=30_000))[0, :, 0].tolist() == [233, 255]


def test_arrays_that_hold_more_than_yes_and_no_are_told():
    blurred = BITS * np.uint8(255)
    blurred[4, 6:20] = 9
    with pytest.warns(UserWarning, match="whole numbers up to 255; every one but 0 .* give mask > 127"):
        assert image.as_mask(blurred, (24, 32)).area == BITS.sum() + 14
    with pytest.warns(UserWarning, match="values from -3 to 8; what is above 0.5 .*give shares"):
        assert image.as_mask(np.where(BITS, 8.0, -3.0), (24, 32)).area == BITS.sum()
    for entering in (BITS * 255.0, BITS * 7, BITS * 1.0001):
        assert image.as_mask(entering, (24, 32)).area == BITS.sum()


def test_masked_values_are_refused():
    masked = np.ma.masked_array(BITS, mask=np.tril(BITS))
    with pytest.raises(MaskError, match=r"masked values, .* mask\.filled\(0\)"):
        image.as_mask(masked, (24, 32))
    with pytest.raises(MaskError, match="masked values"):
        Mask.from_array(masked)
    with pytest.raises(PromptError, match="masked values"):
        Prompt.make(points=np.ma.masked_array([[3, 4]], mask=[[False, True]]))


def test_whole_numbers_below_0_mark_nothing_that_is_known():
    """-1 is what labels call background, and what 255 becomes as int8: it marked the object."""
    for labels in (np.where(BITS, 1, -1), np.where(BITS, 255, 0).astype(np.uint8).view(np.int8)):
        with pytest.raises(MaskError, match="a mask holds the number -1; it must be 0 off the object"):
            image.as_mask(labels, (24, 32))


def test_open_files_are_read_as_by_read():
    content = image.encode_png(BITS)
    for file in (io.BytesIO(content), io.BufferedReader(io.BytesIO(content))):
        assert image.as_mask(file, (24, 32)) == Mask.from_array(BITS)
        file.seek(0)
        assert np.array_equal(image.as_image(file)[..., 0] > 0, BITS)
