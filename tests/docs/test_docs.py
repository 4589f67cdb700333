"""The documentation's code runs, its links lead somewhere, its commands exist."""

import re
import shutil
from pathlib import Path

import pytest

import amodal
from amodal.cli import run

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    shutil.copy(Path(amodal.__file__).parent / "_demo" / "coffee.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/segment.md", "docs/add-a-method.md", "docs/tuning-free.md"])
def test_python_blocks_run(page, workplace):
    names: dict[str, object] = {}
    for block in blocks(ROOT / page, "python"):
        exec(compile(block, page, "exec"), names)
    result = names["result"]
    assert isinstance(result, amodal.Completion)
    assert result.amodal.contains(result.visible)


def test_the_batch_page_runs(workplace, capsys):
    for block in blocks(ROOT / "docs" / "batch.md", "python"):
        exec(compile(block, "docs/batch.md", "exec"), {})
    assert "{'done': 1, 'failed': 0}" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_exist(page, capsys):
    used = set()
    for block in blocks(page, "sh"):
        used |= set(re.findall(r"^amodal ([a-z]+)", block, re.MULTILINE))
    for command in sorted(used):
        assert run([command, "--help"]) == 0, f"{page.name}: amodal {command}"
    capsys.readouterr()


def test_readme_shows_picture_and_commands_at_once():
    head = (ROOT / "README.md").read_text().splitlines()[:30]
    text = "\n".join(head)
    assert "![" in text and "make demo" in text and "make test" in text and "pip install" in text
