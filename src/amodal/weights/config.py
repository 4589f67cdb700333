"""Configurations of networks, the JSON beside weights in the hub's layout, checked before a library builds what they say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import WeightsError
from ..core.files import read_json

__all__ = ["read_config"]

MOST_LAYERS = 1000
LARGEST = 10_000_000
"""No vocabulary, width or side of a picture is larger."""


def read_config(path: str | os.PathLike[str], wanted: str = "") -> dict[str, Any]:
    """A network's configuration: a JSON object.

    Args:
        path: the file.
        wanted: what its folder should be, "a CLIP model", for the text where it cannot be read.

    Raises:
        WeightsError: not readable, no object, or with a number that no network has: a library would build it without an end.
    """
    try:
        content = read_json(path, WeightsError)
    except WeightsError as error:
        if not wanted:
            raise
        raise WeightsError(f"{Path(path).parent} is not {wanted} ({error})") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not the configuration of a network: that is a JSON object")
    for key, number in _numbers("", content):
        most = MOST_LAYERS if "layers" in key or "depth" in key else LARGEST
        if abs(number) > most:
            raise WeightsError(
                f"{path} says {key} = {str(number)[:20]}, at most {most:,} can be; fetch {Path(path).parent} again"
            )
    return content


def _numbers(key: str, value: Any) -> Iterator[tuple[str, int]]:
    """All whole numbers, with the key that they or the list around them have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(key, inner)
    elif isinstance(value, int):
        yield key, value
