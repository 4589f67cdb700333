"""Options from strings, their errors and their description."""

from typing import ClassVar, Literal

import pytest
from pydantic import Field

from amodal.core.errors import OptionError
from amodal.core.options import OnlyWith, Options, build_options, describe_options, parse_settings
from amodal.plugins.registry import find, names


class Sample(Options):
    steps: int = Field(20, ge=1, le=1000, description="network evaluations")
    leak: tuple[float, float] = Field((0.3, 0.0), description="weights inside and outside")
    background: Literal["histogram", "photo"] = Field("histogram", description="what surrounds the object")
    limit: int | None = Field(None, description="at most so many")
    soft: bool = False


class Paired(Sample):
    only_with: ClassVar[OnlyWith] = {"limit": ("background", ("photo",))}


def test_what_is_set_and_changes_nothing_is_told():
    text = "the option limit=3 changes nothing with background=histogram; it goes with background=photo"
    assert Paired(limit=3).idle() == [text]
    assert Paired(limit=3, background="photo").idle() == Paired(limit=None).idle() == Sample(limit=3).idle() == []
    from amodal.methods.tuning_free.method import TuningFree

    with pytest.warns(
        UserWarning, match=r"the option dilate=0.3 changes nothing with area=hull; it goes with area=dilated-hull"
    ):
        TuningFree({"dilate": 0.3})
    for kind in ("methods", "inpainters", "segmenters", "novel-views", "lifters"):
        for name in names(kind):
            options = find(kind, name).Options
            for idle, (other, _) in options.only_with.items():
                assert {idle, other} <= options.model_fields.keys(), name
            assert options().idle() == [], name


def test_strings_are_converted():
    settings = parse_settings(["steps=5", "leak=0,1", "background=photo", "limit=none", "soft=true"])
    built = build_options(Sample, settings)
    assert built == Sample(steps=5, leak=(0, 1), background="photo", limit=None, soft=True)
    assert build_options(Sample, built) is built
    assert build_options(Sample, {"leak": "(0.1, 0.2)", "limit": "7"}).leak == (0.1, 0.2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"stepz": 3}, "no option named 'stepz'; did you mean 'steps'"),
        ({"steps": "many"}, "option steps='many': input should be a valid integer"),
        ({"steps": 0}, "option steps=0: input should be greater than or equal to 1"),
        ({"background": "blue"}, "option background='blue': input should be 'histogram' or 'photo'"),
        ({"leak": "1"}, "option leak"),
    ],
)
def test_refused(given, text):
    with pytest.raises(OptionError, match=text):
        build_options(Sample, given)


def test_setting_without_equals():
    with pytest.raises(OptionError, match="a setting has the form name=value, got 'steps'"):
        parse_settings(["steps"])


def test_description():
    rows = {row["name"]: row for row in describe_options(Sample)}
    assert rows["steps"] == {
        "name": "steps", "type": "integer 1..1000", "default": "20", "description": "network evaluations"
    }  # fmt: skip
    assert rows["background"]["type"] == "histogram | photo"
    assert rows["leak"]["type"] == "number,number"
    assert rows["limit"]["type"] == "integer | none"
    assert build_options(Sample, {name: row["default"] for name, row in rows.items()}) == Sample(), (
        "what is shown can be given"
    )
