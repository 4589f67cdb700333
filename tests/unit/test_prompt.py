"""Prompts: what is accepted and what is refused, by the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal.core.errors import PromptError
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt

number = st.floats(0, 1000)


@given(
    st.lists(st.tuples(number, number, st.integers(0, 1)), max_size=4),
    st.none() | st.tuples(number, number, st.floats(1, 50), st.floats(1, 50)),
    st.none() | st.text("abc", min_size=1),
)
def test_dict_round_trip(clicks, box, text):
    parts = {"points": [c[:2] for c in clicks], "labels": [c[2] for c in clicks], "text": text}
    frame = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
    try:
        prompt = Prompt.make(**parts, box=frame)
    except PromptError:
        assert box is None and text is None
        prompt = Prompt.make(mask=Mask.from_box((1, 2, 3, 4)))
    assert Prompt.from_dict(prompt.to_dict()) == prompt


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "no prompt: mark the object with a point, a box, a mask or text"),
        ({"point": (1, 2), "points": [(1, 2)]}, "not both"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "1 points have 2 labels"),
        ({"points": [(1, 2)], "labels": [2]}, r"labels are 1 .* or 0"),
        ({"points": [(1, 2)], "labels": [0]}, "all points are negative"),
        ({"point": (1, float("nan"))}, r"a point must be \(x, y\)"),
        ({"box": (1, 2, 3)}, r"a box must be \(x0, y0, x1, y1\)"),
        ({"box": (10, 20, 5, 8)}, r"if it is \(x, y, w, h\), pass \(10, 20, 15, 28\)"),
        ({"text": "  "}, "text prompt is empty"),
        (
            {"mask": Mask.from_box((1, 2, 3, 4)), "point": (1, 2)},
            "a mask says itself what is visible; .* leave them out",
        ),
        ({"mask": Mask.from_box((1, 2, 3, 4)), "box": (1, 2, 5, 6)}, "a mask says itself what is visible"),
    ],
)
def test_refused(parts, text):
    with pytest.raises(PromptError, match=text):
        Prompt.make(**parts)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"point": (20, 5)}, r"point \(20, 5\) is outside of the image, which is 20 wide and 10 high"),
        ({"point": (-1, 5)}, "outside"),
        ({"box": (30, 0, 40, 5)}, r"box \(30, 0, 40, 5\) is outside"),
        ({"mask": Mask.from_box((30, 0, 40, 5))}, "no pixel inside the image"),
    ],
)
def test_outside_of_the_frame(parts, text):
    with pytest.raises(PromptError, match=text):
        Prompt.make(**parts).check((10, 20))


def test_the_last_pixel_is_inside():
    Prompt.make(point=(19.99, 9.99)).check((10, 20))


def test_labels_that_are_no_list_are_told_as_that():
    with pytest.raises(PromptError, match=r"labels is a list of one label .* a point, got 1"):
        Prompt.make(points=[(60, 45)], labels=1)
