"""Arguments of the types' methods: sizes, boxes, places and ways in whole pixels, told where they are none."""

from __future__ import annotations

from typing import Any

from .errors import MALFORMED, MaskError
from .rle import whole

__all__ = ["MAX_ORIGIN", "box_of", "place_of", "size_of"]

MAX_ORIGIN = 1_000_000
"""No mask starts further away from the image's first pixel."""
MAX_SIDE = 1 << 30


def size_of(value: Any) -> tuple[int, int]:
    """A size (H, W): two whole numbers, none negative. Raises MaskError."""
    try:
        height, width = map(whole, value)
    except MALFORMED as error:
        raise MaskError(f"a size is (H, W), two whole numbers of pixels, got {_shown(value)}") from error
    if not (0 <= height <= MAX_SIDE and 0 <= width <= MAX_SIDE):
        raise MaskError(f"a size is (H, W) in pixels; ({height}, {width}) is none that a picture can have")
    return height, width


def box_of(value: Any) -> tuple[int, int, int, int]:
    """A half-open box (x0, y0, x1, y1) of four whole numbers. Raises MaskError."""
    try:
        x0, y0, x1, y1 = map(whole, value)
    except MALFORMED as error:
        raise MaskError(f"a box is (x0, y0, x1, y1), four whole numbers of pixels, got {_shown(value)}") from error
    if max(abs(x0), abs(y0), abs(x1), abs(y1)) > MAX_SIDE:
        raise MaskError(f"the box ({x0}, {y0}, {x1}, {y1}) is too large; boxes are in pixels of the image")
    return x0, y0, x1, y1


def place_of(value: Any, what: str = "the origin of a mask") -> tuple[int, int]:
    """A place or way (x, y) of two whole numbers, at most `MAX_ORIGIN` far. Raises MaskError."""
    try:
        x, y = map(whole, value)
    except MALFORMED as error:
        raise MaskError(f"{what} is [x, y], two whole numbers, got {_shown(value)}") from error
    if max(abs(x), abs(y)) > MAX_ORIGIN:
        raise MaskError(f"{what}, [{x}, {y}], is too far away; it is in pixels of the image")
    return x, y


def _shown(value: Any) -> str:
    return f"{str(value)[:40]} ({type(value).__name__})"
