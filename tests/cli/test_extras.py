"""What an absent package of an extra is told as: the package itself, which pip finds wherever amodal came from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from amodal.cli import run
from amodal.core import extras
from amodal.core.errors import MissingExtraError
from amodal.plugins import registry
from amodal.weights.ready import usable


def test_the_command_names_the_packages_that_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "version_of", lambda name: None if name in ("ray", "fastapi", "uvicorn") else "1.0")
    assert extras.install("serve") == 'pip install fastapi uvicorn  (the extra "serve" of amodal)'
    assert extras.install("ray").startswith("pip install ray ")
    assert "pip install somewhat " in extras.install("heif", needed="somewhat")
    assert extras.requirements()["ray"]["ray"] is None
    monkeypatch.setattr(extras, "version_of", lambda name: None if name in ("torch", "trimesh") else "1.0")
    assert extras.install("diffusion,scenes") == (
        'pip install torch trimesh  (the extras "diffusion" and "scenes" of amodal)'
    )


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_plug_in_names_packages_and_is_not_ready_without_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that needs two extras: the lifters that fit a field."""
    monkeypatch.setattr(extras, "version_of", lambda name: None)
    for name in registry.names(kind):
        if extra := getattr(registry.find(kind, name), "extra", ""):
            told = usable(kind, name, extras.requirements())
            assert not told["ready"] and re.match(r"pip install [a-z]", told["do"]) and f'"{extra[:6]}' in told["do"]


def test_an_error_names_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    from amodal.geometry.mesh import load_trimesh

    with pytest.raises(MissingExtraError, match=r"needs the package 'trimesh'; run: pip install trimesh .*\"scenes\""):
        load_trimesh()


@pytest.mark.parametrize(
    "command",
    [
        ["recognize", "photo.jpg", "--box", "1,1,9,9", "--labels", "cup,dog"],
        ["data", "convert-weights", "pix2gestalt.ckpt", "out"],
    ],
)
def test_commands_without_torch_end_in_one_line(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pix2gestalt.ckpt").write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(command) in (1, 2)
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith("amodal: ")


def test_no_text_offers_what_pip_does_not_find() -> None:
    """The package is not on an index: `pip install "amodal[extra]"` finds nothing."""
    root = Path(__file__).parents[2]
    for folder in ("src", "docs"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".py", ".md"):
                text = path.read_text(encoding="utf-8")
                assert not re.search(r'pip install "amodal\[[\w,]+\]"', text), path
