"""Who waits for which jobs to end. One caller is one `Waiting`, however many jobs it asked for. In memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aisops_core.dispatch.output_room import OutputRoom
from aisops_core.dispatch.record import JobRecord

Key = tuple[str, str]
"""Tenant id, job id."""


class Waiting:
    """One caller's wait for some jobs.

    `ended` holds the last records (without inputs) of those that have ended, with as much output as an answer may hold.
    """

    __slots__ = ("_done", "_missing", "_room", "ended", "keys")

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.ended: dict[str, JobRecord] = {}
        self._missing = set(self.keys)
        self._room = OutputRoom()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, key: Key, record: JobRecord) -> None:
        """One of the jobs has ended."""
        self.ended[record.job_id] = self._room.take(record)
        self._missing.discard(key)
        if not self._missing:
            self.over()

    def narrow(self, keys: Iterable[Key]) -> None:
        """Only these are still waited for."""
        self._missing.intersection_update(keys)
        if not self._missing:
            self.over()

    def over(self) -> None:
        """Nobody is to wait any longer, whatever has ended."""
        if not self._done.done():
            self._done.set_result(None)

    async def until(self, timeout_s: float) -> None:
        """Wait for every job's end, for `timeout_s` seconds at most."""
        if self._done.done():
            return
        # A plain timer: asyncio.timeout costs several times as much, and this runs for every job.
        timer = asyncio.get_running_loop().call_later(timeout_s, self.over)
        try:
            await self._done
        finally:
            timer.cancel()


class Waiters:
    """Everybody who waits in this process."""

    def __init__(self) -> None:
        self._by_job: dict[Key, list[Waiting]] = {}
        self._released = False

    def add(self, keys: Iterable[Key]) -> Waiting:
        """A wait for these jobs; it is over at once when this process is stopping. `discard` it at the end."""
        waiting = Waiting(keys)
        if self._released:
            waiting.over()
        for key in waiting.keys:
            self._by_job.setdefault(key, []).append(waiting)
        return waiting

    def discard(self, waiting: Waiting) -> None:
        """Nobody waits here any more."""
        for key in waiting.keys:
            others = self._by_job.get(key)
            if others is not None and waiting in others:
                others.remove(waiting)
                if not others:
                    del self._by_job[key]

    def tell(self, records: Iterable[JobRecord]) -> None:
        """These jobs have ended."""
        for record in records:
            key = (record.tenant_id, record.job_id)
            for waiting in self._by_job.pop(key, ()):
                waiting.tell(key, record)

    def release(self) -> None:
        """Nobody is to wait any more."""
        self._released = True
        for everybody in self._by_job.values():
            for waiting in everybody:
                waiting.over()
