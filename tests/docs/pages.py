"""The blocks of the documentation's pages, and how they are run: in this process, in a copy of the sample set.

A block that cannot run here says why in a comment before it: `<!-- not run: weights -->`. The output that a page shows is a `text`
block after `<!-- prints -->`: it is compared with what the block before it printed, where `...` stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amodal.cli import run

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
REASONS = {
    "a server",
    "data of your own",
    "GPU",
    "hours",
    "installs",
    "minutes",
    "network",
    "the repository",
    "weights",
}
"""Why a block may not be run."""
BLOCK = re.compile(r"^(?:<!-- ([^\n]*?) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of code: where it is, its language, and what the comment before it says."""

    page: Path
    line: int
    language: str
    code: str
    note: str

    @property
    def reason(self) -> str:
        """Why it is not run; empty: it is."""
        return self.note.removeprefix("not run: ") if self.note.startswith("not run: ") else ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start(2)) + 1, found[2], found[3], found[1] or "")
        for found in BLOCK.finditer(text)
    ]


def commands(code: str) -> Iterator[list[list[str]]]:
    """The commands of a shell block: a line's parts between `&&`, each a pipe of commands."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&>")
        lexer.whitespace_split = True
        part: list[list[str]] = [[]]
        for word in lexer:
            if word == "&&":
                yield part
                part = [[]]
            elif word == "|":
                part.append([])
            else:
                part[-1].append(word)
        if part != [[]]:
            yield part


def run_shell(code: str) -> str:
    """Run a block in the current folder, as a shell would; what it printed. A command that fails is an AssertionError."""
    printed = ""
    for pipe in commands(code):
        given = b""
        for words in pipe:
            target = ""
            if ">" in words:
                *words, _, target = words
            given = _run_one(_expanded(words), given)
            if target:
                Path(target).write_bytes(given)
                given = b""
        printed += given.decode()
    return printed


def _expanded(words: list[str]) -> list[str]:
    return [each for word in words for each in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def _run_one(words: list[str], given: bytes) -> bytes:
    name, *rest = words
    if name == "cat":
        return b"".join(Path(file).read_bytes() for file in rest)
    if name == "cd":
        os.chdir(rest[0])
        return b""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(given))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if name == "amodal":
                code = run(rest)
            else:
                assert name == "python" and Path(rest[0]).suffix == ".py", f"no test runs {' '.join(words)}"
                runpy.run_path(rest[0], run_name="__main__")
                code = 0
    finally:
        sys.stdin = before
    assert code == 0, f"{' '.join(words)} ended with {code}: {err.buffer.getvalue().decode()}"
    return bytes(out.buffer.getvalue())


def run_python(code: str, where: str, names: dict[str, Any]) -> str:
    """Run a block with what the page's earlier blocks named; what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, where, "exec"), names)
    return out.getvalue()


def same_output(shown: str, printed: str) -> bool:
    """Whether a program printed what a page shows; `...` stands for any text."""
    parts = (re.escape(part.strip()) for part in shown.strip().split("..."))
    return re.fullmatch(r"\s*(?s:.*?)\s*".join(parts), printed.strip()) is not None


def understood(block: Block) -> None:
    """A block that is not run is at least of its language."""
    if block.language == "python":
        compile(block.code, str(block), "exec")
    elif block.language == "sh":
        list(commands(block.code))
    elif block.language == "json":
        for line in block.code.strip().split("\n") if block.code.lstrip().startswith("{") else [block.code]:
            json.loads(line)
    elif block.language == "toml":
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        tomllib.loads(block.code)
