"""Takes in new jobs: has them checked against what is offered, stores them in batches, and waits for their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from aisops_core.clock import Clock
from aisops_core.dispatch import admission
from aisops_core.dispatch import store as job_store
from aisops_core.dispatch.answers import Answers
from aisops_core.dispatch.catalog import Catalog
from aisops_core.dispatch.inputs import InputSchemas
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.pump import Pump
from aisops_core.dispatch.records import SubmitJob
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.errors import InputInvalid, UnknownCapability
from aisops_core.runners.record import CapabilityRecord
from aisops_core.storage.engine import Store
from aisops_core.storage.gather import Gather
from aisops_core.tenants.principal import Principal

LARGE_INPUT_BYTES = 64 * 1024
"""Inputs above this are parsed and checked off the event loop."""


class Submissions:
    """New jobs, from the request to the job stored, and to its end for whoever waits."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        board: Switchboard,
        catalog: Catalog,
        schemas: InputSchemas,
        *,
        pump: Pump,
        answers: Answers,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store, self._clock, self._board = store, clock, board
        self._catalog, self._schemas = catalog, schemas
        self._pump, self._answers = pump, answers
        self._ids = admission.JobIds(clock, random_bytes)
        self._admission: Gather[admission.Submission, admission.Admitted] = Gather(self._admit)

    async def submit(
        self, principal: Principal, request: SubmitJob, idempotency_key: str | None = None, wait_s: float = 0.0
    ) -> tuple[JobRecord, bool]:
        """Store one job, and wait for its end when asked.

        Args:
            principal: Who submits.
            request: What.
            idempotency_key: Makes a repeated request find the first one's job.
            wait_s: So long the answer may wait for the job's end, seconds.

        Returns:
            The job as it is then and True; or the job an earlier request of the same key and content made, and False.

        Raises:
            Forbidden: The principal may not submit.
            InvalidRequest: A field is malformed.
            InputTooLarge: The input is above 1 MiB.
            UnknownCapability: No Runner of the tenant has ever offered it.
            InputInvalid: The input is not JSON or breaks the capability's schema.
            IdempotencyMismatch: The key made a different job.
            StorageUnavailable: The database could not serve.
        """
        admission.check_role(principal)
        admission.check_request(request, idempotency_key)
        try:
            capability = await self._fitting(principal.tenant_id, request)
        except (UnknownCapability, InputInvalid):
            # The Runner or its schema may have changed since the first request of this key was taken.
            earlier = await self._earlier(principal.tenant_id, request, idempotency_key)
            if earlier is None:
                raise
            return await self._answers.wait(principal.tenant_id, earlier.job_id, wait_s), False
        entry = admission.submission(
            principal,
            request,
            capability,
            job_id=self._ids.mint(),
            idempotency_key=idempotency_key,
            now_ms=self._clock.unix_ms(),
        )
        return await self._submitted(entry, wait_s)

    async def _fitting(self, tenant_id: str, request: SubmitJob) -> CapabilityRecord:
        """The capability asked for, once the input was found to fit its schema."""
        capability = await self._catalog.find(tenant_id, request)
        check = partial(self._schemas.check, capability.schema_digest, capability.input_schema, request.input)
        if len(request.input) > LARGE_INPUT_BYTES:
            await asyncio.to_thread(check)
        else:
            check()
        return capability

    async def _earlier(self, tenant_id: str, request: SubmitJob, idempotency_key: str | None) -> JobRecord | None:
        if idempotency_key is None:
            return None
        key = idempotency_key
        found = await self._store.read(lambda c: job_store.by_idempotency_key(c, tenant_id, [key]))
        if key not in found:
            return None
        answer = admission.repeated(found[key], admission.digest(request))
        if isinstance(answer, Exception):
            raise answer
        return answer[0]

    async def _submitted(self, entry: admission.Submission, wait_s: float) -> tuple[JobRecord, bool]:
        """Store a submission. Whoever waits is registered before, so that no end is missed and nothing read again."""
        tenant_id, job_id = entry.record.tenant_id, entry.record.job_id
        future = self._board.waiters.add(tenant_id, job_id) if wait_s > 0 else None
        try:
            job, created = await self._admission.add(entry)
            if future is None:
                return job, created
            if created:
                return await self._answers.ended(job, future, wait_s), True
        finally:
            if future is not None:
                self._board.waiters.discard(tenant_id, job_id, future)
        return await self._answers.wait(tenant_id, job.job_id, wait_s), False

    async def _admit(self, batch: Sequence[admission.Submission]) -> Sequence[admission.Admitted | Exception]:
        """Store a batch, with the claim that may give it out right behind it: both cost one fsync."""
        now_ms = self._clock.unix_ms()
        stored = self._store.begin(lambda connection: admission.admit(connection, batch, now_ms))
        self._board.queued([entry.record for entry in batch])
        self._pump.claim_along()
        return await stored
