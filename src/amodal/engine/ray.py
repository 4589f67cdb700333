"""A batch on Ray: actors on one machine or many, on CPU or GPU, with the results of `run_local`; rows are taken as they are needed."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..core.errors import AmodalError, UsageError
from ..core.extras import missing
from .local import ATTEMPTS
from .worker import Done, Result, Row, Spec, Worker, failed

__all__ = ["run_ray"]

BLOCK = 4
"""Rows a task: few, because a task's results arrive together and a kill loses those under way."""
START_S = 300
"""Seconds in which the first actor must start."""


class Actor(Worker):
    """A `Worker` in a process of Ray's, in the folder where the batch was started, if its node has it: paths may be relative."""

    def __init__(self, spec: Spec, folder: str) -> None:
        if os.path.isdir(folder):  # noqa: PTH112  never raises
            os.chdir(folder)
        super().__init__(spec)

    def work_on(self, rows: list[Row]) -> list[list[Result]]:
        """Per row its results."""
        return self(rows)


def run_ray(
    spec: Spec, rows: Iterable[Row], address: str = "local", workers: int = 1, gpus: float = 0.0
) -> Iterator[Done]:
    """Each row with its results, in the order in which they are done.

    Args:
        spec: the work.
        rows: what is to be done; the photos must lie at the same paths on every node, and amodal be installed there.
        address: "local" starts Ray here for this batch; else a cluster's address ("auto", "10.0.0.1:6379", "ray://...").
        workers: actors.
        gpus: GPUs per actor; parts of one are possible.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: no cluster answers at `address`, or Ray does not start here in time.
        AmodalError: an actor cannot load the work.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # its 30 s are short on a busy machine
    try:
        import ray
    except ImportError as error:
        raise missing("Ray", error, "ray") from error
    coming = iter(rows)
    first = list(islice(coming, 1))
    if not first:
        return
    _start(ray, address, workers)
    try:
        yield from _spread(ray, spec, chain(first, coming), workers, gpus)
    except ray.exceptions.RayError as error:
        raise AmodalError(
            f"the batch stopped on Ray: {_last_line(error)}; run the same command again to go on"
        ) from error
    finally:
        ray.shutdown()


def _spread(ray: Any, spec: Spec, rows: Iterator[Row], workers: int, gpus: float) -> Iterator[Done]:
    """Blocks of rows to actors, one at a time each; a block whose actor died too often is done row by row to find the culprit."""
    kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=ATTEMPTS - 1)(Actor)
    idle = [kind.remote(spec, str(Path.cwd())) for _ in range(workers)]
    flying: dict[Any, tuple[Any, list[Row]]] = {actor.work_on.remote([]): (actor, []) for actor in idle}  # done when up
    idle.clear()
    again: deque[Row] = deque()
    while True:
        while idle and (block := [again.popleft()] if again else list(islice(rows, BLOCK))):
            actor = idle.pop()
            flying[actor.work_on.remote(block)] = actor, block
        working = any(block for _, block in flying.values())
        if idle and not working:
            return
        ready, _ = ray.wait(list(flying), num_returns=1, timeout=START_S)
        if not ready and not working:
            needs = f"a CPU and {gpus:g} GPUs" if gpus else "a CPU"
            raise AmodalError(
                f"no actor started on Ray in {START_S} s: each needs {needs} that nothing else holds there"
            )
        for reference in ready:
            actor, block = flying.pop(reference)
            results: list[list[Result]] = []
            try:
                results = ray.get(reference)
            except ray.exceptions.RayActorError:
                if not block:  # it cannot load the work
                    raise
                if len(block) == 1:
                    results = [
                        failed(block[0], f"the actor died {ATTEMPTS} times on this row (killed, or out of memory)")
                    ]
                else:
                    again.extend(block)
                    block = []
            idle.append(actor)
            yield from zip(block, results, strict=True)


def _start(ray: Any, address: str, workers: int) -> None:
    """Start Ray here, or join the cluster. Raises UsageError."""
    _check_answers(address)
    how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == "local":
        how |= {"num_cpus": max(workers, os.cpu_count() or 1), "include_dashboard": False}
    try:
        with _kept_aside() as log:
            ray.init(**how)
    except Exception as error:
        mode = os.environ.get("RAY_AUTH_MODE", "not set")
        token = (
            ""
            if address == "local"
            else f" or it asks for another token: RAY_AUTH_MODE must be as there, here it is {mode}"
        )
        raise UsageError(
            f"Ray does not come up at {address!r}: {_first_line(error)} Either no cluster answers there{token}. "
            f"Its own words are in {log}"
        ) from error


def _check_answers(address: str) -> None:
    """Ray itself asks for minutes where nobody listens. Raises UsageError."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({error}); start one, or use the address 'local'"
        ) from error


@contextmanager
def _kept_aside() -> Iterator[Path]:
    """What native code writes to stderr meanwhile goes into a file, which is deleted if all goes well."""
    sys.stderr.flush()
    handle, name = tempfile.mkstemp(prefix="amodal-ray-", suffix=".log")
    stderr = os.dup(2)
    os.dup2(handle, 2)
    try:
        yield Path(name)
        Path(name).unlink(missing_ok=True)
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(handle)


def _last_line(error: BaseException) -> str:
    """Of an error in an actor, what was raised there: the end of the traceback that Ray passes on."""
    lines = str(getattr(error, "cause", None) or error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('. ')[:200]}." if lines else f"{type(error).__name__}."
