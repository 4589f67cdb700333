"""The package's own tests: amodal's contract, and what is special about this method."""

from amodal_grow.grow import Grow

from amodal import load
from amodal.testing import check_method, example_photo


def test_contract() -> None:
    check_method(Grow())


def test_by_name_and_by_options() -> None:
    photo, disc = example_photo()
    near, far = (load("grow", options={"scale": scale})(photo, mask=disc) for scale in (1, 3))
    assert far.amodal.contains(near.amodal) and far.amodal.area > near.amodal.area
    assert far.provenance["method"]["weights"]["grow"]
