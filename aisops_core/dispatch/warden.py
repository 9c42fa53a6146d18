"""The warden: looks at intervals for jobs that a Runner holds beyond their time, and asks again for cancellations.

It holds no rule: which job is overdue is `lease.overrun`, what becomes of it `lease.fate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from aisops_core.dispatch import overruns
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.storage.engine import Store
from aisops_protocol.messages import JobCancel

LOOK_S: Final = 15.0
"""How often it looks: so much later than its limit a job may be taken back."""
log = structlog.get_logger(__name__)


class Warden:
    """Enforces the limit `hold` on leased and running jobs."""

    def __init__(self, store: Store, board: Switchboard, now: float) -> None:
        self._store, self._board = store, board
        self._looked = now

    def next_look(self) -> float:
        """When to look again (monotonic seconds)."""
        return self._looked + LOOK_S

    async def look(self, now_ms: int, now: float) -> None:
        """Look, when it is time to, and act on what is found.

        Raises:
            StorageUnavailable: The database could not serve; the next look is due all the same.
        """
        if now < self.next_look():
            return
        self._looked = now
        found = await self._store.read(lambda connection: overruns.look(connection, now_ms))
        for tenant_id, job_id, runner_id, lease_id in found.unanswered:
            self._ask_to_stop(tenant_id, runner_id, job_id, lease_id)
        if found.overrun:
            await self._take_back(found.overrun, now_ms)

    def _ask_to_stop(self, tenant_id: str, runner_id: str, job_id: str, lease_id: bytes) -> None:
        """Again, because the request may have been made where the Runner is not connected; asking twice is harmless."""
        session = self._board.sessions.of(tenant_id, runner_id)
        if session is not None and lease_id in session.leases:
            session.outlet.send(JobCancel(job_id, lease_id))

    async def _take_back(self, keys: Sequence[overruns.JobKey], now_ms: int) -> None:
        taken = await self._store.write(lambda connection: overruns.take_back(connection, keys, now_ms))
        for job in (*taken.ended, *taken.requeued):
            log.warning("a job was taken back from a Runner that held it too long", job_id=job.job_id, state=job.state)
        self._board.lost(taken.lost)
        self._board.ended(taken.ended)
        self._board.queued(taken.requeued)
