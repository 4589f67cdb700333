"""`Shelf`: what clients left here, bounded in number, size and time; each item is its owner's alone."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import AmodalError

__all__ = ["Gone", "Shelf"]

T = TypeVar("T")


class Gone(AmodalError):
    """There is no such item, no longer, or it is somebody else's: the three look the same."""


@dataclass
class _Entry(Generic[T]):
    owner: str
    item: T
    cost: int
    used: float


class Shelf(Generic[T]):
    """Least recently used items give way. Thread-safe."""

    def __init__(
        self,
        what: str,
        count: int,
        keep_s: float,
        cost: int | None = None,
        pinned: Callable[[T], bool] = lambda item: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            what: the kind of thing, for error texts.
            count: how many at most.
            keep_s: seconds without use after which an item goes.
            cost: bound of the sum of the items' costs.
            pinned: items that may not go yet.
            clock: seconds.
        """
        self.what = what
        self.count = count
        self.keep_s = keep_s
        self.cost = cost
        self.pinned = pinned
        self.clock = clock
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, owner: str, item: T, cost: int = 0) -> str:
        """Keep an item; its id is 128 random bits."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._entries[key] = _Entry(owner, item, cost, self.clock())
            self._make_room()
        return key

    def get(self, key: str, owner: str) -> T:
        """The item, if it is there and the owner's. Raises Gone."""
        with self._lock:
            self._make_room()
            entry = self._entries.get(key)
            if entry is None or entry.owner != owner:
                raise Gone(
                    f"there is no such {self.what} (any more); results are kept for {self.keep_s / 60:.0f} minutes"
                )
            entry.used = self.clock()
            self._entries.move_to_end(key)
            return entry.item

    def drop(self, key: str, owner: str) -> None:
        """Remove an item. Raises Gone."""
        self.get(key, owner)
        with self._lock:
            self._entries.pop(key, None)

    def of(self, owner: str) -> list[T]:
        """All items of an owner."""
        with self._lock:
            return [entry.item for entry in self._entries.values() if entry.owner == owner]

    def sweep(self) -> None:
        """Remove what has not been used for too long."""
        with self._lock:
            self._make_room()

    def _make_room(self) -> None:
        old = self.clock() - self.keep_s
        newest = next(reversed(self._entries), None)
        for key, entry in list(self._entries.items()):
            crowded = len(self._entries) > self.count or (
                self.cost is not None and sum(e.cost for e in self._entries.values()) > self.cost
            )
            if (entry.used < old or (crowded and key != newest)) and not self.pinned(entry.item):
                del self._entries[key]
            elif entry.used >= old and not crowded:
                break
