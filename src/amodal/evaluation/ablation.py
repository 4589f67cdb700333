"""The tuning-free paper's ablation in one run: parts taken away one by one, and a sweep over inpainters."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import UsageError, nearest

__all__ = ["PARTS", "REPORTED", "Variant", "parts_of", "variants"]

PARTS = ("leak", "background", "area", "object_noise", "soft_edge", "least", "window", "inpainter")
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    # Without the leak the start must not carry the condition either: from noise (strength 1). Ordinary inpainting keeps the
    # known picture outside of the area; with 0,0 nothing of it is left.
    "leak": {"0,1": {"leak": (0.0, 1.0), "strength": 1.0}, "0,0": {"leak": (0.0, 0.0), "strength": 1.0}},
    "object_noise": {"0": {"object_noise": 0.0}, "0.6": {"object_noise": 0.6}},
    "least": {"0": {"least": 0.0}, "0.2": {"least": 0.2}, "0.4": {"least": 0.4}},
    "soft_edge": {"0.05": {"soft_edge": 0.05}, "0.15": {"soft_edge": 0.15}},
}
"""What each other choice of a part sets; the parts that are not here are options with named choices, all of which are tried."""

REPORTED = {"leak": -37.6, "background": -5.6, "area": -6.2}
"""What the paper reports on COCO-A for taking each part away, in points of mIoU (second-hand)."""


@dataclass(frozen=True)
class Variant:
    """One run of an ablation: options of the method that it sets, and the inpainter it uses instead of the chosen one."""

    options: dict[str, Any] = field(default_factory=dict)
    inpainter: str | None = None


def parts_of(text: str) -> tuple[list[str], list[str]]:
    """`"leak,area,inpainter=sd2,sdxl"` as the parts and the inpainters to try; `inpainter=` comes last."""
    head, _, tail = text.partition("inpainter=")
    inpainters = [name for name in tail.split(",") if name]
    return [name for name in head.split(",") if name] + ["inpainter"] * bool(inpainters), inpainters


def variants(parts: Sequence[str], options: type[Any], inpainters: Sequence[str] = ()) -> dict[str, Variant]:
    """The runs of an ablation by name; the first, "full", is the method as it is.

    Args:
        parts: of `PARTS`; each adds one run per other choice that it has.
        options: the method's `Options` class.
        inpainters: what the part "inpainter" tries.

    Raises:
        UsageError: an unknown part, or a method without this option.
    """
    out = {"full": Variant()}
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"no ablation named {part!r}; {nearest(part, PARTS)}")
        if part == "inpainter":
            if not inpainters:
                raise UsageError(
                    "the ablation of the inpainter needs the names of those to try, such as inpainter=sd2,sdxl"
                )
            out |= {f"inpainter={name}": Variant(inpainter=name) for name in inpainters}
            continue
        if part not in options.model_fields:
            raise UsageError(f"this method has no option {part!r} to take away; the ablation is that of tuning-free")
        if part in CHANGES:
            out |= {f"{part}={name}": Variant(change) for name, change in CHANGES[part].items()}
            continue
        known = options.model_fields[part]
        choices = [choice for choice in typing.get_args(known.annotation) if choice != known.default]
        out |= {f"{part}={choice}": Variant({part: choice}) for choice in choices}
    return out
