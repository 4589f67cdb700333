"""Sections of configurations: paths beside the file, settings laid over it, errors that name the place."""

import pytest

from amodal.core.config import Count, Share, config, read_sections, section
from amodal.core.errors import OptionError


@config
class Inner:
    share: Share = 0.5
    names: tuple[str, ...] = ()


@config
class Outer:
    count: Count = 3
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()


def test_sections_in_sections():
    made = section({"inner": {"names": ["a", "b"]}, "many": [{"share": 1}, {}]}, Outer, "outer")
    assert made == Outer(3, Inner(names=("a", "b")), (Inner(1.0), Inner()))
    assert hash(made) == hash(Outer(3, Inner(names=("a", "b")), (Inner(1.0), Inner())))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"count": 0}, r"outer\.count = 0: input should be greater than or equal to 1"),
        ({"count": "3"}, r'outer\.count = "3": input should be a valid integer'),
        ({"inner": 3}, r"\[outer\.inner\] must be a section, got 3"),
        ({"inner": {"shape": 1}}, r"section \[outer\.inner\] has no key 'shape'; did you mean 'share'"),
        ({"many": [{}, {"nam": 1}]}, r"section \[outer\.many\.1\] has no key 'nam'; did you mean 'names'"),
        ({"inner": {"share": float("nan")}}, r"outer\.inner\.share = nan"),
        ([], r"\[outer\] must be a section, got \[\]"),
    ],
)
def test_errors_name_the_place(raw, words):
    with pytest.raises(OptionError, match=words):
        section(raw, Outer, "outer")


def test_files_and_settings(tmp_path):
    (tmp_path / "a.toml").write_text('photos = "../data"\nlist = ["./x", "y"]\n[part]\nkey = "plain"\n')
    raw = read_sections(tmp_path / "a.toml", ["part.key=3", "part.deep.er=../here"])
    assert raw["photos"] == str(tmp_path / "../data") and raw["list"] == [str(tmp_path / "x"), "y"]
    assert raw["part"] == {"key": 3, "deep": {"er": "../here"}}
    for bad in ("part", "=3", "photos.x=1"):
        with pytest.raises(OptionError, match="section.key=value|is a value, not a section"):
            read_sections(tmp_path / "a.toml", [bad])
