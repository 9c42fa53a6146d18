"""Leases: how long a Runner may hold a job, what happens when it falls silent, and what its return changes. Pure.

A lease outlives its `lease_until` by the reconnect grace, because an outage of the line is not an outage of the Runner:
only after both is the job taken back. A Runner that renews for ever loses the job at its `hold_until` all the same.
Wall-clock milliseconds come in as `now_ms`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Final

from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import Grant, JobEvent, JobRecord, JobState, Note
from aisops_protocol.messages import EffectClass, HeldJob, JobPhase, Verdict

MAX_ATTEMPTS: Final = 10
"""So often an idempotent job is given out before Core stops: it may be what kills the Runners."""
CLOCK_STEP_MS: Final = 5_000
"""A wall clock that is corrected by less does no harm."""


@dataclass(frozen=True)
class LeaseTerms:
    """How long things may take, in seconds.

    Attributes:
        lease_s: Life of a lease without renewal.
        grace_s: How much longer a silent Runner keeps its jobs.
        accept_s: When a job sent on a live session without JobAccept is sent again.
        start_s: How long a Runner may let a job wait before its first call.
        cancel_s: How long a connected Runner may take to answer a cancellation.
    """

    lease_s: float = 60.0
    grace_s: float = 300.0
    accept_s: float = 10.0
    start_s: float = 60.0
    cancel_s: float = 120.0

    @cached_property
    def lease_ms(self) -> int:
        """Life of a lease, ms."""
        return round(self.lease_s * 1000)

    @cached_property
    def grace_ms(self) -> int:
        """Reconnect grace, ms."""
        return round(self.grace_s * 1000)

    @cached_property
    def start_ms(self) -> int:
        """Longest wait at the Runner before the first call, ms."""
        return round(self.start_s * 1000)

    @cached_property
    def cancel_ms(self) -> int:
        """Longest wait for the answer to a cancellation, ms."""
        return round(self.cancel_s * 1000)

    @cached_property
    def patience_ms(self) -> int:
        """How long, beyond its timeout, a job may stay with a Runner that renews: to start, and to bring the result."""
        return self.start_ms + self.lease_ms + self.grace_ms

    def until(self, now_ms: int) -> int:
        """End of a lease given or renewed now."""
        return now_ms + self.lease_ms


def lapsed(lease_until_ms: int, now_ms: int, terms: LeaseTerms) -> bool:
    """True when lease and grace are both over."""
    return now_ms >= lease_until_ms + terms.grace_ms


def clock_stepped(by_ms: int) -> bool:
    """True when the wall clock was set by so much that deadlines must follow it, either way."""
    return abs(by_ms) > CLOCK_STEP_MS


def overrun(job: JobRecord, now_ms: int) -> bool:
    """True when the Runner still renews the lease of a job that it should have ended long ago.

    A silent Runner's jobs are left to `lapsed`: it may be on its way back with the result.
    """
    hold, lease = job.hold_until_unix_ms, job.lease_until_unix_ms
    return hold is not None and lease is not None and hold <= now_ms < lease


def fate(job: JobRecord) -> JobEvent:
    """What becomes of an active job that is taken back: what may safely run again does, the rest is uncertain."""
    if job.effect_class is not EffectClass.IDEMPOTENT:
        return JobEvent.DOUBT
    if job.cancel_requested:
        return JobEvent.CANCEL
    return JobEvent.DOUBT if job.attempt >= MAX_ATTEMPTS else JobEvent.REQUEUE


def expire(job: JobRecord, now_ms: int) -> tuple[Note, ...]:
    """Take a job back whose lease and grace are over.

    Returns:
        Timeline entries to store.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    return _take_back(job, now_ms, "lease_expired", "lease expired", "The Runner fell silent")


def end_overrun(job: JobRecord, now_ms: int) -> tuple[Note, ...]:
    """Take a job back that is `overrun`.

    Returns:
        Timeline entries to store.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    if job.cancel_requested:
        return _take_back(
            job, now_ms, "cancel_unanswered", "cancellation not answered", "The Runner did not answer the cancellation"
        )
    return _take_back(job, now_ms, "overrun", "held too long", "The Runner held the job far beyond its timeout")


def _take_back(job: JobRecord, now_ms: int, code: str, reason: str, words: str) -> tuple[Note, ...]:
    event = fate(job)
    if event is JobEvent.REQUEUE:
        return machine.requeue(job, now_ms, reason, new_attempt=True)
    if event is JobEvent.CANCEL:
        machine.cancel(job, now_ms, f"{words}; the job may run twice without harm, so it counts as cancelled.")
    elif job.effect_class is EffectClass.IDEMPOTENT:
        machine.doubt(job, code, f"{words} in the last of {MAX_ATTEMPTS} attempts.", now_ms)
    else:
        machine.doubt(job, code, f"{words}; whether the job's effect happened is unknown.", now_ms)
    return ()


class Ruling(Enum):
    """What reconciliation did with a job of Core's."""

    KEPT = auto()
    REDELIVER = auto()
    REQUEUED = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Returned:
    """What a Runner's return means for one job: the verdict it is told (None: it did not name the job), and ours."""

    verdict: Verdict | None
    ruling: Ruling | None = None
    notes: tuple[Note, ...] = ()


