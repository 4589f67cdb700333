"""The documentation's links lead somewhere, the command line understands its commands, no page is long."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from command_line import UsageError, commands_of, parsed

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_bundled_photograph_is_credited():
    """In NOTICE, which goes into the wheel, and in the folder's own table."""
    demo = ROOT / "src" / "amodal" / "_demo"
    for text in ((ROOT / "NOTICE").read_text(encoding="utf-8"), (demo / "README.md").read_text(encoding="utf-8")):
        assert [photo.name for photo in demo.glob("*.jpg") if photo.name not in text] == []


def test_the_tests_that_pages_name_are_there():
    """In the project, or in the template of a plug-in."""
    for page in PAGES:
        for name in re.findall(r"\btests/[\w/]+\.py", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file() or (ROOT / "examples/plugin" / name).is_file(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_command_line_understands_every_command(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8")
    inline = [shlex.split(found.replace("...", "")) for found in re.findall(r"`(amodal [^`]+)`", text)]
    for words in [*commands_of(text), *inline]:
        try:
            parsed(words)
        except typer.Exit:
            pass  # --help and --version end here
        except UsageError as error:
            short = words in inline and type(error).__name__ == "MissingParameter"  # a text may shorten a command
            assert short, f"{page.name}: {' '.join(words)}: {error.format_message()}"


def test_a_shell_block_with_a_wrong_option_is_found():
    words = commands_of("```sh\ncat x | amodal segment - --no-such 1  # why\n```\n")
    assert words == [["amodal", "segment", "-", "--no-such", "1"]]
    with pytest.raises(UsageError, match="no-such"):
        parsed(words[0])


def test_readme_shows_picture_and_commands_at_once():
    head = (ROOT / "README.md").read_text().splitlines()[:30]
    text = "\n".join(head)
    assert "![" in text and "make demo" in text and "make test" in text and "pip install" in text


MINUTES, WORDS = 8, 230


def words_of(text: str) -> int:
    """Words that are read: no code, no comments, no addresses."""
    text = re.sub(r"^```.*?^```|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return len(re.findall(r"[^\W_][\w'-]*", re.sub(r"`[^`]*`", "x", text)))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_page_takes_long_to_read(page):
    assert words_of(page.read_text(encoding="utf-8")) <= MINUTES * WORDS


def test_what_counts_as_words():
    assert words_of("one [two](three/four) `five six`\n```sh\nseven\n```\n<!-- eight -->") == 3


def test_there_are_pictures_and_they_are_small():
    """At least 25, each shown on a page, none above 150 kB, all together below 3 MB."""
    there = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    shown = {Path(found).name for page in PAGES for found in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text())}
    assert shown == set(there)
    assert len(there) >= 25 and max(there.values()) <= 150_000 and sum(there.values()) < 3_000_000
