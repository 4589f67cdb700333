"""The record on the page of formats is one that this version writes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from amodal.cli import run

ROOT = Path(__file__).parents[2]
FREE = {"counts", "sha256_pixels", "versions", "size", "origin", "score"}
"""Cut short on the page, or of the machine's rounding and packages."""


def shape(value: Any, name: str = "") -> Any:
    """A record without what may differ: names of fields, options, weights and what is absent stay."""
    if name in FREE:
        return None
    if isinstance(value, dict):
        return {key: shape(each, key) for key, each in value.items()}
    if isinstance(value, list) and name == "samples":
        return shape(value[0])
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_the_record_is_what_is_written_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(
        r"```json\n(\{\n \"format\": \"amodal/completion/1\".*?)```", (ROOT / "docs/formats.md").read_text(), re.S
    )
    shown = json.loads(text)
    assert run(["data", "sample", str(tmp_path / "sample")]) == 0
    monkeypatch.chdir(tmp_path / "sample")
    assert run(["segment", "photo.jpg", "--mask", "visible.png", "-o", "out"]) == 0
    record = json.loads(Path("out/photo.json").read_text())
    assert shown["visible_area"] == record["visible_area"]
    assert shown["amodal_area"] == pytest.approx(record["amodal_area"], rel=0.02)
    for part in (shown, record):
        for name in ("visible_box", "amodal_box"):
            part[name] = len(part[name])
    assert shape(shown) == shape(record)
