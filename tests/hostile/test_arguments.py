"""Arguments that no call can use: told in one line, before any work, by every door of the library."""

import itertools

import numpy as np
import pytest

import amodal
from amodal.cli import LONGEST, run
from amodal.core.errors import AmodalError, DataError, MaskError, OptionError, PromptError, UnknownNameError, UsageError
from amodal.data.annotations import frame_of, from_polygon

PHOTO = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
BOX = (5, 5, 30, 30)
ODD = [
    None,
    True,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    10**400,
    "x",
    "\ud800",
    "a" * 5000,
    [],
    {},
    np.zeros(3),
    object(),
]


@pytest.fixture(scope="module")
def scene():
    return amodal.load("hull").open(PHOTO)


@pytest.mark.parametrize("odd", [value for value in ODD if value is not None], ids=lambda value: repr(value)[:20])
def test_numbers_and_lists(scene, odd):
    prompt = amodal.Prompt.make(box=BOX)
    bits = np.ones((40, 60), bool)
    calls = [
        *([lambda: scene.complete(box=BOX, samples=odd)] if odd is not True else []),
        lambda: scene.complete_all([prompt], seeds=odd),
        lambda: scene.complete_all([prompt], occluders=odd),
        lambda: scene.layers(odd),
    ]
    if odd is not ODD[2]:  # -1 is a seed
        calls += [lambda: scene.complete(box=BOX, seed=odd), lambda: scene.repaint(bits, bits, seed=odd)]
    for call in calls:
        with pytest.raises(PromptError):
            call()


@pytest.mark.parametrize("odd", [True, -1, 2.5, [], {}, np.zeros(3), "a" * 5000], ids=lambda value: repr(value)[:20])
def test_names_and_options(odd):
    for part in ("method", "inpainter", "segmenter"):
        with pytest.raises(UnknownNameError):
            amodal.load(**{"method": "hull", part: odd})
    with pytest.raises(AmodalError):
        amodal.dataset(odd, ".")
    with pytest.raises(DataError):
        amodal.dataset("kins", odd)
    if not isinstance(odd, dict):
        with pytest.raises(OptionError):
            amodal.load("hull", options=odd)


NONSENSE = [
    *(value for value in ODD if value is not None and value is not True),
    (1, 2, 3),
    ("a", "b"),
    (float("nan"),) * 4,
    (10**40,) * 4,
    PHOTO,
    amodal.Prompt.make(point=(1, 1)),
]


@pytest.mark.parametrize("odd", NONSENSE, ids=lambda value: repr(value)[:20])
def test_masks_are_asked_with_nonsense(odd):
    """What is no mask, size, box or place is a MaskError, neither a traceback nor an answer."""
    mask = amodal.Mask.from_box(BOX)
    soft = amodal.SoftMask(np.full((4, 4), 0.7, np.float32), size=(8, 8))
    calls = [getattr(mask, name) for name in ("overlap", "iou", "contains", "__or__", "__and__", "__sub__")]
    calls += [getattr(mask, name) for name in ("crop", "clip", "to_array", "to_rle")]
    calls += [amodal.Mask, amodal.SoftMask, amodal.Mask.from_box, soft.to_array, soft.crop, soft.cover]
    calls += [
        lambda value: mask.shift(value, 0) if odd is not ODD[2] else mask.crop(0),
        lambda value: amodal.Mask.from_array(mask.bits, value),
        lambda value: amodal.Mask.from_rle(mask.to_rle((40, 60)), value),
        lambda value: soft.threshold(region=value),
        amodal.Prompt.make(point=(1, 1)).check,
    ]
    for call in calls:
        with pytest.raises(MaskError):
            call(odd)


def test_lists_without_an_end(scene):
    prompt = amodal.Prompt.make(box=BOX)
    calls = [
        lambda: scene.complete_all(itertools.repeat(prompt)),
        lambda: scene.complete_all([prompt], seeds=itertools.count()),
        lambda: scene.layers(itertools.repeat(prompt)),
    ]
    for call in calls:
        with pytest.raises(PromptError, match="too many"):
            call()
    for odd in (5, "largest", 2.5, 0):
        with pytest.raises(UsageError):
            scene.objects(largest=odd, progress=None if odd != 5 else 5)
        with pytest.raises(UsageError):
            scene.predict(odd)
        with pytest.raises(UsageError):
            amodal.evaluate(odd, odd)


def test_a_whole_float_is_a_number(scene):
    assert scene.complete(box=BOX, samples=1.0, seed=np.int64(3)).provenance["seed"] == 3


def test_outlines_and_frames_are_bounded():
    zigzag = [value for number in range(200) for value in (0, (-1) ** number * 1e5)]
    with pytest.raises(MaskError, match="outline is .* pixels long"):
        from_polygon(zigzag, (40, 60))
    for height, width in ((-1, 5), (0, 5), (10**6, 10**6), (10**30, 1)):
        with pytest.raises(DataError, match="no picture can be"):
            frame_of({"height": height, "width": width})


def test_names_that_no_file_can_have(tmp_path, capsys):
    for command in (
        ["batch", "a" * 5000],
        ["segment", "é" * 300, "--point", "1,2"],
        ["data", "check", "kins", "--root", "b" * 400],
        ["data", "check", "kins", "--root", "~nobody-of-this-name/set"],
        ["segment", "photo.jpg", "--point", "1,2", "--segmenter", "~nobody-of-this-name/sam"],
        ["segment", "photo.jpg", "--point", "1,2", "--method", "~nobody-of-this-name/own.py:Own"],
    ):
        assert run([*command, *(["-o", str(tmp_path / "out")] if command[0] != "data" else [])]) in (1, 2)
        told = capsys.readouterr().err
        assert told.startswith("amodal: ") and told.count("\n") == 1 and len(told) < LONGEST + 20
    for name in ("m" * 5000, "caf\udce9"):
        for flag in ("--method", "--segmenter", "--inpainter", "--set"):
            given = f"{'a=' if flag == '--set' else ''}{name}"
            assert run(["segment", "photo.jpg", "--point", "1,2", flag, given]) == 2
            told = capsys.readouterr().err
            assert told.startswith("amodal: ") and told.count("\n") == 1 and len(told) < 300
    done = amodal.load("visible").open(PHOTO).complete(box=BOX)
    for stem in ("a\0b", "\ud800", "a" * 400, ""):
        with pytest.raises(AmodalError):
            done.save(tmp_path, stem)
    assert list(tmp_path.iterdir()) == []
