"""Clones: refuses a second machine with one Runner's identity, and tells of it where people look later."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from aisops_core.clock import Clock
from aisops_core.dispatch.clone_watch import CloneWatch
from aisops_core.dispatch.sighting import Sighting
from aisops_core.errors import CoreError, SessionRefused, StorageUnavailable
from aisops_core.runners.clones import put_on_record
from aisops_core.storage.engine import Store
from aisops_protocol.errors import Refusal

DUPLICATE_RETRY_MS: Final = 60_000
log = structlog.get_logger(__name__)


class Clones:
    """Refuses clones. The refusal waits for no database: what is put on record is written behind it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._watch = CloneWatch()

    def refuse(self, seen: Sighting) -> SessionRefused:
        """The refusal of a machine that calls while another one lives; on record with it, unless one was just now."""
        log.warning(
            "a second machine uses this Runner's identity",
            tenant_id=seen.tenant_id,
            runner_id=seen.runner_id,
            refused=seen.refused["address"],
            connected=seen.connected["address"],
        )
        calls = self._watch.refused((seen.tenant_id, seen.runner_id), self._clock.monotonic())
        if calls:
            self._tell(seen, calls)
        return SessionRefused(
            Refusal.DUPLICATE_INSTANCE.value,
            f"Another machine is connected as Runner {seen.runner_id!r}.",
            retry_after_ms=DUPLICATE_RETRY_MS,
        )

    def _tell(self, seen: Sighting, calls: int) -> None:
        facts, words, now_ms = seen.facts(calls), seen.words(calls), self._clock.unix_ms()

        def unit(connection: Connection) -> None:
            put_on_record(connection, seen.tenant_id, seen.runner_id, facts=facts, words=words, now_ms=now_ms)

        try:
            written = self._store.begin(unit)
        except StorageUnavailable as error:
            self._not_told(seen, calls, error)
        else:
            written.add_done_callback(partial(self._written, seen, calls))

    def _written(self, seen: Sighting, calls: int, written: asyncio.Future[None]) -> None:
        error = None if written.cancelled() else written.exception()
        if error is not None:
            self._not_told(seen, calls, error)

    def _not_told(self, seen: Sighting, calls: int, error: BaseException) -> None:
        self._watch.not_told((seen.tenant_id, seen.runner_id), calls)
        why = error.diagnostics() if isinstance(error, CoreError) else {"exc_info": error}
        log.warning("a refused clone not put on record; its next call will be", runner_id=seen.runner_id, **why)
