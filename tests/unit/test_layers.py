"""A scene taken apart: order, exact stacking, files that other programs open."""

import io
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageFilter

import amodal
from amodal.errors import OutputError, PromptError
from amodal.layers import distinct, separate, take_apart
from amodal.mask import Mask
from amodal.prompt import Prompt


@pytest.fixture
def layers(photo, disc_visible):
    bar = np.zeros(disc_visible.shape, bool)
    bar[:, 66:82] = True
    scene = amodal.load("hull", segmenter="grabcut", inpainter="classical").open(photo)
    return take_apart(scene, [Prompt.make(mask=bar), Prompt.make(mask=disc_visible)])


def test_the_layers_are_the_photo(layers, photo):
    assert np.array_equal(layers.flatten(), photo)


def test_the_bar_is_before_the_disc(layers):
    disc, bar = layers.objects
    assert bar.visible.box == (66, 0, 82, 96) and disc.amodal.area > disc.visible.area


def test_the_photo_is_restored_behind(layers, photo):
    """Where the objects were, the gradient is painted: nothing of the orange disc is left."""
    rows, columns = np.indices(photo.shape[:2])
    gradient = np.stack([columns, rows + 60, 160 - rows], axis=-1).clip(0, 255)
    hole = np.zeros(photo.shape[:2], bool)
    for thing in layers.objects:
        hole |= thing.visible.to_array(photo.shape[:2])
    error = np.abs(layers.background.astype(int) - gradient)[hole].mean()
    assert error < 0.2 * np.abs(photo.astype(int) - gradient)[hole].mean()
    rim = np.asarray(Image.fromarray(hole).convert("L").filter(ImageFilter.MaxFilter(7))) > 0
    assert np.array_equal(layers.background[~rim], photo[~rim])


def test_openraster(layers, photo):
    """As freedesktop.org's specification has it: what GIMP, Krita and MyPaint look for."""
    content = layers.to_openraster()
    assert content[30:54] == b"mimetypeimage/openraster", "the first entry: stored, without an extra field"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None and archive.infolist()[0].compress_type == zipfile.ZIP_STORED
        root = ET.fromstring(archive.read("stack.xml"))
        assert root.tag == "image" and root.attrib["version"] == "0.0.3" and [each.tag for each in root] == ["stack"]
        size = int(root.attrib["w"]), int(root.attrib["h"])
        assert size == photo.shape[1::-1]
        found = root.findall("stack/layer")
        assert [layer.attrib["name"] for layer in found] == ["rest", "object-2", "object-1", "background"]
        canvas = Image.new("RGBA", size)
        for layer in reversed(found):
            picture = Image.open(io.BytesIO(archive.read(layer.attrib["src"])))
            assert picture.format == "PNG" and picture.mode in ("RGB", "RGBA")
            canvas.alpha_composite(picture.convert("RGBA"), (int(layer.attrib["x"]), int(layer.attrib["y"])))
        assert np.array_equal(np.asarray(canvas)[..., :3], photo)
        merged = Image.open(io.BytesIO(archive.read("mergedimage.png")))
        assert merged.format == "PNG" and np.array_equal(np.asarray(merged.convert("RGB")), photo)
        thumbnail = Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png")))
        assert thumbnail.format == "PNG" and max(thumbnail.size) <= 256


def test_save(layers, tmp_path):
    for name in ("scene.ora", "scene.zip"):
        layers.save(tmp_path / name)
        assert zipfile.is_zipfile(tmp_path / name)
        with pytest.raises(OutputError, match="exists already"):
            layers.save(tmp_path / name)


def test_parts_of_wholes_are_dropped_and_pixels_given_once():
    whole, part, other = (Mask.from_box(box) for box in ((0, 0, 10, 10), (2, 2, 5, 5), (8, 8, 14, 14)))
    assert distinct([part, whole, other]) == [whole, other]
    first, second = separate([whole, other])
    assert second == other and not first.overlap(second) and first.area == 96


def test_nothing_there_is_said():
    scene = amodal.load("hull", segmenter="grabcut", inpainter="classical").open(np.full((2, 2, 3), 90, np.uint8))
    with pytest.raises(PromptError, match="no object is found"):
        take_apart(scene)


def test_repaint_keeps_the_promises(photo, disc_visible):
    scene = amodal.load("hull", segmenter="grabcut", inpainter="classical").open(photo)
    visible = Mask.from_array(disc_visible)
    whole = Mask.from_box((-10, 20, 90, 70))
    done = scene.repaint(visible, whole)
    assert done.amodal == whole | visible and done.visible == visible
    seen = done.visible.crop(done.amodal.box)
    place = done.amodal.origin
    expected = photo[place[1] : place[1] + seen.shape[0]]
    assert np.array_equal(done.rgba[..., 3], done.amodal.bits * np.uint8(255))
    rows, columns = np.nonzero(seen)
    assert np.array_equal(done.rgba[rows, columns, :3], expected[rows, columns + place[0]])
    assert np.array_equal(scene.repaint(visible, whole).rgba, done.rgba)
