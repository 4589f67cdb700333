"""What a method says of chance is so: where nothing is drawn, several samples are one."""

import pytest

import amodal


@pytest.mark.parametrize("name", ["visible", "hull", "embedded", "sam", "inpaint"])
def test_samples(name, photo, disc_visible):
    model = amodal.load(method=name, segmenter="grabcut", inpainter="classical")
    done = model.open(photo).complete(mask=disc_visible, samples=3)
    assert len(done.samples) == (3 if model.method.draws else 1)
