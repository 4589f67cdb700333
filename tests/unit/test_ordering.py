"""Occlusion order on scenes small enough to be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from amodal.core.errors import MaskError
from amodal.core.mask import Mask
from amodal.data import Sample
from amodal.pipeline import order as ordering

PLATE = Mask.from_box((0, 0, 40, 20))
CUP = Mask.from_box((15, 15, 25, 30))
"""Lies on the plate's lower edge: smaller, lower; the plate without it is concave there."""
PLATE_SEEN = PLATE - CUP
FAR = Mask.from_box((100, 100, 120, 140))
FRONT_CUP = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 0]])


def drawing(text: str) -> list[Mask]:
    rows = np.array([list(line) for line in text.split()])
    return [Mask.from_array(rows == letter) for letter in sorted(set(rows.ravel()) - {"."})]


def test_touching_is_side_by_side_not_corner_to_corner():
    a, b, c, d = drawing("ab.. .c.d".replace(" ", "\n"))
    assert ordering.touching(a, b) and ordering.touching(b, c)
    assert not ordering.touching(a, c), "corners do not touch"
    assert not ordering.touching(c, d)
    assert not ordering.touching(a, Mask.from_box((0, 0, 0, 0)))
    assert ordering.touching_pairs([a, b, c, d]) == [(0, 1), (1, 2)]


def test_touching_equals_the_slow_way():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (rng.random((6, 7)) < 0.12 for _ in range(2))
        grown = a.copy()
        grown[1:] |= a[:-1]
        grown[:-1] |= a[1:]
        grown[:, 1:] |= a[:, :-1]
        grown[:, :-1] |= a[:, 1:]
        assert ordering.touching(Mask.from_array(a), Mask.from_array(b)) == bool((grown & b).any())


def test_rules_by_hand():
    scene = [PLATE_SEEN, CUP, FAR]
    assert np.array_equal(ordering.order_by_area(scene), FRONT_CUP)
    assert np.array_equal(ordering.order_by_area(scene, front="larger"), -FRONT_CUP)
    assert np.array_equal(ordering.order_by_y(scene), FRONT_CUP)
    assert np.array_equal(ordering.order_by_hull(scene), FRONT_CUP)
    assert np.array_equal(ordering.order_from_masks(scene, [PLATE, CUP, FAR]), FRONT_CUP)
    for rule in (ordering.order_by_area, ordering.order_by_y, ordering.order_by_hull):
        assert rule(scene).dtype == np.int8
        assert rule([]).shape == (0, 0)


def test_equals_as_in_the_released_code():
    left, right = Mask.from_box((0, 0, 5, 5)), Mask.from_box((5, 0, 10, 5))
    assert ordering.order_by_area([left, right])[0, 1] == -1
    assert ordering.order_by_area([left, right], front="larger")[0, 1] == 1
    assert ordering.order_by_y([left, right])[0, 1] == 1
    assert not ordering.order_by_hull([left, right]).any(), "neither grows under the other"


def test_whole_objects_tell_nothing_where_neither_reaches_under_the_other():
    left, right = Mask.from_box((0, 0, 5, 5)), Mask.from_box((5, 0, 10, 5))
    assert not ordering.order_from_masks([left, right], [left, right]).any()
    both = Mask.from_box((3, 0, 7, 5))
    tie = ordering.order_from_masks([left, right], [left | both, right | both])
    assert tie.tolist() == [[0, 1], [-1, 0]], "both claim two columns: the first is in front, as in the released code"
    with pytest.raises(MaskError, match="2 visible and 1 amodal"):
        ordering.order_from_masks([left, right], [left])


def test_accuracy_against_annotated_occluders():
    image = np.zeros((96, 128, 3), np.uint8)
    names, amodal = ("plate", "cup", "far"), (PLATE, CUP, FAR)
    seen = [PLATE_SEEN, CUP, FAR]
    hides = {"plate": ("cup", "somewhere else")}
    samples = [
        Sample(name, "0", image, (96, 128), mask, whole, occluders=hides.get(name, ()))
        for name, mask, whole in zip(names, seen, amodal, strict=True)
    ]
    truth = ordering.order_of_samples(samples)
    assert np.array_equal(truth, FRONT_CUP)
    assert ordering.order_accuracy(ordering.order_from_masks(seen, amodal), truth) == (1, 1, 3, 3)
    assert ordering.order_accuracy(ordering.order_from_masks(seen, seen), truth) == (0, 1, 2, 3)
    numbered = [replace(sample, occluders=(), order=place) for place, sample in enumerate(samples, 1)]
    assert np.array_equal(ordering.order_of_samples(numbered), FRONT_CUP), (
        "numbers without relations, yet something is hidden"
    )
    whole = [replace(sample, amodal=sample.visible) for sample in numbered]
    assert not ordering.order_of_samples(whole).any()


def test_of_two_that_hide_each_other_the_one_that_is_hidden_more_is_behind():
    """Interleaved: the bar hides 6 pixels of the plank, the plank 2 of the bar. In either sequence of the objects."""
    plank, bar = Mask.from_box((0, 0, 8, 2)), Mask.from_box((2, 0, 6, 2))
    seen = {"plank": plank - Mask.from_box((2, 0, 5, 2)), "bar": bar - Mask.from_box((5, 0, 6, 2))}
    image = np.zeros((4, 8, 3), np.uint8)
    samples = [
        Sample("plank", "0", image, (4, 8), seen["plank"], plank, occluders=("bar",)),
        Sample("bar", "0", image, (4, 8), seen["bar"], bar, occluders=("plank",)),
    ]
    assert ordering.order_of_samples(samples).tolist() == [[0, -1], [1, 0]]
    assert ordering.order_of_samples(samples[::-1]).tolist() == [[0, 1], [-1, 0]]


