"""The clearer: a background task that deletes what has been kept long enough, a little at a time, and then rests.

It holds no rule: what is due says `retention`. Every unit of work is small, and after each it pauses for several times
as long as the unit took, waiting included: the busier the database, the slower it works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from aisops_core.clock import Clock
from aisops_core.dispatch import clearing, retention
from aisops_core.dispatch.retention import RetentionTerms
from aisops_core.errors import StorageUnavailable
from aisops_core.storage import shrink
from aisops_core.storage.engine import Store

EVERY_S: Final = 60.0
"""From the end of one pass to the beginning of the next."""
PAUSE_FACTOR: Final = 6.0
SHORTEST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 5.0
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Cleared:
    """What this process has deleted since it started."""

    jobs: int = 0
    logs: int = 0
    events: int = 0
    schemas: int = 0
    pages: int = 0


class Clearer:
    """Deletes what is due."""

    def __init__(self, store: Store, clock: Clock, terms: RetentionTerms, *, every_s: float = EVERY_S) -> None:
        self._store, self._clock, self._terms, self._every_s = store, clock, terms, every_s
        self.cleared = Cleared()

    @property
    def figures(self) -> Mapping[str, Callable[[], float]]:
        """Metric name to how its present value is read."""
        return {f"cleared_{name}_total": partial(getattr, self.cleared, name) for name in Cleared.__dataclass_fields__}

    async def run(self) -> None:
        """Clear until cancelled."""
        while True:
            try:
                await self.clear()
            except StorageUnavailable as error:
                log.warning("clearing put off", **error.diagnostics())
            except Exception:
                log.exception("clearing failed; it will be tried again")
            await asyncio.sleep(self._every_s)

    async def clear(self) -> None:
        """One pass over everything that is due now.

        Raises:
            StorageUnavailable: The database could not serve; the next pass goes on.
        """
        now_ms = self._clock.unix_ms()
        await self._note_mark(now_ms)
        for tenant_id in await self._store.read(clearing.tenants_of):
            await self._clear_jobs(tenant_id, now_ms)
            await self._clear_schemas(tenant_id)
        await self._unit(lambda connection: clearing.delete_stray(connection, self._terms, now_ms))
        marks = await self._store.read(clearing.marks)
        upto = retention.reached(marks, self._terms.logs_s, now_ms).log_id
        while deleted := await self._unit(lambda connection: clearing.delete_logs(connection, upto)):
            self.cleared.logs += deleted
        last = retention.reached(marks, self._terms.events_s, now_ms).event_id
        while deleted := await self._unit(lambda connection: clearing.delete_events(connection, last)):
            self.cleared.events += deleted
        while await self._store.read(shrink.shrinkable) and (pages := await self._unit(shrink.shrink)):
            self.cleared.pages += pages

    async def _note_mark(self, now_ms: int) -> None:
        """Note how far the numbers have got, so that a later pass knows what was there by now."""
        marks = await self._store.read(clearing.marks)
        if retention.due(marks, self._terms, now_ms):
            mark = await self._store.read(lambda connection: clearing.mark_now(connection, now_ms))
            kept = retention.with_mark(marks, mark, self._terms)
            await self._store.write(lambda connection: clearing.keep_marks(connection, kept))

    async def _clear_jobs(self, tenant_id: str, now_ms: int) -> None:
        after: str | None = ""
        while after is not None:
            page_after = after
            found = await self._store.read(
                lambda connection, a=page_after: clearing.look(  # type: ignore[misc]
                    connection, tenant_id, a, self._terms, now_ms
                )
            )
            for at in range(0, len(found.job_ids), clearing.UNIT_JOBS):
                part = found.job_ids[at : at + clearing.UNIT_JOBS]
                self.cleared.jobs += await self._unit(
                    lambda connection, ids=part: clearing.delete_jobs(  # type: ignore[misc]
                        connection, tenant_id, ids, self._terms, now_ms
                    )
                )
            after = found.next_after

    async def _clear_schemas(self, tenant_id: str) -> None:
        unused = await self._store.read(lambda connection: clearing.unused_schemas(connection, tenant_id))
        for at in range(0, len(unused), clearing.UNIT_JOBS):
            part = unused[at : at + clearing.UNIT_JOBS]
            self.cleared.schemas += await self._unit(
                lambda connection, digests=part: clearing.delete_schemas(  # type: ignore[misc]
                    connection, tenant_id, digests
                )
            )

    async def _unit(self, work: Callable[[Connection], int]) -> int:
        """Run one small unit, then give way to everybody else."""
        began = self._clock.monotonic()
        done = await self._store.write(work)
        took_s = self._clock.monotonic() - began
        await asyncio.sleep(min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, PAUSE_FACTOR * took_s)))
        return done
