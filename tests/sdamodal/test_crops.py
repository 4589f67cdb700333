"""Crop arithmetic against numbers worked out by hand and against the slow way."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

from amodal.core.crop import Crop  # noqa: E402
from amodal.core.mask import Mask  # noqa: E402
from amodal.methods.sdamodal.crops import crop_feature, feature_box  # noqa: E402


def test_square_by_hand():
    # 40 x 20: sqrt(40 20 3) = 48.99, 1.1 40 = 44, 1.1 20 = 22; centre (120, 60): origin 95.505, 35.505.
    assert Crop.around((100, 50, 140, 70), 512) == Crop((95, 35), 48, 512)
    # 90 x 10: sqrt(2700) = 51.96, 1.1 90 = 99.00000000000001; origin (45 - 49.5, 5 - 49.5) = (-4.5, -44.5), truncated towards 0.
    assert Crop.around((0, 0, 90, 10), 512) == Crop((-4, -44), 99, 512)
    assert Crop.around((7, 9, 8, 10), 512) == Crop((6, 8), 1, 512)


def test_bits_are_the_nearest_pixels():
    mask = Mask.from_array(np.eye(4, dtype=bool))
    assert np.array_equal(Crop((0, 0), 4, 8).bits(mask), np.kron(np.eye(4), np.ones((2, 2))).astype(bool))
    shifted = Crop((-2, -2), 4, 4).bits(mask)
    assert shifted[2, 2] and shifted[3, 3] and shifted.sum() == 2


def test_feature_box_by_hand():
    # A 1000 x 500 image on a 24 x 24 map: 0.024 cells a pixel across, 0.048 down.
    assert feature_box((100, 100, 350, 350), (500, 1000), (24, 24)) == (2, 4, 6, 12)
    # Truncation is towards zero: -0.96 and -1.92 become 0 and -1.
    assert feature_box((-40, -40, 60, 60), (500, 1000), (24, 24)) == (0, -1, 2, 4)
    # Narrower than a cell across (20 0.024 = 0.48), not so down (20 0.048 = 0.96): both 0; 30 down is 1.44.
    assert feature_box((0, 0, 20, 30), (500, 1000), (24, 24)) == (0, 0, 0, 1)


def test_squares_and_feature_boxes_are_the_authors():
    """Their arithmetic in (x, y, w, h), written out, on boxes drawn by chance: no one differs."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        height, width = (int(v) for v in rng.integers(40, 1500, 2))
        x, y = int(rng.integers(0, width - 1)), int(rng.integers(0, height - 1))
        w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
        side = max(np.sqrt(w * h * 3.0), w * 1.1, h * 1.1)
        square = int(x + w / 2.0 - side / 2.0), int(y + h / 2.0 - side / 2.0), int(side)
        crop = Crop.around((x, y, x + w, y + h), 512)
        assert (*crop.origin, crop.side) == square
        cells = int(rng.choice([24, 48, 96]))
        left, top, length = square
        expected = tuple(
            int(a * cells / b) for a, b in ((left, width), (top, height), (length, width), (length, height))
        )
        assert feature_box(crop.box, (height, width), (cells, cells)) == expected


def reference(feature, image_size, box):
    """As in the authors' evaluation: crop with zero padding, or enlarge everything first if a side is 0."""
    x, y, width, height = feature_box(box, image_size, tuple(feature.shape[1:]))
    if width == 0 or height == 0:
        source = F.interpolate(feature[None], size=image_size, mode="bilinear", align_corners=False)[0]
        x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
    else:
        source = feature
    out = torch.zeros(feature.shape[0], height, width)
    for row in range(height):
        for column in range(width):
            if 0 <= y + row < source.shape[1] and 0 <= x + column < source.shape[2]:
                out[:, row, column] = source[:, y + row, x + column]
    return F.interpolate(out[None], size=feature.shape[1:], mode="bilinear", align_corners=False)[0]


BOXES = {
    "inside": (20, 10, 60, 50),
    "over the top left": (-30, -25, 30, 35),
    "over the bottom right": (80, 40, 140, 100),
    "around everything": (-50, -50, 200, 200),
    "a pixel": (33, 44, 34, 45),
    "narrower than a cell": (50, 10, 57, 17),
    "a pixel at the corner": (-1, -1, 2, 2),
    "narrow only across": (100, 20, 109, 29),
    "far outside": (300, 300, 340, 340),
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_feature_crop_equals_the_slow_way(box):
    feature = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    made = crop_feature(feature, (64, 120), box)
    assert made.shape == feature.shape
    assert torch.allclose(made, reference(feature, (64, 120), box), atol=1e-5)


def test_the_whole_image_gives_the_map_itself():
    feature = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(crop_feature(feature, (60, 60), (0, 0, 60, 60)), feature)
