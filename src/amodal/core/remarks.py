"""Remarks on what was read: whatever had to be understood in one of several ways is told to whoever asked for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["remark", "remarks"]

_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def remark(text: str, stacklevel: int = 1) -> None:
    """Tell `text` to the `remarks` that listen in this thread; where none do, as a warning.

    Args:
        text: what was understood, and how.
        stacklevel: of the warning, as `warnings.warn` counts it in the function that calls this one.
    """
    heard = _HEARD.get()
    if heard is None:
        warnings.warn(text, stacklevel=stacklevel + 1)
    elif text not in heard:
        heard.append(text)


@contextmanager
def remarks() -> Iterator[list[str]]:
    """Listen: what is told inside the block in this thread comes into the list. Threads do not hear each other."""
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)
