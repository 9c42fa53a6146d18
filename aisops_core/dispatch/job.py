"""A job and every step it may take: the state machine of dispatch, pure.

`TRANSITIONS` is the whole truth about which step is allowed from which state; the functions below it change a
`JobRecord` in place (it was read in the same transaction that will write it back) and say, as `Note`s, what its columns
can no longer tell afterwards. Wall-clock milliseconds come in as `now_ms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aisops_core.dispatch.record import ACTIVE, TERMINAL, JobRecord, JobState, Note
from aisops_core.errors import IllegalTransition
from aisops_protocol.messages import JobResult, RejectReason, ResultStatus
from aisops_protocol.records import record


class JobEvent(StrEnum):
    """What can happen to a job."""

    LEASE = "lease"
    ACCEPT = "accept"
    REQUEUE = "requeue"
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    CANCEL = "cancel"
    DOUBT = "doubt"
    CONFIRM = "confirm"
    DENY = "deny"
    RETRY = "retry"


_ENDINGS: Final = {
    JobEvent.SUCCEED: JobState.SUCCEEDED,
    JobEvent.FAIL: JobState.FAILED,
    JobEvent.TIME_OUT: JobState.TIMED_OUT,
    JobEvent.CANCEL: JobState.CANCELLED,
    JobEvent.DOUBT: JobState.UNCERTAIN,
}
TRANSITIONS: Final[Mapping[JobState, Mapping[JobEvent, JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: {
            JobEvent.LEASE: JobState.LEASED,
            JobEvent.CANCEL: JobState.CANCELLED,
            JobEvent.TIME_OUT: JobState.TIMED_OUT,
        },
        JobState.LEASED: {JobEvent.ACCEPT: JobState.RUNNING, JobEvent.REQUEUE: JobState.QUEUED, **_ENDINGS},
        JobState.RUNNING: {JobEvent.ACCEPT: JobState.RUNNING, JobEvent.REQUEUE: JobState.QUEUED, **_ENDINGS},
        JobState.SUCCEEDED: {},
        JobState.FAILED: {},
        JobState.TIMED_OUT: {},
        JobState.CANCELLED: {},
        # Ended, and nobody waits for it: only a person who has looked outside moves it.
        JobState.UNCERTAIN: {
            JobEvent.CONFIRM: JobState.SUCCEEDED,
            JobEvent.DENY: JobState.FAILED,
            JobEvent.RETRY: JobState.QUEUED,
        },
    }
)

_RESULT_EVENTS: Final[Mapping[ResultStatus, JobEvent]] = {
    ResultStatus.SUCCEEDED: JobEvent.SUCCEED,
    ResultStatus.FAILED: JobEvent.FAIL,
    ResultStatus.TIMED_OUT: JobEvent.TIME_OUT,
    ResultStatus.CANCELLED: JobEvent.CANCEL,
    ResultStatus.UNCERTAIN: JobEvent.DOUBT,
    ResultStatus.UNSPECIFIED: JobEvent.DOUBT,
}

RESULT_STATES: Final = {status: _ENDINGS[event] for status, event in _RESULT_EVENTS.items()}
"""The state in which each result leaves a job."""


@record
class Grant:
    """The right of one Runner, in one session, to one attempt. `lease_id` (16 random octets) is the fencing token.

    `patience_ms` is how long, beyond the job's own timeout, a Runner may keep renewing the lease.
    """

    runner_id: str
    session_epoch: int
    journal_id: bytes
    lease_id: bytes
    lease_until_unix_ms: int
    patience_ms: int


def step(job: JobRecord, event: JobEvent) -> None:
    """Change the state as the table says.

    Raises:
        IllegalTransition: The table has no such step from here.
    """
    target = TRANSITIONS[job.state].get(event)
    if target is None:
        raise IllegalTransition(f"A job that is {job.state.value} cannot {event.value}.")
    job.state = target


def note(job: JobRecord, now_ms: int, kind: str, message: str = "") -> Note:
    """A timeline entry about the job's present attempt and Runner."""
    return Note(job.tenant_id, job.job_id, now_ms, kind, job.attempt, job.runner_id or "", message)


def lease(job: JobRecord, grant: Grant, now_ms: int) -> None:
    """Give a queued job to a Runner.

    Raises:
        IllegalTransition: The job is not queued.
    """
    step(job, JobEvent.LEASE)
    _hold(job, grant)
    job.leased_unix_ms = now_ms
    job.hold_until_unix_ms = now_ms + job.timeout_ms + grant.patience_ms


