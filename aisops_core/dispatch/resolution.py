"""What a person may decide about an uncertain job, having looked outside: it happened, it did not, or try again. Pure.

The decision is about one attempt and is kept beside the job; nothing here guesses on anybody's behalf.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import JobEvent, JobRecord, JobState, Note
from aisops_core.errors import FieldError, InvalidRequest, NotUncertain, OtherAttempt

NOTE_CHARS: Final = 2_000


class Verdict(StrEnum):
    """What the person found or wants."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRY = "retry"


_EVENTS: Final = {
    Verdict.SUCCEEDED: JobEvent.CONFIRM,
    Verdict.FAILED: JobEvent.DENY,
    Verdict.RETRY: JobEvent.RETRY,
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """One decision: about which attempt, by whom, when (wall clock, ms) and why."""

    tenant_id: str
    job_id: str
    attempt: int
    verdict: Verdict
    actor: str
    note: str
    at_unix_ms: int


def check_note(note: str) -> str:
    """The note, when it says something and can be kept.

    Raises:
        InvalidRequest: It is empty, too long, or holds control characters.
    """
    text = note.strip()
    if not text:
        raise InvalidRequest("Say why.", [FieldError("/note", "a decision needs a reason, in a few words")])
    if len(text) > NOTE_CHARS or any(not char.isprintable() and char not in "\n\t" for char in text):
        words = f"at most {NOTE_CHARS} characters, without control characters"
        raise InvalidRequest("The note cannot be kept.", [FieldError("/note", words)])
    return text


def resolve(
    job: JobRecord, decision: Resolution, last: Resolution | None, *, attempt: int | None = None
) -> tuple[Note, ...] | None:
    """Apply a decision to the job.

    Args:
        job: Any.
        decision: What is wanted.
        last: The newest decision already kept about this job.
        attempt: The attempt that was looked at, when the caller names one: a retry asked for twice must not become two.

    Returns:
        Timeline entries to store; None when this very decision was taken before and nothing is to be done.

    Raises:
        NotUncertain: The job is not uncertain, and it was not this decision that made it so.
        OtherAttempt: The job is at another attempt than the one named, and it was not this decision that led there.
    """
    if attempt is not None and attempt != job.attempt:
        if last is not None and (last.attempt, last.verdict) == (attempt, decision.verdict):
            return None
        raise OtherAttempt(job.job_id, job.attempt, attempt)
    if job.state is not JobState.UNCERTAIN:
        if last is not None and last.verdict is decision.verdict:
            return None
        raise NotUncertain(job.job_id, job.state.value)
    ended_at = job.finished_unix_ms or decision.at_unix_ms
    before = machine.note(job, ended_at, job.state.value, job.error_message)
    notes = [before]
    if decision.verdict is Verdict.RETRY:
        notes = [*machine.attempt_notes(job), before]
    notes.append(machine.note(job, decision.at_unix_ms, f"resolved_{decision.verdict.value}", decision.note))
    machine.step(job, _EVENTS[decision.verdict])
    if decision.verdict is Verdict.RETRY:
        _begin_again(job, decision.at_unix_ms)
    else:
        job.finished_unix_ms = decision.at_unix_ms
        job.error_ambiguous = False
        job.lease_id = None  # it no longer ended by a result, if it did before
    if decision.verdict is Verdict.SUCCEEDED:
        _clear_error(job)
    return tuple(notes)


def _begin_again(job: JobRecord, now_ms: int) -> None:
    """As it was when it was submitted, with the same time to wait, one attempt on."""
    waits_ms = job.queue_expires_unix_ms - job.created_unix_ms
    job.attempt += 1
    job.queue_expires_unix_ms = now_ms + max(1, waits_ms)
    job.not_before_unix_ms = 0
    job.runner_id = job.lease_id = job.session_epoch = job.journal_id = None
    job.leased_unix_ms = job.started_unix_ms = job.finished_unix_ms = job.cancel_requested_unix_ms = None
    _clear_error(job)
    job.plugin = job.plugin_version = ""
    job.sidecar_pid = job.calls = job.exec_started_unix_ms = job.duration_ms = 0
    job.truncated, job.output = False, None


def _clear_error(job: JobRecord) -> None:
    job.error_code, job.error_message, job.error_details = None, "", b""
    job.error_retryable = job.error_ambiguous = False
