"""`RunFolder`: the folder of a training run, under the one rule of everything that writes many things (`engine.store`)."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import AmodalError
from ..core.files import read_text, write_text
from ..engine.store import Store
from .recipe import RECORD, Recipe, RecipeError, parse_recipe

__all__ = ["CHECKPOINT", "LOG", "VALIDATION", "WEIGHTS", "RunFolder", "append_row", "cut_table", "is_main", "last_step"]

CHECKPOINT, WEIGHTS = "checkpoint.pt", "weights.safetensors"
LOG, VALIDATION = "log.csv", "validation.csv"
MADE = (CHECKPOINT, WEIGHTS, LOG, VALIDATION, "sheet.jpg", "tensorboard")
FREE = ("run.log_every", "run.validate_every", "run.checkpoint_every", "run.workers", "run.threads")
"""Settings on which nothing that is learnt depends."""


class RunFolder(Store):
    """An open run: one process at a time trains in it.

    The same recipe goes on by itself where its checkpoint left it; another one is refused; `overwrite` begins anew.

    Args:
        folder: made if absent.
        recipe: what is trained.
        overwrite: delete an earlier run first.
        changed: go on although the recipe is not the one that the run began with (`--resume`), for instance with more steps.

    Raises:
        RecipeError: the recipe holds what no run can note (dates).
    """

    def __init__(self, folder: Path, recipe: Recipe, *, overwrite: bool = False, changed: bool = False) -> None:
        try:
            settings = json.loads(json.dumps(recipe.to_dict(), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise RecipeError(f"the recipe holds a value that is no number, text, list or section ({error})") from error
        super().__init__(
            folder, settings, head=RECORD, journal=".journal.jsonl", owns=MADE, free=FREE, overwrite=overwrite
        )
        self._changed = changed

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.folder / CHECKPOINT).exists()

    def recorded(self) -> Mapping[str, Any] | None:
        """The recipe of the run that is there, with the defaults of settings that are newer than it."""
        found = super().recorded()
        try:
            return None if found is None else dict(json.loads(json.dumps(parse_recipe(dict(found)).to_dict())))
        except AmodalError:
            return found

    def _agree(self) -> None:
        if not (self._changed and self.recorded() is not None):
            super()._agree()


def is_main() -> bool:
    """Whether this is the process that writes, of those that `accelerate launch` or `torchrun` started; alone it is."""
    return os.environ.get("RANK", "0") == "0"


def cut_table(path: Path, step: int) -> None:
    """Drop the lines of a table (.csv) after `step`: a run wrote them that was stopped after its last checkpoint."""
    if not path.is_file():
        return
    head, *lines = read_text(path).splitlines(keepends=True) or [""]
    kept = [line for line in lines if line.endswith("\n") and 0 <= _step(line) <= step]
    if len(kept) < len(lines):
        write_text(path, head + "".join(kept))


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row to a table (.csv); of a column that is new, the rows before have nothing."""
    text = read_text(path) if path.is_file() else ""
    names, *lines = text.splitlines() or [""]
    head = names.split(",") if names else []
    columns = list(dict.fromkeys([*head, *row]))
    if columns != head:
        free = "," * (len(columns) - len(head))
        write_text(path, "".join(f"{line}\r\n" for line in (",".join(columns), *(line + free for line in lines))))
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, columns).writerow(row)


def last_step(path: Path) -> int:
    """The step of a table's last row; -1 without one."""
    return _step((read_text(path) if path.is_file() else "").rstrip().rpartition("\n")[2])


def _step(line: str) -> int:
    first = line.partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and len(first) < 16 else -1
