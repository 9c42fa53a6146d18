"""Lets the sessions of one Runner open one after the other, while those of different Runners open together."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager


class Doors:
    """A door for each Runner that somebody stands at; forgotten when nobody does."""

    def __init__(self) -> None:
        self._doors: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    def of(self, tenant_id: str, runner_id: str) -> AbstractAsyncContextManager[None]:
        """The Runner's door, to be entered."""
        return _Door(self._doors, (tenant_id, runner_id))


class _Door(AbstractAsyncContextManager[None]):
    def __init__(self, doors: dict[tuple[str, str], tuple[asyncio.Lock, int]], key: tuple[str, str]) -> None:
        self._doors, self._key = doors, key

    async def __aenter__(self) -> None:
        lock, queue = self._doors.get(self._key, (asyncio.Lock(), 0))
        self._doors[self._key] = (lock, queue + 1)
        try:
            await lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._doors[self._key][0].release()
        self._leave()

    def _leave(self) -> None:
        lock, queue = self._doors[self._key]
        if queue == 1:
            del self._doors[self._key]
        else:
            self._doors[self._key] = (lock, queue - 1)
