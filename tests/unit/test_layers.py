"""A scene taken apart: order, exact stacking, files that other programs open."""

import io
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageFilter

import amodal
from amodal.core.errors import OutputError, PromptError
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt
from amodal.core.scaling import Levels
from amodal.pipeline.layers import distinct, separate, take_apart
from amodal.pipeline.painting import paint_behind
from amodal.pipeline.patches import from_patches
from amodal.plugins.protocols import Proposal
from amodal.plugins.registry import create_inpainter


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
    assert distinct([Proposal(mask) for mask in (part, whole, other)]) == [whole, other]
    scored = [Proposal(part, 0.9), Proposal(whole, 0.7), Proposal(other, 0.8)]
    assert distinct(scored) == [other, part], "of a group and its members the surer"
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


def test_no_ghost_of_an_object_stays_before_it(layers, photo, disc_visible):
    """What lies in front holds no ring around the objects: a rim goes with its object."""
    front = layers.rest[..., 3] > 0
    ring = np.zeros(photo.shape[:2], bool)
    for thing in layers.objects:
        seen = thing.visible.to_array(photo.shape[:2])
        grown = np.asarray(Image.fromarray(seen).convert("L").filter(ImageFilter.MaxFilter(7))) > 0
        ring |= grown & ~seen
    invented = np.any([thing.occluded.to_array(photo.shape[:2]) for thing in layers.objects], axis=0)
    assert (ring & ~invented).any() and not (front & ~invented).any()
    for piece, thing in zip(layers.pieces, layers.objects, strict=True):
        assert np.count_nonzero(piece.rgba[..., 3]) >= thing.amodal.area


def test_touching_objects_leave_one_hole():
    """Two halves of a dark square on a plain ground: no line stands between them when both are gone."""
    image = np.full((60, 80, 3), 200, np.uint8)
    image[20:40, 20:60] = 40
    masks = [Mask.from_box((20, 20, 40, 40)), Mask.from_box((40, 20, 60, 40))]
    calls = []

    class Watched(type(create_inpainter("classical"))):
        def paint(self, conditions, *rest):
            calls.append(len(conditions))
            return super().paint(conditions, *rest)

    behind = paint_behind(Levels(image), masks, Watched())
    assert calls == [1] and np.abs(behind.astype(int) - 200).max() < 12


@pytest.mark.parametrize("hole", [(60, 20, 90, 70), (0, 10, 40, 80)])
def test_what_is_behind_has_the_texture_around_it(hole):
    """Stripes go on behind what is removed, at an edge of the photo too: the painter alone makes them grey."""
    image = np.empty((96, 160, 3), np.uint8)
    image[:] = np.where(np.arange(160) // 8 % 2, 210, 40)[:, None]
    image[hole[1] : hole[3], hole[0] : hole[2]] = (255, 0, 0)
    behind = paint_behind(Levels(image), [Mask.from_box(hole)], create_inpainter("painter"))
    made = behind[hole[1] : hole[3], hole[0] : hole[2]].astype(int)
    dark, bright = (np.abs(made - grey).max(axis=2) < 50 for grey in (40, 210))
    assert (dark | bright).mean() > 0.75 and dark.mean() > 0.3 and bright.mean() > 0.3


@pytest.mark.parametrize("shape", [(1, 1), (6, 300), (40, 7), (64, 64)])
def test_where_no_patch_is_known_another_filling_stays(shape):
    hole = np.ones(shape, bool)
    hole[:, :6] = False
    picture, start = np.zeros((*shape, 3), np.float32), np.full((*shape, 3), 0.5, np.float32)
    assert np.array_equal(from_patches(picture, hole, start), np.where(hole[..., None], start, picture))


def test_layers_are_named(photo, disc_visible):
    scene = amodal.load("hull", segmenter="grabcut").open(photo)
    bar = np.zeros(disc_visible.shape, bool)
    bar[:, 66:82] = True
    prompts = [Prompt.make(mask=bar), Prompt.make(mask=disc_visible)]
    made = scene.layers(prompts, names=["bar", "a <disc>"])
    assert made.names == ("a <disc>", "bar")
    with zipfile.ZipFile(io.BytesIO(made.to_openraster())) as archive:
        root = ET.fromstring(archive.read("stack.xml"))
    assert [layer.attrib["name"] for layer in root.findall("stack/layer")] == ["rest", "bar", "a <disc>", "background"]
    assert [each["name"] for each in made.to_dict()["objects"]] == ["a <disc>", "bar"]
    with pytest.raises(PromptError, match="names is a list with one value an object, 2 in all"):
        scene.layers(prompts, names=["one"])


def test_an_object_without_a_pixel_of_its_own_is_told(photo, disc_visible):
    """The same object twice, or one that lies within smaller ones: it was left out without a word."""
    scene = amodal.load("hull", segmenter="grabcut", inpainter="classical").open(photo)
    twice = [Prompt.make(mask=disc_visible)] * 2
    with pytest.raises(PromptError, match=r"object 2 of 2 \(copy\) has no visible pixel of its own"):
        scene.layers(twice, names=["disc", "copy"])


def test_layers_are_written_by_their_ending(layers, tmp_path):
    layers.save(tmp_path / "all.ZIP")
    assert "background.png" in zipfile.ZipFile(tmp_path / "all.ZIP").namelist()
    with pytest.raises(OutputError, match=r"written as \.ora \(OpenRaster\) or \.zip"):
        layers.save(tmp_path / "all.png")
    assert not (tmp_path / "all.png").exists()
