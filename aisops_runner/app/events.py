"""Events on their way into the outbox, from callbacks where nobody can wait for the disk.

Events are never dropped once they are stored. So those of plugins, which may be many, are not taken while the outbox
has no room for new jobs: they must not keep results from being stored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import structlog

from aisops_protocol.messages import Event
from aisops_runner.clock import Clock
from aisops_runner.errors import RunnerError
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.queue import Pressure
from aisops_runner.outbox.seen import append_once
from aisops_runner.outbox.transaction import draft
from aisops_runner.sidecars.inbound import InboundEvent
from aisops_runner.sidecars.lines import PluginEvent

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
        self._refusing = False

    def put(self, kind: str, facts: Mapping[str, str]) -> None:
        """Store an event; returns at once. One that cannot be stored is logged."""
        self._begin(Event(kind, self._clock.unix_ms(), _dump(facts)))

    def put_of_plugin(self, event: PluginEvent) -> None:
        """Store an event of a plugin; returns at once. One that there is no room for is logged."""
        refusing = self._outbox.pressure() is not Pressure.NORMAL
        if refusing and not self._refusing:
            _log.warning("events of plugins are dropped: the outbox is nearly full", plugin_event=event.kind)
        self._refusing = refusing
        if not refusing:
            self._begin(Event(event.kind, event.time_unix_ms, _dump(event.data)))

    async def keep(self, inbound: InboundEvent) -> bool:
        """Store what a provider sent; when this returns True it is on the disk, now or since it came before.

        False: there is no room, or the disk refused; the provider is told to come again.
        """
        if self._outbox.pressure() is not Pressure.NORMAL:
            return False
        event = Event(inbound.kind, inbound.time_unix_ms, _dump(inbound.data))
        try:
            message = draft(event)
            await self._outbox.transact(lambda work: append_once(work, inbound.plugin, inbound.key, message))
        except RunnerError as error:
            _log.warning("an event of a provider could not be stored", plugin=inbound.plugin, error=error.message)
            return False
        return True

    def _begin(self, event: Event) -> None:
        task = asyncio.ensure_future(self._store(event))
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


def _dump(facts: Mapping[str, object]) -> bytes:
    return json.dumps(dict(facts), ensure_ascii=False).encode()
