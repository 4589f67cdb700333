"""The promises that seal.py keeps: the photo is untouchable, occluders are where they hide, no pin-holes, a full record."""

import hashlib
from importlib import metadata

import cv2
import numpy as np
import pytest

import amodal
from amodal.core.mask import Mask
from amodal.pipeline import Model
from amodal.pipeline.seal import close_pinholes, seal_occluder
from amodal.plugins.protocols import Method, Prediction
from amodal.plugins.registry import create_inpainter, create_segmenter
from amodal.weights.catalogue import entries

NOTHING = Mask.from_array([[False]])


class Given(Method):
    """Answers with what it was made with, after doing something to the photo."""

    name, summary = "given", "for tests"

    def __init__(self, prediction, harm=lambda image: None):
        super().__init__()
        self.prediction, self.harm = prediction, harm

    def complete(self, embedded, image, requests, context):
        self.harm(image)
        return [[self.prediction] for _ in requests]


def model_of(method):
    return Model(method, create_segmenter("grabcut"), create_inpainter("classical"))


def write(image):
    image[:] = 0


def unlock(image):
    image.setflags(write=True)


@pytest.mark.parametrize("harm", [write, unlock])
def test_a_method_cannot_write_into_the_photo(photo, disc_visible, harm):
    scene = model_of(Given(Prediction(Mask.from_box((0, 0, 9, 9))), harm)).open(photo)
    with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
        scene.complete(mask=disc_visible)
    assert np.array_equal(scene.image, photo)


def test_later_edits_of_the_caller_do_not_reach_the_scene(photo, disc_visible):
    before = photo.copy()
    scene = model_of(Given(Prediction(Mask.from_array(disc_visible)))).open(photo)
    photo[:] = 0
    done = scene.complete(mask=disc_visible)
    assert np.array_equal(done.image, before)
    x0, y0, x1, y1 = done.amodal.box
    assert np.array_equal(done.rgba[..., :3][done.amodal.bits], before[y0:y1, x0:x1][done.amodal.bits])


def test_an_occluder_lies_in_the_frame_and_touches_what_it_hides():
    visible, amodal = Mask.from_box((10, 10, 20, 20)), Mask.from_box((10, 10, 30, 20))
    beside, apart = Mask.from_box((20, 8, 40, 22)), Mask.from_box((0, 40, 5, 45))
    size = (50, 35)
    assert seal_occluder(beside | apart, visible, amodal, size) == Mask.from_box((20, 8, 35, 22))
    assert seal_occluder(apart, visible, amodal, size) is None
    assert seal_occluder(Mask.from_box((-50, -50, -5, -5)), visible, amodal, size) is None
    assert seal_occluder(beside, amodal, amodal, size) is None, "nothing is hidden"
    assert seal_occluder(NOTHING, visible, amodal, size) is None
    beyond = Mask.from_box((10, 10, 60, 20))
    assert seal_occluder(beside, beyond.clip(size), beyond, size) is None, "beyond the frame nothing is in front"


def test_the_parts_of_an_occluder_that_touch_are_those_that_labels_name():
    dice, kernel = np.random.default_rng(0), np.ones((3, 3), np.uint8)
    parts = []
    for density in (0.02, 0.2, 0.35, 0.7, 0.95) * 12:
        named = dice.random((12, 14)) < density
        whole = np.zeros((12, 14), bool)
        whole[dice.integers(0, 9) :, dice.integers(0, 11) :][:4, :3] = True
        _, labels = cv2.connectedComponents(named.view(np.uint8), connectivity=8)
        near = cv2.dilate(whole.view(np.uint8), kernel).view(bool)
        kept = named & np.isin(labels, labels[near & named])
        found = seal_occluder(Mask.from_array(named), NOTHING, Mask.from_array(whole), (12, 14))
        assert (found or NOTHING) == Mask.from_array(kept)
        parts.append((int(labels.max()), bool(kept.any())))
    assert {True, False} == {kept for _, kept in parts} and {1, 2} < {count for count, _ in parts}


def test_the_pipeline_seals_the_methods_occluder(photo, disc_visible):
    visible = Mask.from_array(disc_visible)
    whole = visible | Mask.from_box((66, 30, 82, 60))
    for occluder, expected in (
        (Mask.from_box((-40, -40, -10, -10)), None),
        (Mask.from_box((66, 0, 82, 200)), Mask.from_box((66, 0, 82, 96))),
    ):
        done = model_of(Given(Prediction(whole, occluder=occluder)))(photo, mask=visible)
        assert done.occluder == expected
    assert model_of(Given(Prediction(visible, occluder=whole)))(photo, mask=visible).occluder is None


def test_pinholes_along_the_seam_are_closed():
    visible, amodal = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    visible[10:30, 5:25] = True
    amodal[10:30, 25:50] = True
    amodal[15, 25:28] = amodal[18:20, 25] = amodal[20, 30] = False  # three, two and one pixel
    amodal[22:24, 25:27] = False  # four: a hole
    visible[13, 8] = False  # the user's own
    whole = Mask.from_array(visible | amodal)
    closed = close_pinholes(whole, Mask.from_array(visible))
    assert closed.area == whole.area + 3 + 2 + 1
    assert not closed.to_array((40, 60))[22:24, 25:27].any() and not closed.to_array((40, 60))[13, 8]
    assert close_pinholes(Mask.from_array(visible), Mask.from_array(visible)) == Mask.from_array(visible)


def test_no_pinhole_is_closed_where_the_user_forbids_growth(photo, disc_visible):
    """A named occluder with a gap to the visible mask: the gap is neither, and stays."""
    visible = Mask.from_box((20, 20, 40, 40))
    bar = Mask.from_box((41, 10, 60, 50)) | Mask.from_box((40, 21, 41, 39))
    done = model_of(Given(Prediction(Mask.from_box((20, 20, 55, 40)))))(photo, mask=visible, occluder=bar)
    assert (visible | bar).contains(done.amodal)


def test_the_record_tells_weights_versions_and_pixels(photo, disc_visible):
    record = amodal.load().open(photo).complete(mask=disc_visible).to_dict()
    told = record["provenance"]
    assert told["method"]["weights"] == {"embedded": entries()["embedded"].sha256}
    assert set(told["segmenter"]["weights"]) == {"image-encoder", "pocket-segmenter-encoder", "pocket-segmenter-head"}
    assert told["inpainter"]["weights"] == {"painter": entries()["painter"].sha256}
    assert told["versions"]["numpy"] == metadata.version("numpy") and told["versions"]["amodal"] == amodal.__version__
    assert record["image"]["sha256_pixels"] == hashlib.sha256(photo.tobytes()).hexdigest()


def test_the_scenes_own_verbs(photo, disc_visible):
    bar = np.zeros(disc_visible.shape, bool)
    bar[:, 66:82] = True
    scene = amodal.load("hull", segmenter="grabcut", inpainter="classical").open(photo)
    assert scene.order([bar, disc_visible]).tolist() == [[0, 1], [-1, 0]]
    layers = scene.layers([amodal.Prompt.make(mask=bar), amodal.Prompt.make(mask=disc_visible)])
    assert len(layers.objects) == 2 and np.array_equal(layers.flatten(), photo)
    found = scene.objects(largest=2)
    assert len(found) <= 2 and found == sorted(found, key=lambda each: -each.mask.area)
    assert repr(scene) == "Scene(128 x 96, Model(hull, segmenter=grabcut, inpainter=classical))"
