"""Takes in new jobs: has them checked against what is offered, stores them in batches, and waits for their end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy.exc import IntegrityError

from aisops_core.clock import Clock
from aisops_core.dispatch import admission
from aisops_core.dispatch import store as job_store
from aisops_core.dispatch.admission import Admitted
from aisops_core.dispatch.answers import Answers
from aisops_core.dispatch.catalog import Catalog, Wanted
from aisops_core.dispatch.inputs import InputSchemas
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.output_room import OutputRoom
from aisops_core.dispatch.pump import Pump
from aisops_core.dispatch.records import SubmitJob
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.dispatch.waiters import Waiting
from aisops_core.errors import CoreError, IdempotencyMismatch, InputInvalid, InvalidRequest, UnknownCapability
from aisops_core.runners.record import CapabilityRecord
from aisops_core.storage.engine import Store
from aisops_core.storage.gather import Gather
from aisops_core.tenants.principal import Principal

MEETINGS = 4
"""So often a batch may find that another process has just taken keys of it."""
LARGE_INPUT_BYTES = 64 * 1024
"""Inputs above this, together, are parsed and checked off the event loop."""

Keyed = tuple[SubmitJob, str | None]
"""A request and its idempotency key, if it has one."""
Offers = Mapping[Wanted, CapabilityRecord | UnknownCapability]
_MAY_BE_OLD = (UnknownCapability, InputInvalid)
"""A key's first request may have been taken before the Runner or its schema changed."""


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
        self._admission: Gather[JobRecord, Admitted] = Gather(self._admit)

    async def submit(
        self, principal: Principal, request: SubmitJob, idempotency_key: str | None = None, wait_s: float = 0.0
    ) -> Admitted:
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
        (checked,) = await self._checked(principal, [(request, idempotency_key)])
        if isinstance(checked, CoreError):
            raise checked
        if not isinstance(checked, JobRecord):
            return (await self._ends(principal.tenant_id, [checked], None, wait_s))[0]
        waiting = self._waiting([checked], wait_s)
        try:
            stored = await self._admission.add(checked)
            return (await self._ends(principal.tenant_id, [stored], waiting, wait_s))[0]
        finally:
            self._forget(waiting)

    async def submit_many(
        self, principal: Principal, wanted: Sequence[Keyed], wait_s: float = 0.0
    ) -> list[Admitted | CoreError]:
        """Store many jobs in one unit of work, and wait for the end of all of them when asked.

        Returns:
            For each request, in order, what `submit` would return, or the error it would raise: one that is refused
            takes nobody with it.

        Raises:
            Forbidden: The principal may not submit.
            StorageUnavailable: The database could not serve; none of them was stored.
        """
        admission.check_role(principal)
        checked = await self._checked(principal, wanted)
        entries = [one for one in checked if isinstance(one, JobRecord)]
        waiting = self._waiting(entries, wait_s)
        try:
            stored = iter(await self._stored(entries))
            outcomes = [next(stored) if isinstance(one, JobRecord) else one for one in checked]
            room = OutputRoom()
            taken = [one for one in outcomes if not isinstance(one, CoreError)]
            admitted = [one if one[1] else (room.take(one[0]), False) for one in taken]  # a new job has no output yet
            last = iter(await self._ends(principal.tenant_id, admitted, waiting, wait_s))
        finally:
            self._forget(waiting)
        return [one if isinstance(one, CoreError) else next(last) for one in outcomes]

    # --- checking ---------------------------------------------------------------------------------------------------

    async def _checked(self, principal: Principal, wanted: Sequence[Keyed]) -> list[JobRecord | Admitted | CoreError]:
        """Each request as a new job, as the job an earlier one of its key made, or as what is wrong with it."""
        tenant_id, now_ms = principal.tenant_id, self._clock.unix_ms()
        offers = await self._catalog.find_all(tenant_id, {(one.capability, one.runner_id) for one, _ in wanted})
        fits = await self._fits(wanted, offers)
        late = {key for (_, key), fit in zip(wanted, fits, strict=True) if key and isinstance(fit, _MAY_BE_OLD)}
        earlier = await self._earlier(tenant_id, late) if late else {}
        outcomes: list[JobRecord | Admitted | CoreError] = []
        for (request, key), fit in zip(wanted, fits, strict=True):
            if isinstance(fit, CapabilityRecord):
                job_id = self._ids.mint()
                entry = admission.submission(principal, request, fit, job_id=job_id, idempotency_key=key, now_ms=now_ms)
                outcomes.append(entry)
            elif key in earlier and isinstance(fit, _MAY_BE_OLD):
                outcomes.append(admission.repeated(earlier[key], admission.digest(request)))
            else:
                outcomes.append(fit)
        return outcomes

    async def _fits(self, wanted: Sequence[Keyed], offers: Offers) -> list[CapabilityRecord | CoreError]:
        if sum([len(request.input) for request, _ in wanted]) > LARGE_INPUT_BYTES:
            return await asyncio.to_thread(self._fits_of, wanted, offers)
        return self._fits_of(wanted, offers)

    def _fits_of(self, wanted: Sequence[Keyed], offers: Offers) -> list[CapabilityRecord | CoreError]:
        return [self._fit(request, key, offers[request.capability, request.runner_id]) for request, key in wanted]

    def _fit(
        self, request: SubmitJob, key: str | None, offer: CapabilityRecord | UnknownCapability
    ) -> CapabilityRecord | CoreError:
        """The capability that will do the job, or what is wrong with the request."""
        try:
            admission.check_request(request, key)
            if isinstance(offer, CapabilityRecord):
                self._schemas.check(offer.schema_digest, offer.input_schema, request.input, request.document)
        except InvalidRequest as error:
            return error
        return offer

    async def _earlier(self, tenant_id: str, keys: Collection[str]) -> dict[str, JobRecord]:
        return await self._store.read(lambda c: job_store.by_idempotency_key(c, tenant_id, keys))

    # --- storing ----------------------------------------------------------------------------------------------------

    async def _stored(self, entries: Sequence[JobRecord]) -> Sequence[Admitted | CoreError]:
        """Store one caller's batch; when another process took one of its keys meanwhile, it is found at once again."""
        if not entries:
            return ()
        for _ in range(MEETINGS):
            with contextlib.suppress(IntegrityError):
                return await self._admit(entries)
        return await self._admit(entries)

    async def _admit(self, batch: Sequence[JobRecord]) -> Sequence[Admitted | IdempotencyMismatch]:
        now_ms = self._clock.unix_ms()
        admission.count_from(batch, now_ms)
        return await self._pump.admit(batch, now_ms)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _waiting(self, entries: Sequence[JobRecord], wait_s: float) -> Waiting | None:
        """Registered before anything is stored, so that no end is missed and nothing is read again."""
        if wait_s <= 0 or not entries:
            return None
        return self._board.waiters.add([(record.tenant_id, record.job_id) for record in entries])

    def _forget(self, waiting: Waiting | None) -> None:
        if waiting is not None:
            self._board.waiters.discard(waiting)

    async def _ends(
        self, tenant_id: str, admitted: Sequence[Admitted], waiting: Waiting | None, wait_s: float
    ) -> list[Admitted]:
        """Each job once it has ended, or as it is when the time is over; jobs made earlier are looked at again."""
        if wait_s <= 0:
            return list(admitted)
        created = [job for job, new in admitted if new]
        known = {job.job_id for job, new in admitted if not new}
        if waiting is None:
            last = await self._answers.wait_all(tenant_id, known, wait_s)
        elif not known:
            last = await self._answers.ended(created, waiting, wait_s)
        else:
            ends = self._answers.ended(created, waiting, wait_s), self._answers.wait_all(tenant_id, known, wait_s)
            first, others = await asyncio.gather(*ends)
            last = first | others
        return [(last.get(job.job_id, job), new) for job, new in admitted]
