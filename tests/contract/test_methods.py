"""One suite for every registered method that works without downloads."""

import pytest

from amodal.core.errors import AmodalError
from amodal.core.options import build_options, describe_options
from amodal.plugins.registry import create_method, find, names
from amodal.testing import check_method


def works_offline(name: str) -> bool:
    return not find("methods", name).extra and not find("methods", name).needs_inpainter


OFFLINE = [name for name in names("methods") if works_offline(name)]


@pytest.mark.parametrize("name", OFFLINE)
def test_contract(name):
    check_method(create_method(name))


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
