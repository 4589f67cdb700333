"""`Worker`: makes the work's model once and maps rows to results. Knows nothing of pools, Ray or files.

Whatever runs it, a row's results depend on the row, the settings and the seed alone: a batch cut off and gone on with, run by
one worker or by many, ends in the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..core.errors import AmodalError, Cancelled

__all__ = ["Done", "Result", "Row", "Runner", "Spec", "Work", "Worker", "done", "failed", "in_order", "only", "seed_of"]


@dataclass(frozen=True)
class Row:
    """A unit of work.

    Attributes:
        id: unique in the batch.
        content: JSON-ready; what the work needs to know of it.
        parts: the ids of the records it will give, where they are known beforehand; a row that fails as a whole fails each.
        number: its place in the batch.
    """

    id: str
    content: dict[str, Any]
    parts: tuple[str, ...] = ()
    number: int = 0


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
        work: the class whose instances are a `Work`, kept by its name "module:Class"; or such an instance, which then works in
            this process only.
        settings: keyword arguments of that class.
        seed: the batch's seed.
    """

    work: str | type[Any] | Work
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.work, type):
            object.__setattr__(self, "work", f"{self.work.__module__}:{self.work.__qualname__}")


Done = tuple[Row, list[Result]]
Runner = Callable[[Spec, Iterable[Row]], Iterator[Done]]
"""`run_local` or `run_ray` with their numbers of workers: each row with its results, in any order. Everything that does many
things alike (batches, evaluation, data building) is given one."""


class Worker:
    """Loads once, maps rows. Batches, evaluation and data building use it, each with a `Work` of its own."""

    def __init__(self, spec: Spec) -> None:
        """Raises what loading the work raises (UnknownNameError, WeightsError, MissingExtraError, ...)."""
        self.work: Work
        if isinstance(spec.work, str):
            module, _, name = spec.work.partition(":")
            self.work = getattr(import_module(module), name)(**spec.settings)
        else:
            self.work = spec.work
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


def done(row: Row, content: dict[str, Any] | None = None, files: dict[str, bytes] | None = None) -> list[Result]:
    """The only result of a row that did well."""
    return [Result({"id": row.id, "status": "done", "error": None, **(content or {})}, files or {})]


def only(results: Sequence[Result]) -> Result:
    """The only result of a row, where a failure must stop everything. Raises AmodalError with its reason."""
    if results[0].record["error"] is not None:
        raise AmodalError(results[0].record["error"])
    return results[0]


def in_order(run: Callable[[Iterable[Row]], Iterable[Done]], rows: Iterable[Row]) -> Iterator[Done]:
    """What `run` makes of the rows, in the order of the rows."""
    waiting: deque[Row] = deque()
    there: dict[str, list[Result]] = {}

    def noted() -> Iterator[Row]:
        for row in rows:
            waiting.append(row)
            yield row

    for row, results in run(noted()):
        there[row.id] = results
        while waiting and waiting[0].id in there:
            first = waiting.popleft()
            yield first, there.pop(first.id)


def failed(row: Row, reason: str) -> list[Result]:
    """The failure of a whole row, once for each of its parts."""
    ids: Sequence[str] = row.parts or (row.id,)
    image = row.content.get("image")
    return [Result({"id": part, "image": image, "status": "failed", "error": reason}) for part in ids]


def seed_of(identity: str, seed: int) -> int:
    """The seed of a row in [0, 2^31): from its id and the batch's seed, so that order and company do not matter."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{identity}".encode(errors="surrogatepass")).digest()[:4], "big") >> 1
