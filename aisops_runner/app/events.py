"""Events of the sidecars on their way into the outbox, from callbacks where nobody can wait for the disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import structlog

from aisops_protocol.messages import Event
from aisops_runner.clock import Clock
from aisops_runner.errors import RunnerError
from aisops_runner.outbox.outbox import Outbox

_log = structlog.get_logger("aisops_runner.app")


class Events:
    """Stores events, one task each.

    Args:
        outbox: Where they are kept until Core has them.
        clock: Time.
    """

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    def put(self, kind: str, facts: Mapping[str, str]) -> None:
        """Store an event; returns at once. One that cannot be stored is logged."""
        data = json.dumps(dict(facts), ensure_ascii=False).encode()
        task = asyncio.ensure_future(self._store(Event(kind, self._clock.unix_ms(), data)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self) -> None:
        """Wait until every event put so far is stored or given up."""
        await asyncio.gather(*self._under_way)

    async def _store(self, event: Event) -> None:
        try:
            await self._outbox.put(event)
        except RunnerError as error:
            _log.warning("an event could not be stored", error=error.message)
