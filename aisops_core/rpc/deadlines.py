"""Who is to be looked at when: one heap for every stream of the process. Pure.

Most deadlines move on before they come (each message puts off the moment at which its sender counts as silent). So a
later deadline costs nothing here: the owner is woken at the earlier one, and says then how much longer to wait.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class Deadlines(Generic[Owner]):
    """The nearest deadline of every owner. Times are monotonic seconds; owners are hashable."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._owners: dict[int, Owner] = {}  # an owner that was dropped is let go at once, its place in the heap later
        self._nearest: dict[Owner, tuple[float, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._nearest)

    def add(self, owner: Owner, at: float) -> bool:
        """Wake this owner then, unless that happens earlier anyway. True when it is the nearest deadline of all."""
        known = self._nearest.get(owner)
        if known is not None:
            if known[0] <= at:
                return False
            del self._owners[known[1]]
        self._count += 1
        self._nearest[owner] = (at, self._count)
        self._owners[self._count] = owner
        heapq.heappush(self._heap, (at, self._count))
        return self._heap[0][1] == self._count

    def drop(self, owner: Owner) -> None:
        """Never wake this owner."""
        known = self._nearest.pop(owner, None)
        if known is not None:
            del self._owners[known[1]]

    def due(self, now: float) -> list[Owner]:
        """Take out everybody whose deadline has come."""
        found: list[Owner] = []
        while self._heap and self._heap[0][0] <= now:
            owner = self._owners.pop(heapq.heappop(self._heap)[1], None)
            if owner is not None:
                del self._nearest[owner]
                found.append(owner)
        return found

    def next(self) -> float | None:
        """When to look again; None when nobody waits."""
        while self._heap and self._heap[0][1] not in self._owners:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
