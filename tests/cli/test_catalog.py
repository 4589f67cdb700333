"""`list`, `show`, help and start-up: light and complete."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from amodal.cli import run
from amodal.plugins.registry import KINDS, names

SOURCE = str(Path(__file__).parents[2] / "src")


def test_list_names_everything(capsys):
    assert run(["list", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    for kind in KINDS:
        assert sorted(table[kind]) == names(kind)
        assert all(text and not text.startswith("(not available") for text in table[kind].values()), kind


@pytest.mark.parametrize(
    "name", sorted({name for kind in ("methods", "inpainters", "segmenters") for name in names(kind)})
)
def test_show(name, capsys):
    assert run(["show", name]) == 0
    assert name in capsys.readouterr().out
    assert run(["show", name, "--json"]) == 0
    for record in json.loads(capsys.readouterr().out):
        assert record["summary"] and record["license"]
        assert all(option["description"] for option in record["options"]), "every option says what it is"


def test_options_are_shown_as_the_commands_take_them(capsys):
    for name, given in (
        ("hull", ""),
        ("sdxl", "--set inpainter.size="),
        ("grabcut", "--set segmenter."),
        ("inflate", "--lift "),
    ):
        assert run(["show", name]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  --")]
        assert not lines if not given else any(line.startswith(f"  {given}") for line in lines), name


def test_unknown_names(capsys):
    assert run(["show", "hul"]) == 2
    assert "did you mean 'hull'" in capsys.readouterr().err
    assert run(["list", "method"]) == 2
    assert "did you mean 'methods'" in capsys.readouterr().err
    assert run(["segmnt"]) == 2


def test_help_and_version(capsys):
    assert run(["--help"]) == 0
    assert "segment" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("amodal ")


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["show", "hull"], ["segment", "--help"]])
def test_no_torch_is_loaded(arguments):
    code = (
        "import sys; from amodal.cli import run; code = run(sys.argv[1:]); "
        "heavy = {'torch', 'diffusers', 'transformers', 'onnxruntime', 'scipy.ndimage'} & set(sys.modules); "
        "print(heavy, file=sys.stderr) if heavy else None; sys.exit(code or len(heavy))"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_demo(tmp_path, capsys):
    assert run(["demo", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    written = [Path(line.strip()) for line in out.splitlines() if line.startswith("  ")]
    assert len(written) >= 8
    assert all(path.stat().st_size > 0 for path in written)
