"""Every shell block and every Python block of the documentation runs on the sample set, in order, and prints what the page shows.

Blocks that need weights, a GPU, a network, a server or hours say so (`pages.REASONS`) and are parsed instead; their commands are read
by the real command line in test_docs.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from docs import pages

EXTRAS = {"scenes": "embreex", "train": "torch", "physics": "mujoco"}
"""Extras that a block may ask for (`<!-- needs: scenes -->`), and a package of each."""
LANGUAGES = {"sh", "python", "text", "json", "toml", "xml"}
RUN = [page for page in pages.PAGES if any(block.language in ("sh", "python") for block in pages.blocks_of(page))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_the_blocks_of_a_page_run(
    page: Path, sample_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "sample"
    for place in (work, work / "sample"):  # the second is what `amodal data sample sample` finds there already
        shutil.copytree(sample_set, place, copy_function=os.link)  # every writer replaces files, none writes into them
    for name in ("recipes", "examples"):
        (work / name).symlink_to(pages.ROOT / name)
    monkeypatch.chdir(work)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in pages.blocks_of(page):
        if block.reason:
            assert block.reason in pages.REASONS, f"{block} names no known reason"
            pages.understood(block)
        elif block.note == "prints":
            assert pages.same_output(block.code, printed), f"{block} shows\n{block.code}but it prints\n{printed}"
        elif block.language in ("sh", "python"):
            if block.note.startswith("needs: "):
                pytest.importorskip(EXTRAS[block.note.removeprefix("needs: ")])
            run = pages.run_shell(block.code) if block.language == "sh" else None
            printed = pages.run_python(block.code, str(block), names) if run is None else run
        else:
            pages.understood(block)


def test_the_languages_are_known() -> None:
    """A block in another language would be passed over."""
    found = {block.language for page in pages.PAGES for block in pages.blocks_of(page)}
    assert found <= LANGUAGES
    for page in pages.PAGES:
        fences = sum(line.startswith("```") for line in page.read_text(encoding="utf-8").splitlines())
        assert fences == 2 * len(pages.blocks_of(page)), f"{page.name} has a block that is not found"


def test_many_blocks_run() -> None:
    """The marks are for what cannot run here, not for what would fail."""
    blocks = [block for page in RUN for block in pages.blocks_of(page) if block.language in ("sh", "python")]
    reasons = [block.reason for block in blocks if block.reason]
    assert len(blocks) - len(reasons) >= 35
    assert reasons.count("minutes") <= 4
    assert sum(block.note == "prints" for block in (each for page in RUN for each in pages.blocks_of(page))) >= 4


def test_what_does_not_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner itself: pipes, redirections, failures, unknown programs, output that differs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("one\n")
    assert pages.run_shell("cat a.txt > b.txt && cat b.txt  # twice\n") == "one\n"
    with pytest.raises(AssertionError, match="(?s)ended with 2.*no-such"):
        pages.run_shell("amodal segment a.txt --no-such\n")
    with pytest.raises(AssertionError, match="no test runs rm"):
        pages.run_shell("rm -r a.txt\n")
    assert pages.same_output("(1, ...)\nend", "(1, 2.5)\nend\n")
    assert not pages.same_output("(1, ...)\nend", "(2, 2.5)\nend\n")
