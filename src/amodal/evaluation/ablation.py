"""The tuning-free paper's ablation (its table 2) in one run: leakage, background and area taken away one by one."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError, nearest

__all__ = ["PARTS", "REPORTED", "variants"]

PARTS = ("leak", "background", "area")
LEAKS = {"0,1": (0.0, 1.0), "0,0": (0.0, 0.0)}
"""Without leakage: ordinary inpainting (outside of the area the known picture), or the model alone."""

REPORTED = {"leak": -37.6, "background": -5.6, "area": -6.2}
"""What the paper reports on COCO-A for taking each part away, in points of mIoU (second-hand)."""


def variants(parts: Sequence[str], options: type[Any]) -> dict[str, dict[str, Any]]:
    """Names of the runs of an ablation to the options they set; the first, "full", is the method as it is.

    Args:
        parts: of `PARTS`; each adds one run per other choice that the option has.
        options: the method's `Options` class.

    Raises:
        UsageError: an unknown part, or a method without this option.
    """
    out: dict[str, dict[str, Any]] = {"full": {}}
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"no ablation named {part!r}; {nearest(part, PARTS)}")
        if part not in options.model_fields:
            raise UsageError(f"this method has no option {part!r} to take away; --ablate is for the method tuning-free")
        field = options.model_fields[part]
        if part == "leak":
            out |= {f"leak={name}": {"leak": value} for name, value in LEAKS.items()}
            continue
        choices = [choice for choice in typing.get_args(field.annotation) if choice != field.default]
        out |= {f"{part}={choice}": {part: choice} for choice in choices}
    return out