def forget_lease(job: JobRecord) -> None:
    """Take back a lease that never was stored, because its transaction was rolled back and is run once more."""
    if job.state is JobState.LEASED:
        job.state = JobState.QUEUED
        job.runner_id = job.session_epoch = job.journal_id = job.lease_id = None
        job.lease_until_unix_ms = job.hold_until_unix_ms = job.leased_unix_ms = None


def regrant(job: JobRecord, grant: Grant) -> None:
    """Put an active job's lease under a new session or lease id. How far it has got, and how long it may, stays.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    if job.state not in ACTIVE:
        raise IllegalTransition(f"A job that is {job.state.value} has no lease to renew.")
    _hold(job, grant)


def _hold(job: JobRecord, grant: Grant) -> None:
    job.runner_id = grant.runner_id
    job.session_epoch = grant.session_epoch
    job.journal_id = grant.journal_id
    job.lease_id = grant.lease_id
    job.lease_until_unix_ms = grant.lease_until_unix_ms


def accept(job: JobRecord, now_ms: int) -> None:
    """The Runner has the job in its journal. Repeating it changes nothing.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    step(job, JobEvent.ACCEPT)
    if job.started_unix_ms is None:
        job.started_unix_ms = now_ms


def finish(job: JobRecord, result: JobResult, now_ms: int) -> None:
    """Record the Runner's result as the job's one result. The caller has checked the lease.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    _end(job, _RESULT_EVENTS[result.status], now_ms, by_result=True)
    if result.error is not None:
        job.error_code = result.error.code
        job.error_message = result.error.message
        job.error_retryable = result.error.retryable
        job.error_ambiguous = result.error.ambiguous
        job.error_details = result.error.details
    elif result.status is not ResultStatus.SUCCEEDED:
        job.error_code = job.state.value
    info = result.execution
    job.plugin, job.plugin_version = info.plugin, info.plugin_version
    job.sidecar_pid, job.calls = info.sidecar_pid, info.calls
    job.exec_started_unix_ms, job.duration_ms = info.started_unix_ms, info.duration_ms
    job.truncated = result.truncated
    job.output = result.output or None


def fail(job: JobRecord, code: str, message: str, now_ms: int) -> None:
    """End the job as failed for a reason found by Core or by a Runner that refused it; nothing was done outside.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    _end(job, JobEvent.FAIL, now_ms)
    job.error_code, job.error_message = code, message


def doubt(job: JobRecord, code: str, message: str, now_ms: int) -> None:
    """End the job as uncertain: whether its effect happened cannot be known.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    _end(job, JobEvent.DOUBT, now_ms)
    job.error_code, job.error_message, job.error_ambiguous = code, message, True


def cancel(job: JobRecord, now_ms: int, message: str = "Cancelled before a Runner had it.") -> None:
    """End the job as cancelled.

    Raises:
        IllegalTransition: The job has ended.
    """
    _end(job, JobEvent.CANCEL, now_ms)
    job.error_code, job.error_message = "cancelled", message


def request_cancel(job: JobRecord, now_ms: int, patience_ms: int) -> bool:
    """Ask for a job to stop: a queued one ends at once, an active one is marked, an ended one stays as it is.

    Args:
        job: Any.
        now_ms: Wall clock, ms.
        patience_ms: So long its Runner may take to answer, however much time the job had left.

    Returns:
        True when something changed.
    """
    if job.terminal or job.cancel_requested:
        return False
    job.cancel_requested_unix_ms = now_ms
    if job.state is JobState.QUEUED:
        cancel(job, now_ms)
    elif job.hold_until_unix_ms is not None:
        job.hold_until_unix_ms = min(job.hold_until_unix_ms, now_ms + patience_ms)
    return True


def expire_in_queue(job: JobRecord, now_ms: int) -> None:
    """End a queued job that no Runner took within its queue time.

    Raises:
        IllegalTransition: The job is not queued.
    """
    if job.state is not JobState.QUEUED:
        raise IllegalTransition(f"A job that is {job.state.value} is not waiting in the queue.")
    _end(job, JobEvent.TIME_OUT, now_ms)
    job.error_code = "queue_expired"
    job.error_message = "No Runner took the job within its queue time."


def requeue(
    job: JobRecord, now_ms: int, reason: str, *, not_before_ms: int = 0, new_attempt: bool = False
) -> tuple[Note, ...]:
    """Take the job back from its Runner. A job whose cancellation was asked for ends as cancelled instead.

    Args:
        job: Leased or running.
        now_ms: Wall clock, ms.
        reason: For the timeline.
        not_before_ms: Wall clock before which it is not given out again, ms.
        new_attempt: True when the attempt may have begun, so that the next one has a new number.

    Returns:
        What the columns no longer tell: when the lost attempt was leased and started, and why it was lost.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    if job.cancel_requested:
        cancel(job, now_ms, "Cancelled while no Runner was working on it.")
        return ()
    notes = (*attempt_notes(job), note(job, now_ms, "requeued", reason))
    step(job, JobEvent.REQUEUE)
    job.lease_id = job.lease_until_unix_ms = job.session_epoch = job.journal_id = None
    job.hold_until_unix_ms = None
    job.leased_unix_ms = job.started_unix_ms = job.runner_id = None
    job.not_before_unix_ms = not_before_ms
    job.attempt += new_attempt
    return notes


