"""Several objects at once on the threads of one process; answers come back in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["cores", "overlapped"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def overlapped(work: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
    """`work(item)` of each item, in order, while the next ones are under way on other threads (two, on two cores or more).

    For work that mostly waits in ONNX Runtime, OpenCV or NumPy: what one object does between its network calls overlaps
    with the calls of another. The answers are those of a plain loop. Leaving the iteration early starts no further item.
    """
    if len(items) < 2 or cores() < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(work, item) for item in items]
        try:
            for one in waiting:
                yield one.result()
        finally:
            for one in waiting:
                one.cancel()
