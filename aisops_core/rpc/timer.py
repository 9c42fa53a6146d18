"""The one timer of all streams: a single callback of the loop wakes whoever is due, many at a time."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from aisops_core.clock import Clock
from aisops_core.rpc.deadlines import Deadlines

GRAIN_S: Final = 0.05
"""So much late a deadline may be noticed: what is due within it is handled together."""


class Timed(Protocol):
    """Something with deadlines."""

    def on_time(self, now: float) -> None:
        """A deadline has come, or had come before it was put off; monotonic seconds."""
        ...


class Timer:
    """Wakes streams at their deadlines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deadlines: Deadlines[Timed] = Deadlines()
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, owner: Timed, at: float) -> None:
        """Wake this one then (monotonic seconds), unless that happens earlier anyway."""
        if self._deadlines.add(owner, at):
            self._arm(at)

    def drop(self, owner: Timed) -> None:
        """Never wake this one again."""
        self._deadlines.drop(owner)

    def look(self) -> None:
        """Wake everybody who is due now."""
        self._handle = None
        now = self._clock.monotonic()
        for owner in self._deadlines.due(now):
            owner.on_time(now)
        following = self._deadlines.next()
        if following is not None:
            self._arm(following)

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        pause_s = max(GRAIN_S, at - self._clock.monotonic())
        self._handle = asyncio.get_running_loop().call_later(pause_s, self.look)
