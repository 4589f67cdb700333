"""Configurations: frozen dataclasses that pydantic checks, filled from TOML files and from `section.key=value` settings."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from .errors import OptionError, nearest
from .files import read_toml, toml_value

__all__ = [
    "Batch",
    "Count",
    "Depths",
    "FourWidths",
    "Natural",
    "Positive",
    "Processes",
    "Share",
    "SixWidths",
    "Span",
    "Weight",
    "Width",
    "Widths",
    "config",
    "levels_agree",
    "overlaid",
    "read_sections",
    "section",
]

T = TypeVar("T")

Count = Annotated[int, Field(ge=1, le=10**12)]
"""A number of things, at least one."""
Natural = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things, or a seed: not negative."""
Batch = Annotated[int, Field(ge=1, le=65_536)]
"""Things that are in memory at once."""
Processes = Annotated[int, Field(ge=0, le=256)]
"""Processes or threads."""
Width = Annotated[int, Field(ge=1, le=4096)]
"""Channels of a layer."""
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=12)]
"""Channels of the levels of a network."""
FourWidths = Annotated[tuple[Width, ...], Field(min_length=4, max_length=4)]
SixWidths = Annotated[tuple[Width, ...], Field(min_length=6, max_length=6)]
Depths = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=12)]
"""Blocks of the levels of a network."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, or a probability."""
Weight = Annotated[float, Field(ge=0)]
"""A weight: zero leaves its thing out."""
Positive = Annotated[float, Field(gt=0)]
"""Above zero."""


def _ascending(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"the lower bound is above the upper one; write [{span[1]}, {span[0]}]")
    return span


Span = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
"""A lower and an upper bound, above zero."""


def levels_agree(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    """Raises ValueError unless a network has channels and blocks for as many levels."""
    if len(widths) != len(depths):
        raise ValueError(f"widths has {len(widths)} levels, depths {len(depths)}; give both as many")


@dataclass_transform(frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Makes a class one section of a configuration: a frozen dataclass, closed, without NaN and infinities.

    Fields that are sections themselves are annotated with their class, lists of sections with `tuple[Section, ...]`.
    """
    closed = ConfigDict(extra="forbid", allow_inf_nan=False)
    return cast(type[T], dataclass(frozen=True, config=closed)(cls))


def read_sections(path: Path, settings: Iterable[str] = ()) -> dict[str, Any]:
    """A TOML file as plain values, with `section.key=value` settings laid over it (values in TOML syntax, bare words as text).

    A text of the file that begins with `./` or `../` is a path relative to the file; settings stay as they are given.

    Raises:
        OptionError: an unreadable file, or a setting that is not of that form.
    """
    return overlaid(_beside(read_toml(path, OptionError), path.parent), settings)


def overlaid(raw: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Plain values with `section.key=value` settings laid over them, in place. Raises OptionError."""
    for item in settings:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise OptionError(f"a setting has the form section.key=value, got {item!r}")
        *parents, last = key.strip().split(".")
        place = raw
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise OptionError(f"setting {key}: {name!r} is a value, not a section")
        place[last] = toml_value(value)
    return raw


def section(raw: Any, cls: type[T], name: str) -> T:
    """Plain values as the configuration `cls`, its own sections included.

    Args:
        raw: what a TOML file or JSON holds at this place.
        cls: made by `config`.
        name: of the place, for errors.

    Raises:
        OptionError: not a section, an unknown key (with the nearest known one), a value of the wrong type or out of its range.
    """
    if not isinstance(raw, dict):
        raise OptionError(f"[{name}] must be a section, got {raw!r}")
    try:
        # JSON is strict about types (true is no number, "3" neither) and knows lists where Python has tuples.
        return TypeAdapter(cls).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(_told(first["loc"], first["type"], first["msg"], first["input"], cls, name)) from error


def _told(loc: tuple[int | str, ...], kind: str, message: str, given: Any, cls: type, name: str) -> str:
    """One line for one error of pydantic."""
    place = ".".join(str(part) for part in (name, *loc))
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys_at(cls, loc[:-1])
        where = ".".join(str(part) for part in (name, *loc[:-1]))
        return f"section [{where}] has no key {loc[-1]!r}; {nearest(str(loc[-1]), known)}"
    if kind in ("missing", "missing_argument"):
        return f"{place} is not set; give it a value"
    if kind == "dataclass_type":
        return f"[{place}] must be a section, got {given!r}"
    shown = given if not isinstance(given, str) else json.dumps(given)
    return f"{place} = {shown}: {message.lower().removeprefix('value error, ')}"


def _keys_at(cls: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at a place knows."""
    for part in loc:
        hint = typing.get_type_hints(cls).get(part, cls) if isinstance(part, str) else cls
        while not dataclasses.is_dataclass(hint) and typing.get_args(hint):
            hint = typing.get_args(hint)[0]
        cls = hint
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _beside(value: Any, folder: Path) -> Any:
    """Plain values with each relative path (a text that begins with `./` or `../`) taken from `folder`."""
    if isinstance(value, dict):
        return {key: _beside(part, folder) for key, part in value.items()}
    if isinstance(value, list):
        return [_beside(part, folder) for part in value]
    if isinstance(value, str) and value.startswith(("./", "../")):
        return str(folder / value)
    return value
