"""What a caller is told of one job: as it is now, or once it has ended. Many reads at the same time become one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aisops_core.dispatch import store as job_store
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.switchboard import Waiters
from aisops_core.storage.engine import Store
from aisops_core.storage.gather import Gather


class Answers:
    """Reads one job, and waits for its end."""

    def __init__(self, store: Store, waiters: Waiters) -> None:
        self._waiters = waiters
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
        future = self._waiters.add(tenant_id, job_id)
        try:
            return await self.ended(await self.get(tenant_id, job_id), future, timeout_s)
        finally:
            self._waiters.discard(tenant_id, job_id, future)

    async def ended(self, job: JobRecord, future: asyncio.Future[JobRecord | None], timeout_s: float) -> JobRecord:
        """The job's last record; or, when time (seconds) is over or nobody waits any more, the job as it is.

        Args:
            job: The job as it was last seen, whole.
            future: Registered with the waiters before the job was seen.
            timeout_s: So long the end is waited for, seconds.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        if job.terminal:
            return job
        try:
            async with asyncio.timeout(timeout_s):
                last = await future
        except TimeoutError:
            last = None
        return await self.get(job.tenant_id, job.job_id) if last is None else replace(last, input=job.input)
