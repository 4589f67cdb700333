"""The commands that a page names, and what the command line understands of them without running anything."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer
from typer.main import get_command

from amodal.cli.app import build

UsageError: Any = typer.BadParameter.__bases__[0]
"""What the parser raises for wrong use: click's, or that of the click inside typer."""


def commands_of(text: str) -> list[list[str]]:
    """The words of every `amodal ...` in the shell blocks of a page; `accelerate launch -m amodal ...` is one too."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\|)\s", line):
                words = [word for word in shlex.split(part, comments=True) if word != "..."]
                if words[:1] == ["accelerate"]:
                    words = words[words.index("amodal") :]
                if words[:1] == ["amodal"]:
                    found.append(words)
    return found


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters that the command line reads from `amodal ...`. Raises UsageError for what it does not understand."""
    command: Any = get_command(build())
    rest = words[1:]
    context = command.make_context("amodal", rest[:1], resilient_parsing=True)
    while hasattr(command, "list_commands"):
        if not rest:
            return {}  # a group alone, as a text may name it
        if rest[0].startswith("-"):
            return dict(command.make_context("amodal", list(rest), parent=context.parent).params)
        name, *rest = rest
        command = command.get_command(context, name)
        assert command is not None, f"{name} is no command of {context.command_path}"
        if hasattr(command, "list_commands"):
            context = command.make_context(name, rest[:1], parent=context, resilient_parsing=True)
    return dict(command.make_context(command.name, list(rest), parent=context).params)
