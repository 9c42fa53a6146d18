"""One place to wait at: whatever happens in a check's surroundings beats here, and who waits looks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Pulse"]

T = TypeVar("T")


class Pulse:
    """Wakes everybody who waits for a condition.

    Args:
        patience: Factor on every wait, for runners on slow machines.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self.patience = patience
        self._moved = asyncio.Event()

    def beat(self) -> None:
        """Something has changed."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(self, condition: Callable[[], T], within_s: float) -> T:
        """Wait until a condition gives something that is true; what it gave last when the time is over.

        Args:
            condition: Looked at after every beat.
            within_s: Seconds, before patience.
        """
        try:
            async with asyncio.timeout(within_s * self.patience):
                while not (found := condition()):
                    await self._moved.wait()
        except TimeoutError:
            return condition()
        return found

    async def rest(self, seconds: float, unless: Callable[[], T]) -> T:
        """Let time pass, without patience, unless a condition comes true; what it gave last."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := unless()):
                    await self._moved.wait()
        except TimeoutError:
            return unless()
        return found
