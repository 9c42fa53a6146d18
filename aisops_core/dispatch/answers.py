"""What a caller is told of one job: as it is now, or once it has ended. Many reads at the same time become one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aisops_core.dispatch import store as job_store
from aisops_core.dispatch.job import TERMINAL, JobRecord
from aisops_core.dispatch.output_room import OutputRoom
from aisops_core.dispatch.waiters import Waiters, Waiting
from aisops_core.storage.engine import Store
from aisops_core.storage.gather import Gather


class Answers:
    """Reads one job, and waits for its end."""

    def __init__(self, store: Store, waiters: Waiters) -> None:
        self._store, self._waiters = store, waiters
        self._reading: Gather[tuple[str, str], JobRecord] = Gather(
            lambda wanted: store.read(lambda connection: job_store.get_many(connection, wanted))
        )

    async def get(self, tenant_id: str, job_id: str) -> JobRecord:
        """One job, whole.

        Raises:
            JobNotFound: This tenant has no such job.
            StorageUnavailable: The database could not serve.
        """
        return await self._reading.add((tenant_id, job_id))

    async def wait(self, tenant_id: str, job_id: str, timeout_s: float) -> JobRecord:
        """The job once it has ended, or as it is when the time (seconds) is over.

        Raises:
            JobNotFound: This tenant has no such job.
            StorageUnavailable: The database could not serve.
        """
        if timeout_s <= 0:
            return await self.get(tenant_id, job_id)
        waiting = self._waiters.add([(tenant_id, job_id)])
        try:
            job = await self.get(tenant_id, job_id)
            return (await self.ended([job], waiting, timeout_s))[job_id]
        finally:
            self._waiters.discard(waiting)

    async def wait_all(self, tenant_id: str, job_ids: Collection[str], timeout_s: float) -> dict[str, JobRecord]:
        """As `wait`, for many jobs at once, by id; those that do not exist are left out.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        if not job_ids:
            return {}
        keys = [(tenant_id, job_id) for job_id in job_ids]
        waiting = self._waiters.add(keys)
        try:
            return await self.ended((await self._many(keys)).values(), waiting, timeout_s)
        finally:
            self._waiters.discard(waiting)

    async def ended(self, jobs: Collection[JobRecord], waiting: Waiting, timeout_s: float) -> dict[str, JobRecord]:
        """The last record of each job, by id; or, when time (seconds) is over or nobody waits, the job as it is.

        Args:
            jobs: The jobs as they were last seen, whole.
            waiting: Registered for them before they were seen.
            timeout_s: So long their ends are waited for, seconds.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        last = {job.job_id: job for job in jobs}
        going = [(job.tenant_id, job.job_id) for job in jobs if job.state not in TERMINAL]
        if len(going) < len(waiting.keys):
            waiting.narrow(going)
        await waiting.until(timeout_s)
        for job_id, record in waiting.ended.items():
            record.input = last[job_id].input
            last[job_id] = record
        unknown = [key for key in going if key[1] not in waiting.ended]
        return {**last, **await self._many(unknown)} if unknown else last

    async def _many(self, keys: Sequence[tuple[str, str]]) -> dict[str, JobRecord]:
        found = await self._store.read(lambda connection: job_store.get_many(connection, keys))
        room = OutputRoom()
        return {job.job_id: room.take(job) for job in found if isinstance(job, JobRecord)}
