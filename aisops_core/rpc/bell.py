"""Wakes one waiting task. Lighter than an `asyncio.Event`, of which ten thousand streams would need fifty thousand."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung while somebody waits, it wakes them; rung while nobody does, the next wait returns at once."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        self._rung = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        """Return once it was rung since the last time. One task at a time."""
        if not self._rung:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._rung = False
