"""The deadlines of many calls behind one timer of the loop: a call that ends in time costs no timer of its own."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_SPARE = 256


class Deadlines(Generic[T]):
    """Tells which calls are late. Times are the loop's.

    Args:
        late: told of every call whose time has come and that was not discarded before.
    """

    def __init__(self, late: Callable[[T], None]) -> None:
        self._late = late
        self._heap: list[tuple[float, int, T]] = []
        self._live: dict[int, None] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = 0.0

    def add(self, at: float, call: T) -> int:
        """Watch a call; returns the number to discard it by."""
        self._count += 1
        self._live[self._count] = None
        heapq.heappush(self._heap, (at, self._count, call))
        if self._timer is None or at < self._armed_at:
            self._arm(at)
        return self._count

    def discard(self, number: int) -> None:
        """A call has ended. Forgetting it is left for later, many at a time."""
        self._live.pop(number, None)
        if len(self._heap) > 2 * len(self._live) + _SPARE:
            self._heap = [item for item in self._heap if item[1] in self._live]
            heapq.heapify(self._heap)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._due)

    def _due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self._live):
            _, number, call = heapq.heappop(self._heap)
            if number in self._live:
                del self._live[number]
                self._late(call)
        if self._heap and self._timer is None:
            self._arm(self._heap[0][0])
