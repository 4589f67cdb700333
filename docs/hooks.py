"""MkDocs: the pages that are made (commands, start, contributing), and links to files outside `docs/` as plain names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made."""
    from mkdocs.structure.files import File

    made = {"commands.md": commands(), "index.md": outer("README.md"), "contributing.md": outer("CONTRIBUTING.md")}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def outer(name: str) -> str:
    """A page of the repository's root as one of the site: what it links to in `docs/` lies beside it here."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\[([^\]]*)\]\((?!docs/|http|#)([^)]+)\)", r"\1 (`\2`)", text)
    return text.replace("](docs/", "](")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """`[words](../results/x.json)`, right in the repository, leads nowhere on the site: `words (results/x.json)`."""
    depth = page.file.src_uri.count("/")
    outside = rf"\[([^\]]*)\]\((?:\.\./){{{depth + 1}}}([^)#]+)\)"
    return re.sub(outside, lambda link: f"{link[1]} (`{link[2]}`)", markdown)


def commands() -> str:
    """The page: every command with its arguments and options, read from the parsers that run."""
    from typer.main import get_command

    from amodal.cli.app import build

    root = get_command(build())
    parts = ["# Commands", "Made from the commands themselves; `amodal COMMAND --help` prints the same."]

    def add(command: Any, context: Any, name: str) -> None:
        parts.append(f"{'#' * min(4, name.count(' ') + 1)} {name}" if " " in name else f"## {name}")
        parts.append(command.help or "")
        if hasattr(command, "list_commands"):
            for each in command.list_commands(context):
                child = command.get_command(context, each)
                add(child, type(context)(child, parent=context, info_name=each), f"{name} {each}")
            return
        parts.append(f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```")
        rows = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
        if rows:
            table = "\n".join(f"| `{_cell(left)}` | {_cell(right, escape=True)} |" for left, right in rows)
            parts.append(f"| option | what |\n|---|---|\n{table}")

    context = root.context_class(root, info_name="amodal")
    for each in root.list_commands(context):
        child = root.get_command(context, each)
        add(child, type(context)(child, parent=context, info_name=each), f"amodal {each}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(text: str, escape: bool = False) -> str:
    text = " ".join(text.split()).replace("|", r"\|")
    return text.replace("<", "&lt;").replace("[", r"\[") if escape else text