def reconcile_held(
    job: JobRecord | None, held: HeldJob, grant: Grant, *, restored: bool, now_ms: int, current: bool = True
) -> Returned:
    """Rule on a job that the Runner's journal names.

    A job still this Runner's goes on under the new session. When Core meanwhile gave the Runner a newer lease that
    never arrived, or took the job back into the queue, the job is delivered again under that lease: the Runner adopts
    it instead of beginning anew. Everything else is cancelled there. A journal that was set back or copied after the
    job was given out may call a job untouched that another life of this Runner has begun: what must not run twice is
    then uncertain.

    Args:
        job: Core's record, or None when Core has none.
        held: What the Runner says.
        grant: The right to be given to this Runner should the job be its own (a fresh lease id).
        restored: True when the Runner last spoke to another life of this database, so that results acknowledged then
            may be missing now.
        now_ms: Wall clock, ms.
        current: False when the journal may know nothing of what was done since the job was given out.
    """
    if job is None or job.terminal:
        return Returned(Verdict.CANCEL)
    if job.state is JobState.QUEUED:
        if job.pinned_runner_id not in {None, grant.runner_id}:
            return Returned(Verdict.CANCEL)
        machine.lease(job, grant, now_ms)
        return Returned(Verdict.KEEP, Ruling.REDELIVER, (machine.note(job, now_ms, "readopted"),))
    if job.runner_id != grant.runner_id or job.lease_id is None:
        return Returned(Verdict.CANCEL)
    if not current and held.phase is JobPhase.ACCEPTED and job.effect_class is not EffectClass.IDEMPOTENT:
        text = "The Runner's journal was set back or copied; whether the effect happened is unknown."
        machine.doubt(job, "journal_set_back", text, now_ms)
        return Returned(Verdict.CANCEL, Ruling.ENDED)
    return _go_on(job, held, _with_lease(grant, job.lease_id), restored=restored)


def _go_on(job: JobRecord, held: HeldJob, grant: Grant, *, restored: bool) -> Returned:
    """The job stays with its Runner, under the lease it has and the new session."""
    same_lease = grant.lease_id == held.lease_id
    machine.regrant(job, grant)
    if job.cancel_requested and held.phase is not JobPhase.DONE:
        return Returned(Verdict.CANCEL, Ruling.KEPT)
    if not same_lease:
        return Returned(Verdict.KEEP, Ruling.REDELIVER)
    if held.phase is JobPhase.DONE and restored:
        return Returned(Verdict.RESEND_RESULT, Ruling.KEPT)
    return Returned(Verdict.KEEP, Ruling.KEPT)


def reconcile_missing(job: JobRecord, journal_id: bytes, now_ms: int) -> Returned:
    """Rule on a job leased to the Runner that its journal does not name.

    The same journal means it never arrived: nothing was done, and it waits again. Another journal (a new disk) knows
    nothing, so only an idempotent job may run again.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    if job.journal_id == journal_id:
        notes = machine.requeue(job, now_ms, "never reached the Runner's journal")
    elif job.effect_class is EffectClass.IDEMPOTENT:
        notes = machine.requeue(job, now_ms, "the Runner came back with another journal", new_attempt=True)
    else:
        machine.doubt(
            job, "journal_lost", "The Runner lost its journal; whether the effect happened is unknown.", now_ms
        )
        notes = ()
    return Returned(None, Ruling.REQUEUED if job.state is JobState.QUEUED else Ruling.ENDED, notes)


def reconcile_unnamed(job: JobRecord, grant: Grant) -> Returned:
    """Rule on a job leased to the Runner that its Hello had no room to name: nothing follows from its absence.

    It stays under its lease. Should it never have arrived it is sent again like any other that is not accepted in time,
    and a journal that knows it answers with what it knows.

    Args:
        job: Leased or running.
        grant: The right under the new session; its lease id does not count.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    if job.lease_id is not None:
        machine.regrant(job, _with_lease(grant, job.lease_id))
    return Returned(None, Ruling.KEPT)


def _with_lease(grant: Grant, lease_id: bytes) -> Grant:
    return replace(grant, lease_id=lease_id)
