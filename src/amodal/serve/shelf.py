"""`Shelf`: what clients left here, bounded in number, size and time; each item is its owner's alone."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..core.errors import AmodalError

__all__ = ["Gone", "Shelf"]

T = TypeVar("T")


class Gone(AmodalError):
    """There is no such item, no longer, or it is somebody else's: the three look the same."""


@dataclass
class _Entry(Generic[T]):
    owner: str
    caller: str
    item: T
    cost: int
    used: float


class Shelf(Generic[T]):
    """Items give way where there are too many: the least recently used of the caller who has most. Thread-safe."""

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
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def total(self) -> int:
        """The sum of the items' costs."""
        with self._lock:
            return sum(entry.cost for entry in self._entries.values())

    def put(self, owner: str, item: T, cost: int = 0, caller: str = "") -> str:
        """Keep an item; its id is 128 random bits.

        Args:
            owner: who alone may `get` it.
            item: what to keep.
            cost: its share of the bound.
            caller: on whose account it is until the owner asks for it; the owner by default. Callers who never show the
                cookie that they got are one caller, however many sessions they open.
        """
        key = secrets.token_urlsafe(16)
        with self._lock:
            for entry in self._entries.values():
                if entry.owner == owner and not caller:  # the cookie has come back: the owner is a caller of their own
                    entry.caller = owner
            self._entries[key] = _Entry(owner, caller or owner, item, cost, self.clock())
            self._make_room()
        return key

    def get(self, key: str, owner: str) -> T:
        """The item, if it is there and the owner's. Raises Gone."""
        with self._lock:
            self._make_room()
            entry = self._entries.get(key)
            if entry is None or entry.owner != owner:
                raise Gone(
                    f"there is no such {self.what} (any more); {self.what}s are kept for {self.keep_s / 60:.0f} minutes "
                    "without use, and the oldest ones go first where there are too many"
                )
            entry.used, entry.caller = self.clock(), owner
            self._entries.move_to_end(key)
            return entry.item

    def weigh(self, key: str, cost: int) -> None:
        """An item's cost is known now, or another one."""
        with self._lock:
            if key in self._entries:
                self._entries[key].cost = cost
                self._make_room(key)

    def drop(self, key: str, owner: str) -> None:
        """Remove an item. Raises Gone."""
        self.get(key, owner)
        self.discard(key)

    def discard(self, key: str) -> None:
        """Remove an item if it is there still."""
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

    def _make_room(self, kept: str | None = None) -> None:
        """Remove the old; then, until the bounds hold, what its caller can best do without; never `kept` or the newest."""
        old = self.clock() - self.keep_s
        free = {key: entry for key, entry in self._entries.items() if not self.pinned(entry.item)}
        for key, entry in list(free.items()):
            if entry.used < old:
                del self._entries[key], free[key]
        kept = kept or next(reversed(self._entries), None)
        free.pop(kept or "", None)
        while free and (many := len(self._entries) > self.count) | (self.cost is not None and self.total > self.cost):
            share: Counter[str] = Counter()
            for entry in self._entries.values():
                share[entry.caller] += 1 if many else entry.cost
            most = max(share[entry.caller] for entry in free.values())
            key = next(key for key, entry in free.items() if share[entry.caller] == most)  # the least recently used
            del self._entries[key], free[key]
