"""Upkeep of the outbox file, a little after every change: delete what is acknowledged, record how far the lane has got.

It also takes back the ballast and notices a file that was removed or replaced while in use. What fails is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from aisops_runner.outbox import highwater
from aisops_runner.outbox.ballast import Ballast
from aisops_runner.outbox.opening import HIGHWATER_NAME, Opened

TRIM_ROWS = 1000
TRIM_AFTER_S = 1.0

_log = structlog.get_logger("aisops_runner.outbox")


class Lane(Protocol):
    """How far the lane has got.

    Attributes:
        acked_seq: Last number that Core has committed.
        last_seq: Last number stored.
    """

    acked_seq: int
    last_seq: int


class Upkeep:
    """Looks after one open outbox file.

    Args:
        lane: How far the lane has got.
        delete_to: Deletes the rows up to a number, durably.
        path: The file; the record of how far the lane had got (see `highwater`) is kept beside it.
        opening: The opening under way, and the file as it was then.
        ballast: Reserved again after it was needed.

    Attributes:
        vanished: Set once the file is no longer where it was opened.
    """

    def __init__(
        self,
        lane: Lane,
        delete_to: Callable[[int], Awaitable[None]],
        *,
        path: Path,
        opening: Opened,
        ballast: Ballast,
    ) -> None:
        self.vanished = asyncio.Event()
        self._lane = lane
        self._delete_to = delete_to
        self._path = path
        self._opening = opening
        self._highwater_path = path.with_name(HIGHWATER_NAME)
        self._ballast = ballast
        self._trimmed_seq = lane.acked_seq
        self._highwater_seq = lane.last_seq
        self._timer: asyncio.TimerHandle | None = None
        self._runs: set[asyncio.Future[None]] = set()
        self._finished = False

    def schedule(self) -> None:
        """Have it done soon, once for many changes."""
        if self._timer is None and not self._finished:
            self._timer = asyncio.get_running_loop().call_later(TRIM_AFTER_S, self._start)

    def acknowledged(self) -> None:
        """More can be deleted: have that done soon, or at once when it is much."""
        if self._lane.acked_seq - self._trimmed_seq >= TRIM_ROWS and not self._runs:
            self._start()
        else:
            self.schedule()

    async def finish(self) -> None:
        """Wait for what is under way, and do it a last time; nothing is scheduled any more.

        Raises:
            StorageFailed, OSError: The disk refused the last time.
        """
        self._finished = True
        self._disarm()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self.run()

    async def run(self) -> None:
        """Do it now.

        Raises:
            StorageFailed, OSError: The disk refused; what was not done is left for the next time.
        """
        if not await asyncio.to_thread(self._in_place):
            if not self.vanished.is_set():
                _log.error("the outbox was removed while in use; what is stored now is not kept", file=str(self._path))
            self.vanished.set()
            return
        if not self._ballast.held:
            await asyncio.to_thread(self._ballast.reserve)
        acked, last = self._lane.acked_seq, self._lane.last_seq
        if acked > self._trimmed_seq:
            await self._delete_to(acked)
            self._trimmed_seq = acked
        if last > self._highwater_seq:
            await asyncio.to_thread(highwater.save, self._highwater_path, last, self._opening.epoch)
            self._highwater_seq = last

    def _start(self) -> None:
        self._disarm()
        if self._runs:  # a slow disk: one after the other, they write the same files
            self.schedule()
            return
        task = asyncio.ensure_future(self.run())
        self._runs.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[None]) -> None:
        self._runs.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("upkeep of the outbox failed; it will be tried again", error=str(task.exception()))
            self.schedule()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _in_place(self) -> bool:
        try:
            return self._path.stat().st_ino == self._opening.inode
        except FileNotFoundError:
            return False
