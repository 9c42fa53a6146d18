"""Questions about one job that need more than its record: why it is where it is, and what is kept beside it."""

from __future__ import annotations

from aisops_core.clock import Clock
from aisops_core.dispatch import aftermath, standing
from aisops_core.dispatch.aftermath import NOTHING, Aftermath
from aisops_core.dispatch.explain import Explanation, explained
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.storage.engine import Store


class Inquiry:
    """Answers them from committed data and from the sessions of this process."""

    def __init__(self, store: Store, clock: Clock, board: Switchboard, terms: LeaseTerms) -> None:
        self._store, self._clock, self._board, self._terms = store, clock, board, terms

    async def explain(self, tenant_id: str, job_id: str) -> Explanation:
        """Why the job is where it is, and what happens next.

        Raises:
            JobNotFound: This tenant has no such job.
            StorageUnavailable: The database could not serve.
        """
        now_ms, live = self._clock.unix_ms(), self._board.sessions.offers(tenant_id)
        facts = await self._store.read(lambda connection: standing.read(connection, tenant_id, job_id, now_ms, live))
        return explained(facts, self._terms)

    async def aftermath(self, job: JobRecord) -> Aftermath:
        """Late results and decisions; read only where there can be any.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        if not aftermath.may_have_any(job):
            return NOTHING
        return await self._store.read(lambda connection: aftermath.read(connection, job.tenant_id, job.job_id))
