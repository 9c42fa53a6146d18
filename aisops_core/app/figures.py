"""Figures for monitoring that only the database knows: how many jobs wait, how many are with Runners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from sqlalchemy import Connection, func, literal_column, select

from aisops_core.clock import Clock
from aisops_core.errors import StorageUnavailable
from aisops_core.storage.engine import Store
from aisops_core.storage.schema import jobs

FRESH_S = 5.0
"""Counting reads an index: however often somebody asks, it is done this seldom."""


class JobFigures:
    """Counts unfinished jobs of all tenants, at most every five seconds."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._counts = {"queued": 0, "leased": 0, "running": 0}
        self._read_at: float | None = None

    @property
    def figures(self) -> Mapping[str, Callable[[], float]]:
        """Metric name to how its present value is read."""
        return {f"jobs_{state}": partial(self._counts.__getitem__, state) for state in self._counts}

    async def refresh(self) -> None:
        """Count again when the last count is old; a database that cannot serve leaves the old figures standing."""
        now = self._clock.monotonic()
        if self._read_at is not None and now - self._read_at < FRESH_S:
            return
        self._read_at = now
        try:
            self._counts.update(await self._store.read(_count))
        except StorageUnavailable:
            self._read_at = None


def _count(connection: Connection) -> dict[str, int]:
    # Written so that the partial indexes are used: queued as a literal, leased and running by having a lease.
    queued = select(func.count()).select_from(jobs).where(jobs.c.state == literal_column("'queued'"))
    held = select(jobs.c.state, func.count()).where(jobs.c.lease_until_unix_ms.is_not(None)).group_by(jobs.c.state)
    counts = {"queued": connection.execute(queued).scalar_one(), "leased": 0, "running": 0}
    counts.update({str(state): count for state, count in connection.execute(held) if str(state) in counts})
    return counts
