"""The dispatcher: what the doors call. Joins submissions, queries, sessions and pump; holds no rule of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aisops_core.clock import Clock
from aisops_core.dispatch import store as job_store
from aisops_core.dispatch import upkeep
from aisops_core.dispatch.admission import Admitted
from aisops_core.dispatch.aftermath import Aftermath
from aisops_core.dispatch.answers import Answers
from aisops_core.dispatch.catalog import Catalog
from aisops_core.dispatch.decisions import Decisions
from aisops_core.dispatch.explain import Explanation
from aisops_core.dispatch.inputs import InputSchemas
from aisops_core.dispatch.inquiry import Inquiry
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.pump import Pump, Timekeeper
from aisops_core.dispatch.reception import Reception
from aisops_core.dispatch.records import JobFilter, LogLine, OpenedSession, Page, SessionRef, SubmitJob, TimelineEntry
from aisops_core.dispatch.resolution import Verdict
from aisops_core.dispatch.submissions import Keyed, Submissions
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.errors import CoreError
from aisops_core.storage.engine import Store
from aisops_core.storage.meta import ensure_core_epoch
from aisops_core.tenants.principal import Principal
from aisops_protocol.messages import Heartbeat, Hello, RunnerEnvelope
from aisops_protocol.skew import ClockLevel


class Dispatcher:
    """Jobs in, jobs out, results back.

    Args:
        store: The database, open.
        clock: Wall and monotonic time.
        random_bytes: A cryptographic source (lease, session and job ids).
        terms: How long leases and grace last.
        replica: This process's name, shown to Runners.
        heartbeat_s: How often Runners are asked to beat, seconds.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        random_bytes: Callable[[int], bytes],
        terms: LeaseTerms | None = None,
        replica: str = "core",
        heartbeat_s: float = 15.0,
    ) -> None:
        self._store, self._clock, self._random_bytes = store, clock, random_bytes
        self._terms = terms or LeaseTerms()
        self._board = Switchboard()
        self._pump = Pump(store, self._board, clock, self._terms, random_bytes)
        self._answers = Answers(store, self._board.waiters)
        self._decisions = Decisions(store, clock, self._board, self._terms)
        self._inquiry = Inquiry(store, clock, self._board, self._terms)
        catalog, schemas = Catalog(store, clock), InputSchemas()
        self._submissions = Submissions(
            store,
            clock,
            self._board,
            catalog,
            schemas,
            pump=self._pump,
            answers=self._answers,
            random_bytes=random_bytes,
        )
        self._reception = Reception(
            store,
            clock,
            self._board,
            catalog,
            schemas,
            terms=self._terms,
            random_bytes=random_bytes,
            replica=replica,
            heartbeat_s=heartbeat_s,
        )
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up the work left by the process before: leases get a full term again, waiting jobs are found.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        timekeeper = Timekeeper(self._store, self._board, self._clock, self._terms)
        self._reception.core_epoch = await self._store.write(lambda c: ensure_core_epoch(c, self._random_bytes))
        await timekeeper.begin()
        for tenant_id, demand in await self._store.read(upkeep.waiting_routes):
            self._board.routes.add(tenant_id, demand)
        self._board.due(self._clock.unix_ms())
        self._tasks = [
            asyncio.create_task(self._pump.run(), name="dispatch-pump"),
            asyncio.create_task(timekeeper.run(), name="dispatch-timekeeper"),
            asyncio.create_task(self._reception.beats.run(), name="dispatch-beats"),
        ]

    async def stop(self) -> None:
        """Stop giving out work. Jobs stay with their Runners; the next start finds them."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reception.beats.flush()

    @property
    def connected(self) -> int:
        """How many Runners are connected to this process."""
        return len(self._board.sessions)

    @property
    def figures(self) -> Mapping[str, Callable[[], float]]:
        """Metric name to how its present value is read: Runners connected to this process whose clocks are off."""
        levels = (ClockLevel.WARNING, ClockLevel.ERROR)
        return {f"runner_clocks_{x.name.lower()}": partial(self._board.sessions.with_clock, x) for x in levels}

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def submit(
        self, principal: Principal, request: SubmitJob, idempotency_key: str | None = None, wait_s: float = 0.0
    ) -> tuple[JobRecord, bool]:
        """Store one job, and wait for its end when asked; see `Submissions.submit`."""
        return await self._submissions.submit(principal, request, idempotency_key, wait_s)

    async def submit_many(
        self, principal: Principal, wanted: Sequence[Keyed], wait_s: float = 0.0
    ) -> list[Admitted | CoreError]:
        """Store many jobs at once, and wait for the end of all of them when asked; see `Submissions.submit_many`."""
        return await self._submissions.submit_many(principal, wanted, wait_s)

    async def get(self, tenant_id: str, job_id: str) -> JobRecord:
        """One job, whole; see `Answers.get`."""
        return await self._answers.get(tenant_id, job_id)

    async def wait(self, tenant_id: str, job_id: str, timeout_s: float) -> JobRecord:
        """The job once it has ended, or as it is when the time (seconds) is over; see `Answers.wait`."""
        return await self._answers.wait(tenant_id, job_id, timeout_s)

    async def list(
        self, tenant_id: str, wanted: JobFilter, cursor: str | None = None, limit: int = 50
    ) -> Page[JobRecord]:
        """One page of jobs, newest first, without inputs and outputs.

        Raises:
            InvalidCursor: The cursor was not given out here.
            StorageUnavailable: The database could not serve.
        """
        return await self._store.read(lambda c: job_store.list_jobs(c, tenant_id, wanted, cursor, limit))

    async def logs(self, tenant_id: str, job_id: str, cursor: str | None = None, limit: int = 50) -> Page[LogLine]:
        """One page of a job's log lines, oldest first.

        Raises:
            JobNotFound: This tenant has no such job.
            InvalidCursor: The cursor was not given out here.
            StorageUnavailable: The database could not serve.
        """
        return await self._store.read(lambda c: job_store.list_logs(c, tenant_id, job_id, cursor, limit))

    async def timeline(self, tenant_id: str, job_id: str) -> tuple[TimelineEntry, ...]:
        """Everything that happened to a job, oldest first.

        Raises:
            JobNotFound: This tenant has no such job.
            StorageUnavailable: The database could not serve.
        """
        return await self._store.read(lambda connection: job_store.timeline(connection, tenant_id, job_id))

    async def cancel(self, principal: Principal, job_id: str) -> JobRecord:
        """Ask for a job to stop; see `Decisions.cancel`."""
        return await self._decisions.cancel(principal, job_id)

    async def resolve(
        self, principal: Principal, job_id: str, verdict: Verdict, note: str, attempt: int | None = None
    ) -> JobRecord:
        """Put down what an uncertain job came to; see `Decisions.resolve`."""
        return await self._decisions.resolve(principal, job_id, verdict, note, attempt)

    async def explain(self, tenant_id: str, job_id: str) -> Explanation:
        """Why a job is where it is; see `Inquiry.explain`."""
        return await self._inquiry.explain(tenant_id, job_id)

    async def aftermath(self, job: JobRecord) -> Aftermath:
        """What is kept beside an ended job; see `Inquiry.aftermath`."""
        return await self._inquiry.aftermath(job)

    def release(self) -> None:
        """Answer everybody who waits for a job with the job as it is, now and from now on: this process stops."""
        self._board.waiters.release()

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, principal: Principal, hello: Hello, outlet: Outlet) -> OpenedSession:
        """Admit a Runner; see `Reception.open`."""
        return await self._reception.open(principal, hello, outlet)

    async def deliver(
        self, ref: SessionRef, queue_epoch: bytes, envelopes: Sequence[RunnerEnvelope], upto_seq: int
    ) -> None:
        """Take in durable messages; see `Reception.deliver`."""
        await self._reception.deliver(ref, queue_epoch, envelopes, upto_seq)

    def heartbeat(self, ref: SessionRef, heartbeat: Heartbeat) -> None:
        """Take a heartbeat; see `Reception.heartbeat`."""
        self._reception.heartbeat(ref, heartbeat)

    async def close_session(self, ref: SessionRef, reason: str) -> None:
        """Forget a session; see `Reception.close`."""
        await self._reception.close(ref, reason)