def fill_rectangle(visible, eraser):
    """A completer that takes every object for a rectangle: an honest function of its inputs."""
    out = np.zeros(visible.shape, np.float32)
    for values, bits in zip(out, visible, strict=True):
        rows, columns = np.nonzero(bits)
        if rows.size:
            values[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 0.9
    return out


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_by_completion(batch):
    seen = []
    order = ordering.order_by_completion(
        [PLATE_SEEN, CUP, FAR], fill_rectangle, size=64, batch=batch, progress=lambda *a: seen.append(a)
    )
    assert np.array_equal(order, FRONT_CUP)
    assert seen[-1] == ("pair", 2, 2)
    assert not ordering.order_by_completion([PLATE_SEEN, FAR], fill_rectangle, size=64).any()


def test_by_completion_counts_image_pixels():
    """The gain in each crop is scaled by the crop's own magnification: (side / size) squared."""
    big, small = Mask.from_box((0, 0, 60, 60)), Mask.from_box((60, 28, 64, 32))

    def one_pixel_under_the_eraser(visible, eraser):
        out = visible.astype(np.float32)
        for values, hides in zip(out, eraser, strict=True):
            rows, columns = np.nonzero(hides)
            values[rows[0], columns[0]] = 1
        return out

    # Both gain one crop pixel; of the big crop (side 103) it is worth more image pixels than of the small one (side 6).
    assert ordering.order_by_completion([big, small], one_pixel_under_the_eraser, size=128).tolist() == [
        [0, -1],
        [1, 0],
    ]


def test_gaps_are_bridged_by_widening():
    gap = Mask.from_box((15, 23, 25, 30))
    assert not ordering.order_by_completion([PLATE, gap], fill_rectangle, size=64).any()
    plate = PLATE - Mask.from_box((15, 15, 25, 20))
    assert ordering.order_by_completion([plate, gap], fill_rectangle, size=64, widen=4).tolist() == [[0, -1], [1, 0]]
    assert ordering.dilate(Mask.from_box((0, 0, 1, 1)), 2) == Mask.from_box((-2, -2, 3, 3))


def chain(*pairs: tuple[int, int], count: int) -> np.ndarray:
    order = np.zeros((count, count), np.int8)
    for front, behind in pairs:
        order[front, behind], order[behind, front] = 1, -1
    return order


def test_ancestors_and_layers():
    order = chain((0, 1), (1, 2), (0, 3), count=5)
    assert [ordering.ancestors(order, i) for i in range(5)] == [[], [0], [0, 1], [0], []]
    assert ordering.layers(order) == [[0, 4], [1, 3], [2]]
    assert ordering.cycles(order) == []
    assert ordering.layers(np.zeros((0, 0), np.int8)) == []


def test_rings_end_and_share_a_layer():
    order = chain((0, 1), (1, 2), (2, 0), (3, 0), (2, 4), count=5)
    assert ordering.ancestors(order, 0) == [1, 2, 3]
    assert ordering.cycles(order) == [[0, 1, 2]]
    assert ordering.layers(order) == [[3], [0, 1, 2], [4]]


def test_dot_quotes_names():
    text = ordering.to_dot(chain((0, 1), count=2), ['a "cup"', "b\\c"])
    assert text == 'digraph occlusion {\n  "a \\"cup\\"";\n  "b\\\\c";\n  "a \\"cup\\"" -> "b\\\\c";\n}\n'


def test_on_real_annotations(development_data):
    """Five photographs of COCO-A: the order from the masks is the annotators' own (49 of 49 pairs); hulls find most of it."""
    import json

    tools = pytest.importorskip("pycocotools.mask")
    right = {"annotator": 0, "hull": 0, "area": 0}
    pairs = 0
    for path in sorted((development_data / "cocoa_demo").glob("*.json")):
        regions = json.loads(path.read_text())["regions"]
        size = next(region["visible_mask"]["size"] for region in regions if "visible_mask" in region)
        amodal = [
            Mask.from_array(tools.decode(tools.merge(tools.frPyObjects([region["segmentation"]], *size))))
            for region in regions
        ]
        visible = [
            Mask.from_array(tools.decode(region["visible_mask"])) if "visible_mask" in region else whole
            for region, whole in zip(regions, amodal, strict=True)
        ]
        truth = ordering.order_from_masks(visible, amodal)
        depth = np.array([region["order"] for region in regions])
        known = np.triu(truth != 0, 1)
        pairs += int(known.sum())
        found = {
            "annotator": np.sign(depth[None] - depth[:, None]),
            "hull": ordering.order_by_hull(visible),
            "area": ordering.order_by_area(visible),
        }
        for name, order in found.items():
            right[name] += int(((order == truth) & known).sum())
        assert ordering.cycles(truth) == []
    assert (pairs, right) == (49, {"annotator": 49, "hull": 39, "area": 26})


def test_the_documentation_runs():
    import re
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "deocclusion.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/deocclusion.md", "exec"), {})


def test_rings_are_broken_where_the_fewest_pixels_disagree():
    a, b, c = (Mask.from_box((x, 0, x + 5, 5)) for x in (0, 5, 10))
    whole = [c | Mask.from_box((8, 0, 15, 5)), b | Mask.from_box((3, 0, 10, 5)), a]  # b hides 10 pixels of c, a 10 of b
    assert ordering.front_to_back([c, b, a], whole) == [2, 1, 0]
    whole[2] = a | Mask.from_box((0, 0, 11, 1))  # and c hides one pixel of a
    assert ordering.front_to_back([c, b, a], whole) == [2, 1, 0]
    assert ordering.front_to_back([], []) == []
