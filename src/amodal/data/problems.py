"""`Problem`, something bad in a data set, and how many of them are told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Problem", "alike"]


@dataclass(frozen=True)
class Problem:
    """Something bad in a data set: the file, the object's (or image's) id, and what is wrong."""

    source: str
    id: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.id}: {self.text}"


def alike(problems: Iterable[Problem]) -> list[str]:
    """Problems as lines, one of each kind with the number of others: those are alike that differ in ids and numbers alone."""
    kinds: dict[str, list[Problem]] = {}
    for problem in dict.fromkeys(problems):
        kind = problem.text
        for name in (problem.id, problem.id.replace("/", "_")):
            kind = kind.replace(name, "*") if name else kind
        kinds.setdefault(re.sub(r"[\d*]+", "*", kind), []).append(problem)
    return [f"{first}{f' (and {len(more)} more like it)' if more else ''}" for first, *more in kinds.values()]
