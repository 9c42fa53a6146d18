"""Heartbeats on their way to the database: the newest of each session, those of many sessions in one unit of work.

What a beat gave reason to put on record about its Runner goes with them, and is kept until it is stored.

A beat comes round again, so one that the database cannot take is dropped; what a Runner must not lose goes the durable
way. Ten thousand Runners beat some seven hundred times a second, which is two small transactions here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from aisops_core.clock import Clock
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.records import SessionRef
from aisops_core.dispatch.upkeep import Renewal, renew
from aisops_core.errors import StorageUnavailable
from aisops_core.storage.engine import Store
from aisops_core.storage.hot import Row

GATHER_S: Final = 0.5
TOLD_MOST: Final = 1000
"""So much that was noticed is kept for a database that cannot serve."""
GATHER_SHARE: Final = 0.1
"""Part of the heartbeat's interval that a beat may wait for company."""
log = structlog.get_logger(__name__)


class Beats:
    """Collects heartbeats and writes them in groups.

    Args:
        store: The database.
        clock: Time.
        terms: How long a renewed lease lasts.
        heartbeat_s: How often each Runner beats, seconds: a beat waits for company for a small part of it.
        fenced: Called with sessions that turn out to have been taken over.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        terms: LeaseTerms,
        heartbeat_s: float,
        fenced: Callable[[Sequence[SessionRef]], None],
    ) -> None:
        self._store, self._clock, self._terms, self._fenced = store, clock, terms, fenced
        self._gather_s = min(GATHER_S, heartbeat_s * GATHER_SHARE)
        self._newest: dict[tuple[str, str], Renewal] = {}
        self._told: list[Row] = []
        self._waiting = asyncio.Event()

    def note(self, renewal: Renewal) -> None:
        """Write this soon; it replaces an older one of the same Runner."""
        self._newest[renewal.ref.tenant_id, renewal.ref.runner_id] = renewal
        self._waiting.set()

    def tell(self, ref: SessionRef, kind: str, facts: Mapping[str, object]) -> None:
        """Put on record, with the next beats, what was noticed about a Runner."""
        if len(self._told) < TOLD_MOST:
            self._told.append((ref.tenant_id, ref.runner_id, self._clock.unix_ms(), kind, json.dumps(facts)))
            self._waiting.set()

    def forget(self, ref: SessionRef) -> None:
        """The session is over: a beat of it that waits would have its Runner connected once more."""
        key = (ref.tenant_id, ref.runner_id)
        waiting = self._newest.get(key)
        if waiting is not None and waiting.ref == ref:
            del self._newest[key]

    async def flush(self) -> None:
        """Write what waits now."""
        renewals, self._newest = list(self._newest.values()), {}
        told, self._told = self._told, []
        self._waiting.clear()
        if not renewals and not told:
            return
        now_ms = self._clock.unix_ms()
        until_ms = self._terms.until(now_ms)
        try:
            fenced = await self._store.write(lambda c: renew(c, renewals, until_ms, now_ms, told))
        except StorageUnavailable as error:
            self._told = [*told, *self._told][:TOLD_MOST]
            log.warning("heartbeats not stored; the next ones will be", beats=len(renewals), **error.diagnostics())
            return
        self._fenced(fenced)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(self._gather_s)
            try:
                await self.flush()
            except Exception:
                log.exception("heartbeats not stored")
