"""Paths as users give them."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import AmodalError

__all__ = ["own_path"]


def own_path(path: str | os.PathLike[str], error: type[AmodalError] = AmodalError) -> Path:
    """A path in which `~` and `~name` are home folders.

    Raises:
        error: nobody of that name has one, or no path at all.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, TypeError) as reason:
        raise error(f"{str(path)[:200]!r} is no path on this machine ({reason}); write it in full") from reason
