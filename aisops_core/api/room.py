"""How many octets of large requests are worked on at the same time; those beyond it wait outside, unread.

A batch of jobs may have 16 MiB, and stands in memory several times over while it is read, stored and answered: without
a limit a dozen callers could bring Core down, and hold everybody up meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from aisops_core.api.problems import Problem

ROOM_BYTES: Final = 64 * 1024 * 1024
PATIENCE_S: Final = 30.0
"""So long a request waits for room before it is asked to come again."""
ASIDE_BYTES: Final = 256 * 1024
T = TypeVar("T")


async def aside(octets: int, work: Callable[[], T]) -> T:
    """Do what takes its time with so many octets; with many, in a thread, so that nobody else waits for it."""
    return await asyncio.to_thread(work) if octets > ASIDE_BYTES else work()


class Room:
    """Room for so many octets, given out first come, first served."""

    def __init__(self, octets: int = ROOM_BYTES, patience_s: float = PATIENCE_S) -> None:
        self._free, self._patience_s = octets, patience_s
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def take(self, octets: int) -> AsyncIterator[None]:
        """Hold room for so many octets, which is no more than there is in all.

        Raises:
            Problem: 503, there was none in time.
        """
        await self._wait(octets)
        try:
            yield
        finally:
            self._free += octets
            self._freed.set()

    async def _wait(self, octets: int) -> None:
        try:
            async with asyncio.timeout(self._patience_s), self._turn:
                while self._free < octets:
                    self._freed.clear()
                    await self._freed.wait()
                self._free -= octets
        except TimeoutError:
            raise Problem(
                503,
                "busy",
                "Too many large requests are under way.",
                advice="Send it again later, or smaller requests.",
                headers={"Retry-After": "5"},
            ) from None
