"""One door for pictures and prompts: whatever form they come in, the same object; what is wrong is one error of ours."""

import numpy as np
import pytest
from PIL import Image

import amodal
from amodal.core.errors import AmodalError, ImageError, MaskError, PromptError


@pytest.fixture(scope="module")
def model():
    return amodal.load("hull", segmenter="grabcut")


def test_every_form_of_a_picture_is_the_same(model, photo, disc_visible, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    expected = model(photo, mask=disc_visible)
    forms = [Image.fromarray(photo), tmp_path / "photo.png", str(tmp_path / "photo.png"), photo.tolist()]
    for form in forms[:3]:
        assert model(form, mask=disc_visible) == expected, type(form)
    assert model(str(tmp_path / "photo.png"), mask=disc_visible).provenance["image"]["file"].endswith("photo.png")
    torch = pytest.importorskip("torch")
    assert model(torch.from_numpy(photo.copy()), mask=torch.from_numpy(disc_visible.copy())) == expected


def test_every_form_of_a_prompt_is_the_same(model, photo, disc_visible, tmp_path):
    Image.fromarray(disc_visible).save(tmp_path / "disc.png")
    bar = np.zeros(photo.shape[:2], bool)
    bar[:, 66:82] = True
    scene = model.open(photo)
    expected = scene.complete(mask=amodal.Mask.from_array(disc_visible), occluder=amodal.Mask.from_array(bar))
    forms = [disc_visible, disc_visible.tolist(), Image.fromarray(disc_visible), tmp_path / "disc.png"]
    for form in forms:
        for hides in (bar, bar.tolist(), bar.astype(np.uint8) * 255):
            assert scene.complete(mask=form, occluder=hides) == expected
    box = scene.complete(box=(20, 10, 95, 85))
    assert scene.complete(box=np.array([20, 10, 95, 85])) == scene.complete(box=[20.0, 10, 95, 85]) == box
    click = scene.complete(points=[(50, 48), (75, 20)], labels=[1, 0])
    assert scene.complete(points=np.array([[50, 48], [75, 20]]), labels=np.array([1, 0])) == click


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "round"),
        (np.zeros((4, 4), np.uint8), "grey"),
        ("no/such/file.png", "no file"),
        (None, "image"),
        ({}, "image"),
    ],
)
def test_wrong_pictures(model, picture, words):
    with pytest.raises(ImageError, match=words):
        model(picture, point=(1, 1))


@pytest.mark.parametrize(
    "prompt",
    [
        {"point": "here"},
        {"point": (1, 2, 3)},
        {"point": 5},
        {"points": [(1, 2), 3]},
        {"points": [(1, 1)], "labels": ["a"]},
        {"box": (1, 2, 3)},
        {"box": "1,2,3,4"},
        {"box": object()},
        {"mask": 3},
        {"mask": np.zeros((5, 5))},
        {"mask": np.zeros((4, 4, 3))},
        {"text": 7},
        {"prompt": "the cup"},
        {"point": (5, 5), "occluder": np.ones((3, 3))},
        {"point": (5, 5), "occluder": "none.png"},
        {"point": (5, 5), "samples": 0},
        {"point": (5, 5), "samples": 1.5},
    ],
)
def test_wrong_prompts(model, photo, prompt):
    with pytest.raises(AmodalError) as told:
        model(photo, **prompt)
    assert isinstance(told.value, PromptError | MaskError | ImageError)
