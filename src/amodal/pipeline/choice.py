"""`ModelChoice`: which parts make a model, by name and options; what commands, batches, services and clients pass on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import OptionError
from ..plugins import registry
from .model import Model, load

__all__ = ["PARTS", "ModelChoice", "Part", "Values", "options_field"]

Part = Literal["method", "inpainter", "segmenter"]
PARTS: tuple[Part, ...] = get_args(Part)
Name = Annotated[str, Field(min_length=1, max_length=4096)]
Scalar = bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=4096)] | None
Values = Annotated[
    Mapping[Annotated[str, Field(max_length=64)], Scalar | Annotated[list[Scalar], Field(max_length=64)]],
    Field(max_length=64),
]


class ModelChoice(BaseModel):
    """Which method, inpainter and segmenter, with their options; what is left out is the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Name | None = None
    inpainter: Name | None = None
    segmenter: Name | None = None
    options: Values = {}
    inpainter_options: Values = {}
    segmenter_options: Values = {}

    @classmethod
    def of(cls, **fields: Any) -> ModelChoice:
        """A choice from names and options that somebody typed or a file holds.

        Raises:
            OptionError: a name or option that is too long, no text, or of a wrong type.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(step)[:64] for step in first["loc"])
            raise OptionError(f"{place} = {str(first['input'])[:60]!a} cannot be: {first['msg'].lower()}") from error

    def name_of(self, part: Part) -> str | None:
        """The name of a part, if it is chosen."""
        name: str | None = getattr(self, part)
        return name

    def options_of(self, part: Part) -> Mapping[str, Any]:
        """The options of a part."""
        values: Mapping[str, Any] = getattr(self, options_field(part))
        return values

    def over(self, base: ModelChoice) -> ModelChoice:
        """This choice, and from `base` what it leaves out; options of `base` only for the parts that stay the same."""
        fields: dict[str, Any] = {}
        for part in PARTS:
            name, known = self.name_of(part), base.name_of(part)
            fields[part] = name or known
            kept = base.options_of(part) if name in (None, known) else {}
            fields[options_field(part)] = {**kept, **self.options_of(part)}
        return ModelChoice.of(**fields)

    def named(self) -> ModelChoice:
        """With the names of the defaults written out, checked before anything is loaded: what a batch goes on with later.

        Raises:
            UnknownNameError, OptionError.
        """
        method = self.method or registry.DEFAULTS["methods"]
        names = {
            "method": method,
            "inpainter": self.inpainter or registry.default_inpainter(method),
            "segmenter": self.segmenter or registry.DEFAULTS["segmenters"],
        }
        made = self.model_copy(update=names)
        for part in PARTS:
            registry.check(f"{part}s", names[part], made.options_of(part))
        return made

    def load(self, device: str = "auto") -> Model:
        """The model. Raises what `load` raises."""
        return load(**dict(self), device=device)


def options_field(part: Part) -> str:
    """The name of the field, and of the argument of `load`, with a part's options."""
    return "options" if part == "method" else f"{part}_options"
