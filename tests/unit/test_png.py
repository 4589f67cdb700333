"""PNG files as other programs read them, with igzip and without it."""

from __future__ import annotations

import io
import sys

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage

from amodal.core import png
from amodal.core.errors import ImageError

RNG = np.random.default_rng(0)
ARRAYS = {
    "grey": RNG.integers(0, 256, (7, 5), np.uint8),
    "bool": RNG.random((9, 4)) > 0.5,
    "RGB": RNG.integers(0, 256, (6, 11, 3), np.uint8),
    "RGBA": RNG.integers(0, 256, (3, 2, 4), np.uint8),
    "one pixel": np.full((1, 1, 3), 7, np.uint8),
    "a window": RNG.integers(0, 256, (20, 20, 3), np.uint8)[3:9, 4:17],
    "turned": RNG.integers(0, 256, (20, 10, 3), np.uint8).transpose(1, 0, 2),
}


@pytest.fixture(params=[True, False], ids=["igzip", "zlib"])
def packer(request, monkeypatch):
    if request.param:
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    png._packer.cache_clear()
    yield
    png._packer.cache_clear()


@pytest.mark.parametrize("kind", ARRAYS)
def test_others_read_the_same_pixels(packer, kind):
    array = ARRAYS[kind]
    content = png.encode_png(array)
    expected = array.astype(np.uint8) * 255 if array.dtype == bool else array
    opened = PILImage.open(io.BytesIO(content))
    opened.verify()  # every chunk's checksum
    opened = PILImage.open(io.BytesIO(content))
    assert np.array_equal(np.asarray(opened), expected)
    assert ("srgb" in opened.info) == (array.ndim == 3)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    order = {2: ..., 3: np.s_[..., [2, 1, 0, 3][: array.shape[-1]]]}[array.ndim]
    assert np.array_equal(decoded[order], expected)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2), np.uint8), np.zeros((0, 3), np.uint8), np.zeros((4, 4)), np.zeros(4, np.uint8)]
)
def test_what_is_no_picture_is_refused(array):
    with pytest.raises(ImageError, match="cannot encode an array of shape"):
        png.encode_png(array)