_REJECTIONS: Final = {
    RejectReason.POLICY: ("policy", "The Runner's local policy does not allow this job."),
    RejectReason.SCHEMA: ("schema", "The Runner found that the input breaks the capability's schema."),
    RejectReason.UNKNOWN_CAPABILITY: ("unknown_capability", "The Runner no longer has this capability."),
    RejectReason.UNSPECIFIED: ("rejected", "The Runner refused the job without a reason this version knows."),
}
_PAUSES_MS: Final = {RejectReason.BUSY: 1_000, RejectReason.DRAINING: 1_000, RejectReason.STORAGE: 5_000}
LONGEST_PAUSE_MS: Final = max(_PAUSES_MS.values())


def reject(
    job: JobRecord, reason: RejectReason, message: str, now_ms: int, *, another_runner: bool
) -> tuple[Note, ...]:
    """Apply a Runner's refusal: nothing was done outside, so the job waits for a better moment or fails.

    Args:
        job: Leased or running.
        reason: The Runner's reason.
        message: The Runner's words, may be empty.
        now_ms: Wall clock, ms.
        another_runner: True when some other Runner offers the capability and may be given the job.

    Returns:
        Timeline entries to store.

    Raises:
        IllegalTransition: The job is not leased or running.
    """
    name = reason.name.lower()
    if reason in _PAUSES_MS:
        return requeue(job, now_ms, f"rejected: {name}", not_before_ms=now_ms + _PAUSES_MS[reason])
    if reason is RejectReason.UNKNOWN_CAPABILITY and another_runner:
        return requeue(job, now_ms, f"rejected: {name}")
    code, words = _REJECTIONS[reason]
    refused = note(job, now_ms, "rejected", name)
    fail(job, code, message or words, now_ms)
    return (refused,)


def _end(job: JobRecord, event: JobEvent, now_ms: int, *, by_result: bool = False) -> None:
    step(job, event)
    job.finished_unix_ms = now_ms
    job.lease_until_unix_ms = job.hold_until_unix_ms = None
    if job.lease_id is not None and not by_result:
        job.lease_id = None  # so that a result which still arrives under it is told from the one that counts


def attempt_notes(job: JobRecord) -> tuple[Note, ...]:
    """When the present attempt was leased and started: its columns will soon tell of another."""
    steps = (("leased", job.leased_unix_ms), ("running", job.started_unix_ms))
    return tuple(note(job, at, kind) for kind, at in steps if at is not None)


def told_by_columns(job: JobRecord) -> list[Note]:
    """The timeline entries that the job's own columns tell; the stored notes complete them."""
    entries = [Note(job.tenant_id, job.job_id, job.created_unix_ms, "queued", 1, "")]
    entries += attempt_notes(job)
    if job.cancel_requested_unix_ms is not None:
        entries.append(note(job, job.cancel_requested_unix_ms, "cancel_requested"))
    if job.finished_unix_ms is not None:
        entries.append(note(job, job.finished_unix_ms, job.state.value, job.error_message))
    return entries


__all__ = [
    "ACTIVE",
    "RESULT_STATES",
    "TERMINAL",
    "TRANSITIONS",
    "Grant",
    "JobEvent",
    "JobRecord",
    "JobState",
    "Note",
    "accept",
    "attempt_notes",
    "cancel",
    "doubt",
    "expire_in_queue",
    "fail",
    "finish",
    "forget_lease",
    "lease",
    "note",
    "regrant",
    "reject",
    "request_cancel",
    "requeue",
    "step",
    "told_by_columns",
]
