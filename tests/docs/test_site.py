"""The site: every page is in its navigation, the commands' page tells every command and option. `make check` builds it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from benchmarks.pages import ANSWERS, commercial

from amodal.cli.app import COMMANDS
from amodal.plugins import registry

ROOT = Path(__file__).parents[2]
HOOKS = runpy.run_path(str(ROOT / "docs" / "hooks.py"))


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert named - pages == {"index.md", "commands.md", "contributing.md"}, "the pages that are made"
    assert pages <= named


def test_the_page_of_commands_tells_all_of_them() -> None:
    text = HOOKS["commands"]()
    for name in COMMANDS:
        assert f"amodal {name}" in text
    for told in ("## amodal data build scenes", "--occluders", "`--box X0,Y0,X1,Y1`", "| `-o, --output DIR` |"):
        assert told in text, told
    assert not any(line.startswith("| `") and len(re.findall(r"(?<!\\)\|", line)) != 3 for line in text.splitlines())


def test_the_start_is_the_readme_with_its_links_beside_it() -> None:
    text = HOOKS["outer"]("README.md")
    assert "](docs/" not in text and "](LICENSE)" not in text
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / "docs" / target).exists(), target


def test_every_method_has_its_row() -> None:
    assert sorted(ANSWERS) == sorted(registry.BUILTIN["methods"])


@pytest.mark.parametrize(
    ("license", "told"),
    [
        ("Apache-2.0", "yes"),
        ("CreativeML Open RAIL++-M", "yes, within its list of forbidden uses"),
        ("FLUX.1 [dev] Non-Commercial License", "no"),
        ("no license text; the authors' repository is CC BY-NC 4.0", "no"),
        ("annotations: none given; images: Flickr terms, as COCO", "no license was given: ask"),
        ("none stated by the authors: all rights reserved by default", "no license was given: ask"),
        ("SAM License (Meta's own terms)", "read its terms"),
    ],
)
def test_commercial_use_says_no_more_than_the_license(license: str, told: str) -> None:
    assert commercial(license) == told
