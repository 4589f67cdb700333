"""`Worker`: makes the work's model once and maps rows to results. Knows nothing of pools, Ray or files.

Whatever runs it, a row's results depend on the row, the settings and the seed alone: a batch cut off and gone on with, run by
one worker or by many, ends in the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..errors import AmodalError, Cancelled

__all__ = ["Result", "Row", "Spec", "Work", "Worker", "failed", "seed_of"]


@dataclass(frozen=True)
class Row:
    """A unit of work.

    Attributes:
        id: unique in the batch.
        content: JSON-ready; what the work needs to know of it.
        parts: the ids of the records it will give, where they are known beforehand; a row that fails as a whole fails each.
    """

    id: str
    content: dict[str, Any]
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """One line of the output.

    Attributes:
        record: JSON-ready, with `id`, `status` ("done" or "failed") and `error` (text or None).
        files: what is to be written beside it: relative name to content.
    """

    record: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


Work = Callable[[Row, Callable[[str], int]], list[Result]]
"""`work(row, seed_of_id)`: the results of a row; may raise, then the row becomes a failure."""


@dataclass(frozen=True)
class Spec:
    """What a worker must know to be the same everywhere; JSON-ready, so that it travels to other processes and machines.

    Attributes:
        work: "module:Class" whose instances are a `Work`.
        settings: keyword arguments of that class.
        seed: the batch's seed.
    """

    work: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


class Worker:
    """Loads once, maps rows. Evaluation and data building use it with a `Work` of their own."""

    def __init__(self, spec: Spec) -> None:
        """Raises what loading the work raises (UnknownNameError, WeightsError, MissingExtraError, ...)."""
        module, _, name = spec.work.partition(":")
        self.work: Work = getattr(import_module(module), name)(**spec.settings)
        self.seed = spec.seed

    def __call__(self, rows: Iterable[Row]) -> list[list[Result]]:
        """Per row its results. An error of a row is its result and stops nothing; only `Cancelled` passes through."""
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> list[Result]:
        try:
            return self.work(row, lambda part: seed_of(part, self.seed))
        except Cancelled:
            raise
        except AmodalError as error:
            return failed(row, str(error))
        except Exception as error:  # noqa: BLE001  a batch of a million rows must outlive one row's bug or lack of memory
            return failed(row, f"{type(error).__name__}: {error}")


def failed(row: Row, reason: str) -> list[Result]:
    """The failure of a whole row, once for each of its parts."""
    ids: Sequence[str] = row.parts or (row.id,)
    image = row.content.get("image")
    return [Result({"id": part, "image": image, "status": "failed", "error": reason}) for part in ids]


def seed_of(identity: str, seed: int) -> int:
    """The seed of a row in [0, 2^31): from its id and the batch's seed, so that order and company do not matter."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{identity}".encode()).digest()[:4], "big") >> 1
