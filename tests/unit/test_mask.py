"""Mask algebra and RLE, against dense arrays and pycocotools."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amodal.core import rle
from amodal.core.errors import MaskError
from amodal.core.mask import Mask, union
from amodal.core.soft_mask import SoftMask
from reference import coco_mask as coco

SIZE = (9, 13)
dense = arrays(bool, SIZE, elements=st.booleans())
shifts = st.tuples(st.integers(-6, 6), st.integers(-6, 6))
WIDE = (-20, -20, 40, 40)


def on_canvas(bits: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros((60, 60), bool)
    canvas[origin[1] + 20 : origin[1] + 20 + SIZE[0], origin[0] + 20 : origin[0] + 20 + SIZE[1]] = bits
    return canvas


@given(dense, dense, shifts, shifts)
def test_algebra_equals_dense_arrays(a, b, at, bt):
    mask_a, mask_b = Mask.from_array(a, at), Mask.from_array(b, bt)
    full_a, full_b = on_canvas(a, at), on_canvas(b, bt)
    assert np.array_equal((mask_a | mask_b).crop(WIDE), full_a | full_b)
    assert np.array_equal((mask_a & mask_b).crop(WIDE), full_a & full_b)
    assert np.array_equal((mask_a - mask_b).crop(WIDE), full_a & ~full_b)
    assert (mask_a - mask_a).area == 0 and (mask_a - mask_b).area == np.count_nonzero(full_a & ~full_b), "asked again"
    assert mask_a.area == full_a.sum()
    assert mask_a.overlap(mask_b) == (full_a & full_b).sum()
    either = (full_a | full_b).sum()
    assert mask_a.iou(mask_b) == ((full_a & full_b).sum() / either if either else 1.0)
    assert mask_a.contains(mask_b) == bool((full_b <= full_a).all())
    assert Mask.from_dict(mask_a.to_dict()) == mask_a
    assert union([mask_a, mask_b, mask_a]) == mask_a | mask_b


@given(dense, shifts)
def test_crop_is_tight_and_shift_moves(bits, at):
    mask = Mask.from_array(bits, at)
    if mask:
        for edge in (mask.bits[0], mask.bits[-1], mask.bits[:, 0], mask.bits[:, -1]):
            assert edge.any()
        x0, y0, x1, y1 = mask.box
        assert mask.shift(3, -2).box == (x0 + 3, y0 - 2, x1 + 3, y1 - 2)
    else:
        assert mask.box == (0, 0, 0, 0)
        assert mask.shift(3, -2) == mask


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.booleans()))
def test_rle_equals_pycocotools(bits):
    ours = rle.encode(bits)
    theirs = coco.encode(np.asfortranarray(bits.astype(np.uint8)))
    assert ours["size"] == theirs["size"]
    assert ours["counts"] == theirs["counts"].decode()
    assert np.array_equal(rle.decode(theirs), bits)
    assert np.array_equal(rle.decode({"size": ours["size"], "counts": rle.runs_of(bits).tolist()}), bits)


@pytest.mark.parametrize("shape", [(1, 1), (480, 640), (1, 5000), (3000, 1)])
def test_rle_of_large_runs(shape):
    for bits in (np.zeros(shape, bool), np.ones(shape, bool)):
        assert rle.encode(bits)["counts"] == coco.encode(np.asfortranarray(bits.astype(np.uint8)))["counts"].decode()


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "add up to 3"),
        ({"size": [2, 2], "counts": [-1, 5]}, "negative or too long"),
        ({"size": [2, 2], "counts": "~~"}, "outside of COCO's code"),
        ({"size": [2, 2], "counts": "P"}, "cut short"),
        ({"size": [2, 2], "counts": "PPPPPPPPPPPP0"}, "damaged"),
        ({"size": [2], "counts": [4]}, "an RLE is"),
        ("nonsense", "an RLE is"),
    ],
)
def test_malformed_rle(record, text):
    with pytest.raises(MaskError, match=text):
        rle.decode(record)


def test_masks_are_immutable_and_hashable():
    mask = Mask.from_array([[0, 1], [1, 1]])
    with pytest.raises(ValueError, match="read-only"):
        mask.bits[0, 0] = True
    assert len({mask, Mask.from_array([[0, 1], [1, 1]])}) == 1


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 2, 3)), r"array \(H, W\), got shape \(2, 2, 3\)"),
        (np.array([[0.2, np.nan]]), "holds NaN"),
        (np.array([["a"]]), "bool, integer or float"),
    ],
)
def test_what_is_not_a_mask(array, text):
    with pytest.raises(MaskError, match=text):
        Mask.from_array(array)


def test_arrays_are_not_joined_with_masks():
    """An array has no place in the photo: laid on the mask's crop it would give a wrong answer."""
    mask, array = Mask.from_box((5, 5, 7, 7)), np.ones((2, 2), bool)
    for join in (operator.or_, operator.and_, operator.sub):
        for pair in ((array, mask), (mask, array)):
            with pytest.raises(MaskError, match=r"got an array \(2, 2\) of bool; Mask.from_array makes one"):
                join(*pair)


def test_soft_mask_threshold_and_place():
    soft = SoftMask(np.array([[0.2, 0.9]], np.float32), (-1, 2))
    assert soft.threshold() == Mask.from_array([[True]], (0, 2))
    assert soft.to_array((3, 2)).tolist() == [[0, 0], [0, 0], [np.float32(0.9), 0]]
