"""`Options`: one frozen class per method, from which flags, JSON schema, web form and documentation are made."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import OptionError, nearest

__all__ = ["OnlyWith", "Options", "build_options", "describe_options", "parse_settings"]

T = TypeVar("T", bound="Options")
OnlyWith = Mapping[str, tuple[str, tuple[Any, ...]]]
"""Names of options that are looked at only where another one has certain values: its name and these."""


class Options(BaseModel):
    """Base of the options of a method, inpainter or segmenter: frozen, closed, every field with a default and a description.

    Write fields as `steps: int = Field(20, ge=1, le=1000, description="...")`; choices are `Literal[...]`. Descriptions
    carry the paper's name and equation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    only_with: ClassVar[OnlyWith] = {}

    def idle(self) -> list[str]:
        """What is set and changes nothing beside the other options, a sentence each."""
        told = []
        for name, (other, values) in self.only_with.items():
            own, current = getattr(self, name), getattr(self, other)
            if current not in values and own != type(self).model_fields[name].default:
                wanted = " or ".join(f"{other}={value}" for value in values)
                told.append(f"the option {name}={own} changes nothing with {other}={current}; it goes with {wanted}")
        return told


def build_options(cls: type[T], values: Mapping[str, Any] | Options | None) -> T:
    """An instance of `cls` from plain values (strings are converted: `"0.3,0"` for pairs, `"true"` for switches).

    Raises:
        OptionError: an unknown name (with the nearest one) or a value that does not fit, with what is allowed.
    """
    if isinstance(values, cls):
        return values
    if not isinstance(values, Mapping | Options | None):
        raise OptionError(f"options are a dictionary of names and values, got {type(values).__name__}")
    given = values.model_dump() if isinstance(values, Options) else dict(values or {})
    for name, value in given.items():
        if name not in cls.model_fields:
            raise OptionError(f"no option named {name!r}; {nearest(name, cls.model_fields)}")
        if isinstance(value, str) and _is_sequence(cls.model_fields[name].annotation):
            given[name] = [part.strip() for part in value.strip("()[] ").split(",") if part.strip()]
        elif str(value).lower() in ("none", "null") and _may_be_none(cls.model_fields[name].annotation):
            given[name] = None
    try:
        return cls.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "options"
        raise OptionError(f"option {name}={repr(given.get(name))[:80]}: {first['msg'].lower()}") from error


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """`["leak=0.3,0", "steps=20"]` to a dictionary of strings.

    Raises:
        OptionError: an item without `=`.
    """
    parsed: dict[str, str] = {}
    for item in settings:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise OptionError(f"a setting has the form name=value, got {item!r}")
        parsed[name.strip().replace("-", "_")] = value.strip()
    return parsed


def describe_options(cls: type[Options]) -> list[dict[str, str]]:
    """One row per option, for `amodal show` and the documentation: name, type, default, description."""
    schema = cls.model_json_schema()["properties"] if cls.model_fields else {}
    rows = []
    for name, field in cls.model_fields.items():
        default = field.get_default(call_default_factory=True)
        rows.append(
            {
                "name": name,
                "type": _type_text(schema[name]),
                "default": "none" if default is None else default if isinstance(default, str) else json.dumps(default),
                "description": field.description or "",
            }
        )
    return rows


def _is_sequence(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return origin in (tuple, list) or any(_is_sequence(part) for part in typing.get_args(annotation) if part is not str)


def _may_be_none(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _type_text(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(str(choice) for choice in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type_text(part) for part in schema["anyOf"])
    if "prefixItems" in schema:
        return ",".join(_type_text(part) for part in schema["prefixItems"])
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    text = str(schema.get("const", schema.get("type", "any"))).replace("null", "none")
    if low is not None or high is not None:
        text += f" {low if low is not None else ''}..{high if high is not None else ''}"
    return text
