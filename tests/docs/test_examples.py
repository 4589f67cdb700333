"""The example scripts run as they are, on the photographs that the package ships."""

import importlib.util
import json
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["complete", "many_prompts", "measure", "occluder", "take_apart"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    assert capsys.readouterr().out.strip(), "it says what it found"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells, one after the other; what a cell ends with can show itself as a picture where it should."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES[0].parent / "tour.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "tour.ipynb", "exec"), names)
    for name in ("result", "hidden", "layers"):
        assert names[name]._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert "occluded pixels" in capsys.readouterr().out
