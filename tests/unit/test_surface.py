"""What a Python user meets: the public names, short texts, pictures in notebooks, equality, pickling, other libraries' types."""

import io
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

import amodal
from amodal.core import drawing
from amodal.core.completion import Completion
from amodal.core.mask import Mask
from amodal.core.soft_mask import SoftMask
from amodal.plugins.protocols import Prediction


@pytest.fixture
def done(photo, disc_visible) -> Completion:
    return amodal.load("hull").open(photo).complete(mask=disc_visible)


def test_the_public_names():
    assert dir(amodal) == sorted(amodal.__all__)
    assert set(dir(amodal)) == {
        *("Alternative", "AmodalError", "Cancelled", "Completion", "Dataset", "Layers", "Mask", "Model", "Prompt"),
        *("Report", "Sample", "Scene", "SoftMask", "__version__", "dataset", "evaluate", "load", "read", "read_mask"),
    }
    assert all(getattr(amodal, name) is not None for name in dir(amodal))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = amodal.nothing


def test_import_loads_nothing():
    code = "import sys, amodal; dir(amodal); print(*sorted({'numpy', 'cv2', 'torch', 'pydantic'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_texts_are_short(done, photo):
    scene = amodal.load("hull").open(photo)
    prediction = Prediction(done.amodal, done.rgba[..., :3], probability=done.probability)
    everything = (done, done.samples[0], done.amodal, done.probability, scene, scene.model, prediction)
    for thing in everything:
        assert len(repr(thing)) < 200, type(thing)
    assert repr(done).startswith("Completion(128 x 96, amodal=Mask(area=")


def test_pictures_in_a_notebook(done, photo):
    layers = amodal.load("hull", segmenter="grabcut").open(photo).layers([amodal.Prompt.make(mask=done.visible)])
    for thing in (done, done.samples[0], done.amodal, layers):
        assert min(Image.open(io.BytesIO(thing._repr_png_())).size) > 1
    assert repr(layers) == "Layers(128 x 96, 1 objects)"


def test_masks_are_values():
    mask = Mask.from_box((-3, 2, 5, 9))
    soft = SoftMask(np.full((4, 5), 0.5, np.float32), (2, -1))
    for thing in (mask, soft):
        again = pickle.loads(pickle.dumps(thing))  # noqa: S301
        assert again == thing and hash(again) == hash(thing) and len({again, thing}) == 1
        values = again.bits if isinstance(again, Mask) else again.values
        assert not values.flags.writeable
    assert mask != mask.shift(1, 0) and mask != "mask" and soft != SoftMask(soft.values)
    assert np.array_equal(np.asarray(mask), mask.bits) and np.array(mask).flags.writeable
    assert np.asarray(soft).dtype == np.float32 and np.asarray(mask, np.uint8).dtype == np.uint8
    assert Mask.from_array(mask) == mask, "its place is kept"


def test_completions_are_values(done, photo, disc_visible):
    again = pickle.loads(pickle.dumps(done))  # noqa: S301
    assert again == done and hash(again) == hash(done)
    assert done == amodal.load("hull").open(photo).complete(mask=disc_visible)
    assert done != amodal.load("visible").open(photo).complete(mask=disc_visible)


def test_coco(done, tmp_path):
    """As pycocotools reads it."""
    import json

    from reference import COCO

    annotation = done.to_coco(id=7, image_id=3, category_id=2)
    height, width = done.size
    file = tmp_path / "coco.json"
    images = [{"id": 3, "width": width, "height": height}]
    file.write_text(
        json.dumps({"images": images, "annotations": [annotation], "categories": [{"id": 2, "name": "disc"}]})
    )
    coco = COCO(str(file))
    assert np.array_equal(coco.annToMask(coco.anns[7]).astype(bool), done.amodal.to_array(done.size))
    assert annotation["area"] == coco.annToMask(coco.anns[7]).sum() and annotation["visible_area"] == done.visible.area
    x, y, w, h = annotation["bbox"]
    assert (x, y, x + w, y + h) == done.amodal.clip(done.size).box


def test_supervision(done):
    supervision = pytest.importorskip("supervision")
    found = supervision.Detections.merge([done.to_supervision(), done.to_supervision()])
    assert found.mask.shape == (2, *done.size) and np.array_equal(found.mask[1], done.amodal.to_array(done.size))
    assert found.xyxy[0].tolist() == list(done.amodal.clip(done.size).box)
    assert np.array_equal(found.data["visible"][0], done.visible.to_array(done.size))
    picture = supervision.MaskAnnotator().annotate(done.image.copy(), found)
    assert (picture != done.image).any()


def test_datasets(done):
    """A row of masks and the cut-out as features of the library `datasets`."""
    datasets = pytest.importorskip("datasets")
    record = done.to_dict()
    row = {"cutout": Image.fromarray(done.rgba), "amodal": record["amodal"], "occlusion_rate": record["occlusion_rate"]}
    table = datasets.Dataset.from_list(
        [row],
        features=datasets.Features(
            cutout=datasets.Image(),
            amodal={"size": datasets.Sequence(datasets.Value("int64")), "counts": datasets.Value("string")},
            occlusion_rate=datasets.Value("float64"),
        ),
    )
    assert np.array_equal(np.asarray(table[0]["cutout"]), done.rgba)
    assert Mask.from_rle(table[0]["amodal"]) == done.amodal.clip(done.size)


def test_a_soft_edge_fades_inwards_in_the_object_s_own_colours(done):
    before = done.rgba.copy()
    soft = done.cutout("soft")
    assert np.array_equal(done.cutout(), before) and np.array_equal(done.rgba, before), "hard is the default"
    assert soft.shape == before.shape and (soft[..., 3] <= before[..., 3]).all()
    assert ((soft[..., 3] > 0) & (soft[..., 3] < 255)).any()
    inside = cv2.erode(before[..., 3], np.ones((7, 7), np.uint8), borderValue=0) > 0
    assert np.array_equal(soft[inside], before[inside])
    with pytest.raises(amodal.AmodalError, match="an edge is hard or soft, got 'round'"):
        done.cutout("round")


def disc(side: int) -> np.ndarray:
    """A red disc whose outermost pixels are green: what was behind it."""
    rgba = np.zeros((side, side, 4), np.uint8)
    cv2.circle(rgba, (side // 2, side // 2), side // 2 - 2, (0, 255, 0, 255), -1)
    cv2.circle(rgba, (side // 2, side // 2), side // 2 - 4, (255, 0, 0, 255), -1)
    return rgba


def test_the_old_background_goes_from_the_edge_but_not_from_thin_parts(monkeypatch):
    soft = drawing.softened(disc(60), 3.0)
    assert (soft[soft[..., 3] > 0][:, :3] == (255, 0, 0)).all()
    thin = np.zeros((9, 30, 4), np.uint8)
    thin[4] = (0, 0, 255, 255)
    assert (drawing.softened(thin, 3.0)[4, :, :3] == (0, 0, 255)).all(), "there is nothing deeper to take colours from"
    whole = drawing.softened(disc(300), 2.0)
    monkeypatch.setattr(drawing, "STRIP", 1)
    assert np.array_equal(drawing.softened(disc(300), 2.0), whole), "strips leave no seam"


def test_an_object_that_the_photo_cuts_off_has_no_edge_there():
    box = np.full((20, 30, 4), 255, np.uint8)
    closed = drawing.softened(box, 2.0, (True, False, False, True))[..., 3]
    assert (closed[5:, :25] == 255).all() and (closed[0] < 255).all() and (closed[:, -1] < 255).all()
    assert (drawing.softened(box, 2.0, (True,) * 4) == 255).all()
