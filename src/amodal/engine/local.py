"""A batch on this machine: in this process, or in a pool of processes that outlives a worker's death."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from ..core.errors import UsageError
from .worker import Done, Result, Row, Spec, Worker, failed

__all__ = ["run_local"]

MAX_PROCESSES = 256
ATTEMPTS = 3
"""A row in whose company a worker process died is tried alone so often before it counts as failed."""

_worker: Worker | None = None


def run_local(spec: Spec, rows: Iterable[Row], workers: int = 1) -> Iterator[Done]:
    """Each row with its results, in the order in which they are done.

    Args:
        spec: the work.
        rows: what is to be done; taken as it is needed.
        workers: processes; 1 works in this one.

    Raises:
        UsageError: too many processes.
        what loading the work raises.
    """
    if workers > MAX_PROCESSES:
        raise UsageError(
            f"{workers} processes are more than the {MAX_PROCESSES} that one machine may have; use Ray for more"
        )
    if workers <= 1:
        worker = Worker(spec)
        for row in rows:
            yield row, worker([row])[0]
        return
    yield from _run_pool(spec, rows, workers)


def _run_pool(spec: Spec, rows: Iterable[Row], workers: int) -> Iterator[Done]:
    coming, waiting = iter(rows), deque[Row]()
    flying: dict[Future[list[Result]], Row] = {}
    while True:
        with _pool(spec, workers) as pool:
            try:
                while True:
                    waiting.extend(islice(coming, max(0, 2 * workers - len(flying) - len(waiting))))
                    if not waiting and not flying:
                        return
                    while waiting:
                        flying[_submit(pool, waiting[0])] = waiting[0]
                        waiting.popleft()
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        results = future.result()
                        yield flying.pop(future), results
            except BrokenProcessPool:
                pass
        # A process died (killed, or out of memory): what was under way is done again, one at a time, to find the culprit.
        for row in flying.values():
            yield row, _run_alone(spec, row)
        flying = {}


def _run_alone(spec: Spec, row: Row) -> list[Result]:
    for _ in range(ATTEMPTS):
        with _pool(spec, 1) as pool:
            try:
                return _submit(pool, row).result()
            except BrokenProcessPool:
                continue
    return failed(row, f"the worker process died {ATTEMPTS} times on this row (killed, or out of memory)")


@contextmanager
def _pool(spec: Spec, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block; at once if it is left by an error or Ctrl-C, as nobody would take what they still do."""
    # spawn: forking a process that has threads (OpenCV, ONNX Runtime, torch) can lock up
    context = multiprocessing.get_context("spawn")
    held, holder = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _start, (spec, workers, context.Value("i", 0), held))
    with held, holder:
        try:
            yield pool
        except BaseException:
            holder.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, row: Row) -> Future[list[Result]]:
    """A process that this starts inherits that Ctrl-C, which a terminal sends to all processes, is not for it but for the parent."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(_run_one, row)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_run_one, row)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(spec: Spec, workers: int, begun: Any, held: Connection) -> None:
    """In a new process: takes its share of the cores, and ends when the parent lets go of `held`, or is killed.

    The model is made on the first row.
    """
    global _worker  # noqa: PLW0603  a process of a pool has no other place
    with begun.get_lock():
        number, begun.value = begun.value, begun.value + 1
    if workers > 1 and hasattr(os, "sched_setaffinity"):
        # Else the threads of each worker would take all cores, and wait for those of the others.
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(every[number % len(every) :: workers]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited (Windows)
    threading.Thread(target=_end_with, args=(held,), daemon=True).start()
    _worker = None
    _specs.append(spec)


def _end_with(held: Connection) -> None:
    held.poll(None)  # nothing is ever sent: it returns at the end
    os._exit(1)


_specs: list[Spec] = []


def _run_one(row: Row) -> list[Result]:
    global _worker  # noqa: PLW0603
    if _worker is None:
        _worker = Worker(_specs[-1])
    return _worker([row])[0]
