"""What people decide about jobs: to stop one, and what an uncertain one came to. With the role checked and an audit."""

from __future__ import annotations

from sqlalchemy import Connection

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.clock import Clock
from aisops_core.dispatch import admission, aftermath
from aisops_core.dispatch import job as machine
from aisops_core.dispatch import store as job_store
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.resolution import Resolution, Verdict, check_note, resolve
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.storage.engine import Store
from aisops_core.tenants.principal import Principal
from aisops_protocol.messages import JobCancel


class Decisions:
    """Applies decisions and sets in motion what follows from them."""

    def __init__(self, store: Store, clock: Clock, board: Switchboard, terms: LeaseTerms) -> None:
        self._store, self._clock, self._board, self._terms = store, clock, board, terms

    async def cancel(self, principal: Principal, job_id: str) -> JobRecord:
        """Ask for a job to stop.

        One that waits ends at once, a running one when its Runner has stopped it; one that has ended stays as it is.

        Raises:
            Forbidden: The principal may not cancel.
            JobNotFound: This tenant has no such job.
            StorageUnavailable: The database could not serve.
        """
        admission.check_role(principal)
        tenant_id, now_ms, patience_ms = principal.tenant_id, self._clock.unix_ms(), self._terms.cancel_ms

        def unit(connection: Connection) -> tuple[JobRecord, bool]:
            job = job_store.get(connection, tenant_id, job_id, lock=True)
            changed = machine.request_cancel(job, now_ms, patience_ms)
            if changed:
                job_store.save(connection, [job])
                entry = AuditEntry(tenant_id, principal.actor, "job.cancel", job_id, {"state": job.state.value})
                append(connection, [entry], now_ms)
            return job, changed

        job, changed = await self._store.write(unit)
        if changed and job.terminal:
            self._board.ended([job])
        elif changed and job.runner_id is not None and job.lease_id is not None:
            session = self._board.sessions.of(tenant_id, job.runner_id)
            if session is not None:
                session.outlet.send(JobCancel(job_id, job.lease_id))
        return job

    async def resolve(
        self, principal: Principal, job_id: str, verdict: Verdict, note: str, attempt: int | None = None
    ) -> JobRecord:
        """Put down what an uncertain job came to, or have it tried again. Repeating a decision changes nothing.

        With `attempt`, the one that was looked at, that holds even when the job has become uncertain again meanwhile.

        Raises:
            Forbidden: The principal may not decide.
            InvalidRequest: The note is empty or cannot be kept.
            JobNotFound: This tenant has no such job.
            NotUncertain: The job is not uncertain.
            OtherAttempt: The job is at another attempt.
            StorageUnavailable: The database could not serve.
        """
        admission.check_role(principal)
        words, tenant_id, now_ms = check_note(note), principal.tenant_id, self._clock.unix_ms()

        def unit(connection: Connection) -> tuple[JobRecord, bool]:
            job = job_store.get(connection, tenant_id, job_id, lock=True)
            decision = Resolution(tenant_id, job_id, job.attempt, verdict, principal.actor, words, now_ms)
            known = aftermath.resolutions(connection, tenant_id, job_id)
            notes = resolve(job, decision, known[-1] if known else None, attempt=attempt)
            if notes is None:
                return job, False
            job_store.save_whole(connection, job)
            job_store.add_notes(connection, notes)
            aftermath.keep(connection, decision)
            detail = {"as": verdict.value, "attempt": decision.attempt, "note": words}
            append(connection, [AuditEntry(tenant_id, principal.actor, "job.resolve", job_id, detail)], now_ms)
            return job, True

        job, changed = await self._store.write(unit)
        if changed and job.state is JobState.QUEUED:
            self._board.queued([job])
        return job
