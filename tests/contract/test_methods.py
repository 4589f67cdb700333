"""One suite for every registered method that works without downloads."""

import numpy as np
import pytest

from amodal import load
from amodal.errors import AmodalError, Cancelled
from amodal.mask import Mask
from amodal.options import build_options, describe_options
from amodal.registry import find, names


def shapes(size: tuple[int, int]) -> dict[str, Mask]:
    """Visible masks that break careless code, on a frame of `size` (H, W)."""
    height, width = size
    holed = np.zeros(size, bool)
    holed[20:60, 30:80] = True
    holed[35:45, 50:60] = False
    parts = np.zeros(size, bool)
    parts[10:30, 10:30] = parts[60:80, 90:120] = True
    return {
        "one pixel": Mask.from_box((17, 9, 18, 10)),
        "full frame": Mask.from_box((0, 0, width, height)),
        "corner": Mask.from_box((0, 0, 25, 40)),
        "a row": Mask.from_box((5, 50, 100, 51)),
        "holed": Mask.from_array(holed),
        "two parts": Mask.from_array(parts),
    }


def works_offline(name: str) -> bool:
    return not find("methods", name).extra and not find("methods", name).needs_inpainter


OFFLINE = [name for name in names("methods") if works_offline(name)]


@pytest.mark.parametrize("name", OFFLINE)
def test_contract(name, photo):
    model = load(name)
    scene = model.open(photo)
    before = photo.copy()
    for title, visible in shapes(photo.shape[:2]).items():
        result = scene.complete(mask=visible, seed=5)
        assert result.visible == visible, title
        assert result.amodal.contains(visible), title
        again = load(name).open(photo).complete(mask=visible, seed=5)
        assert again.rgba.tobytes() == result.rgba.tobytes(), title
        seen = visible.crop(result.amodal.box)
        assert np.array_equal(result.rgba[..., 3] > 0, result.amodal.bits), title
        x0, y0 = result.amodal.origin
        rows, columns = np.nonzero(seen)
        assert np.array_equal(result.rgba[rows, columns, :3], photo[rows + y0, columns + x0]), title
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 61), (300, 11)])
def test_odd_sizes(name, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    visible = Mask.from_box((0, 0, max(1, size[1] // 2), max(1, size[0] // 2)))
    assert load(name)(image, mask=visible).amodal.contains(visible)


@pytest.mark.parametrize("name", [name for name in OFFLINE if name != "visible"])
def test_cancel_within_a_step(name, photo, disc_visible):
    calls = []

    def tick(what: str, done: int, total: int) -> None:
        calls.append((what, done, total))
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        load(name)(photo, mask=disc_visible, tick=tick)
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["methods", "inpainters", "segmenters"])
def test_unknown_names_suggest_the_nearest(kind):
    with pytest.raises(AmodalError, match=f"no {kind[:-1]} named"):
        find(kind, "nonsense")
    first = names(kind)[0]
    with pytest.raises(AmodalError, match=f"did you mean '{first}'"):
        find(kind, first + "x")


@pytest.mark.parametrize("kind", ["methods", "inpainters", "segmenters"])
def test_options_are_given_as_they_are_shown(kind):
    for name in names(kind):
        options = find(kind, name).Options
        shown = {row["name"]: row["default"] for row in describe_options(options)}
        assert build_options(options, shown) == options(), name
