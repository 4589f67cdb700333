"""The committed numbers are those of the networks that ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amodal.weights import catalogue

ROOT = Path(__file__).parents[2]
SHIPPED = {name: entry.sha256 for name, entry in catalogue.entries().items() if entry.kind == "embedded"}


def digests(value: Any) -> Iterator[tuple[str, str]]:
    """Every embedded network that a record names by its SHA-256."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [(key, each)] if key in SHIPPED and isinstance(each, str) else digests(each)
    elif isinstance(value, list):
        for each in value:
            yield from digests(each)


def test_what_was_measured_with_other_weights_is_measured_anew() -> None:
    files = sorted([*(ROOT / "results").rglob("*.json"), *(ROOT / "benchmarks" / "results").rglob("*.json")])
    told = {file: list(digests(json.loads(file.read_text(encoding="utf-8")))) for file in files}
    assert sum(map(bool, told.values())) >= 8
    old = {str(file.relative_to(ROOT)) for file, found in told.items() for name, sha in found if sha != SHIPPED[name]}
    assert not old
