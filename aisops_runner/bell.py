"""Wakes one waiting task: when rung, or when its time has come.

Lighter than an `asyncio.Event` inside `asyncio.timeout`, which makes and drops a timer for every wait: here a timer
that an earlier wait has set is left to run and serves the next ones.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Rung while somebody waits, it wakes them; rung while nobody does, the next wait returns at once."""

    __slots__ = ("_rings_at", "_rung", "_timer", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        self._rung = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ring_within(self, seconds: float) -> None:
        """Ring so many seconds from now at the latest; an earlier ring for another reason does not undo it."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is not None:
            if self._rings_at <= at:
                return
            self._timer.cancel()
        self._rings_at = at
        self._timer = loop.call_at(at, self._on_time)

    def silence(self) -> None:
        """Forget that it was rung: whoever waits next has seen to all there was."""
        self._rung = False

    async def wait(self, seconds: float | None = None) -> None:
        """Return once it was rung since the last time, or after so many seconds, perhaps sooner. One task at a time.

        Args:
            seconds: The longest wait; None: however long it takes. Whoever waits for a time looks at the clock again.
        """
        if not self._rung:
            if seconds is not None:
                self.ring_within(max(seconds, 0.0))
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._rung = False

    def _on_time(self) -> None:
        self._timer = None
        self.ring()
