"""The life of a Runner: it works until a signal or a lost data directory ends it, and then stops in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from aisops_runner.errors import RunnerError, StorageFailed
from aisops_runner.jobs.executor import Executor
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink.pump import Uplink

JOBS_S = 30.0
FLUSH_S = 10.0

_log = structlog.get_logger("aisops_runner.app")


@dataclass(frozen=True, slots=True)
class Parts:
    """The started parts that a Runner's life depends on. What the others need for their end is on the stack."""

    outbox: Outbox
    executor: Executor
    uplink: Uplink


class Runner:
    """A whole Runner. `run` does everything; `stop` ends it in order.

    Args:
        start: Starts the parts in order, and puts onto the stack what stops them in reverse.
        data_dir: Where the Runner keeps what it promises; named when it was taken away.
    """

    def __init__(self, start: Callable[[AsyncExitStack], Awaitable[Parts]], *, data_dir: Path) -> None:
        self._start = start
        self._data_dir = data_dir
        self._stopping = asyncio.Event()
        self._halted = False
        self._main: asyncio.Task[Any] | None = None
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Stop in order: finish jobs (30 s), flush the outbox (10 s), say goodbye. A second call stops at once."""
        if self._stopping.is_set() and self._main is not None:
            self._halted = True
            self._main.cancel()
        self._stopping.set()

    async def run(self, *, signals: bool = True) -> None:
        """Work until stopped.

        Args:
            signals: Let SIGTERM and SIGINT stop it.

        Raises:
            DataDirUnusable: The data directory cannot be used, or another Runner uses it.
            RefusedForGood: With `once`, when Core refuses.
            RunnerError: Stopped at once by a second signal (code `halted`).
        """
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        chosen = (signal.SIGTERM, signal.SIGINT) if signals else ()
        for number in chosen:
            loop.add_signal_handler(number, self.stop)
        try:
            async with AsyncExitStack() as stack:
                await self._live(await self._start(stack))
        except asyncio.CancelledError:
            if not self._halted:
                raise
            raise RunnerError("stopped at once; the journal keeps what was under way", code="halted") from None
        finally:
            for number in chosen:
                loop.remove_signal_handler(number)

    async def _live(self, parts: Parts) -> None:
        watching = asyncio.create_task(self._stop_when_vanished(parts.outbox), name="data-dir")
        try:
            await self._serve(parts.executor, parts.uplink)
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            watching.cancel()
        if parts.outbox.vanished.is_set():
            raise StorageFailed(f"{self._data_dir} was removed while in use; start the Runner again")

    async def _stop_when_vanished(self, outbox: Outbox) -> None:
        """Without its file nothing this Runner promises would survive it: finish what is held, and end."""
        await outbox.vanished.wait()
        self._stopping.set()

    async def _serve(self, executor: Executor, uplink: Uplink) -> None:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(executor.run(), name="executor")
            connected = group.create_task(uplink.run(), name="uplink")
            self.ready.set()
            await self._stopping.wait()
            _log.info("stopping: finishing jobs, then the outbox")
            unfinished = await executor.drain(JOBS_S)
            if not await uplink.flush(FLUSH_S):
                _log.warning("not everything has reached Core; it is kept and sent after the next start")
            uplink.goodbye("stopped", unfinished)
            await connected
            working.cancel()


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """The error behind a group of one: what the callers know how to show."""
    found: Exception = errors
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
