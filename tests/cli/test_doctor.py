"""`amodal doctor`, `list weights` and `show` of weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from amodal.cli import run
from amodal.core import extras
from amodal.plugins import registry
from amodal.weights import catalogue
from amodal.weights.catalogue import Weights


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "AMODAL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


def report(capsys: Any) -> tuple[int, dict[str, Any]]:
    code = run(["doctor", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_it_tells_about_everything(capsys: Any, home: Path) -> None:
    (home / "home").mkdir()
    (home / "home" / "file").write_bytes(b"x" * 1000)
    code, told = report(capsys)
    assert code == 0 and told["problems"] == []
    assert told["devices"][0]["device"] == "cpu"
    assert told["caches"] == {str(home / "home"): 1000, str(home / "hf" / "hub"): 0}
    assert {"numpy", "pillow"} <= set(told["packages"][""])
    for kind in ("methods", "inpainters", "segmenters"):
        assert sorted(told[kind]) == registry.names(kind)
        assert all(row["ready"] or row["do"] for row in told[kind].values())
    assert told["segmenters"]["grabcut"] == {"ready": True, "do": ""}
    for kind, name, option in (
        ("methods", "asbu", "weights"),
        ("methods", "occamodal", "weights"),
        ("inpainters", "diffusers", "model"),
    ):
        told_of = told[kind][name]
        assert (
            told_of == {"ready": False, "do": f"needs weights of your own, as the option {option}"}
            or "pip" in told_of["do"]
        )
    assert (
        "amodal fetch sam-vit-h  (2.6 GB)" in told["segmenters"]["sam"]["do"]
        or "pip install" in told["segmenters"]["sam"]["do"]
    )
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "grabcut            ready" in text and "all well" in text


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    real, absent = extras.version_of, ("diffusers", "ruff", "mypy", "import-linter")
    monkeypatch.setattr(extras, "version_of", lambda name: None if name in absent else real(name) or "1.0")
    code, told = report(capsys)
    assert code == 0
    assert told["segmenters"]["sam"]["do"] == 'pip install diffusers  (the extra "diffusion" of amodal)'
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert 'missing diffusers: pip install diffusers  (the extra "diffusion" of amodal)' in text
    assert "ruff" not in text, "who does not work on amodal itself does not miss it"


def test_damaged_weights_are_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "_weights").mkdir()
    (tmp_path / "_weights" / "x.onnx").write_bytes(b"cut sho")
    entry = Weights(name="x", kind="embedded", summary="", file="x.onnx", sha256="ab" * 32, license="Apache-2.0")
    entry = entry.model_copy(update={"package": tmp_path})
    real = catalogue.entries()
    monkeypatch.setattr(catalogue, "entries", lambda: {**real, "x": entry})
    code, told = report(capsys)
    assert code == 1
    assert any("weights x: damaged: weights 'x' are damaged" in problem for problem in told["problems"])
    assert run(["doctor"]) == 1
    assert "PROBLEM: weights x: damaged" in capsys.readouterr().out


def test_weights_that_are_here(monkeypatch: pytest.MonkeyPatch, home: Path, capsys: Any) -> None:
    folder = home / "hf" / "hub" / "models--facebook--sam-vit-huge"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    (folder / "snapshots" / "c0ffee").mkdir(parents=True)
    (folder / "snapshots" / "c0ffee" / "config.json").write_text("{}")
    (folder / "snapshots" / "c0ffee" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    monkeypatch.setattr(extras, "version_of", lambda name: "1.0")
    assert report(capsys)[1]["segmenters"]["sam"]["ready"]
    assert run(["list", "weights"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert "sam-vit-h here 2.6 GB SAM, ViT-H" in " ".join(next(row for row in rows if "sam-vit-h" in row).split())
    assert len({re.search(r"\S {2,}\S", row).end() for row in rows}) == 1, "the columns begin at one place"
    assert run(["show", "sam-vit-h"]) == 0
    assert f"place     {folder / 'snapshots' / 'c0ffee'}" in capsys.readouterr().out


def test_list_and_show_weights(capsys: Any) -> None:
    assert run(["list", "weights", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["weights"]) == set(catalogue.entries())
    for name, entry in catalogue.entries().items():
        assert entry.license and entry.summary, name
        assert entry.kind == "embedded" or entry.sources, name
        assert run(["show", name, "--json"]) == 0
        record = json.loads(capsys.readouterr().out)[-1]
        assert record["kind"] == "weights" and record["license"].startswith(entry.license)
    assert run(["show", "sam"]) == 0
    assert "sam-vit-h: 2.6 GB, not here; Apache-2.0" in capsys.readouterr().out
    assert run(["list", "wights"]) == 2
    assert "did you mean 'weights'" in capsys.readouterr().err


def test_every_plugin_names_weights_of_the_catalogue() -> None:
    for kind in ("methods", "inpainters", "segmenters"):
        for name in registry.names(kind):
            cls = registry.find(kind, name)
            assert set(cls.needed_weights()) <= set(cls.weights) <= set(catalogue.entries()), name
