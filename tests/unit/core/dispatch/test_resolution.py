"""What a person may decide about an uncertain job, and what that leaves behind."""

from __future__ import annotations

import pytest

from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.resolution import NOTE_CHARS, Resolution, Verdict, check_note, resolve
from aisops_core.errors import InvalidRequest, NotUncertain, OtherAttempt
from aisops_protocol.messages import EffectClass
from tests.unit.core.dispatch.test_job import a_job


def uncertain() -> JobRecord:
    job = a_job("running", effect_class=EffectClass.AT_MOST_ONCE)
    machine.doubt(job, "lease_expired", "The Runner fell silent.", 9_000)
    return job


def decision(verdict: Verdict, job: JobRecord) -> Resolution:
    return Resolution("t", "job_1", job.attempt, verdict, "api:me", "I looked", 20_000)


@pytest.mark.parametrize(("verdict", "state"), [(Verdict.SUCCEEDED, "succeeded"), (Verdict.FAILED, "failed")])
def test_a_finding_ends_the_job_for_good(verdict: Verdict, state: str) -> None:
    job = uncertain()
    notes = resolve(job, decision(verdict, job), None)
    assert notes is not None
    assert [(note.kind, note.at_unix_ms) for note in notes] == [("uncertain", 9_000), (f"resolved_{state}", 20_000)]
    assert (job.state.value, job.finished_unix_ms) == (state, 20_000)
    assert (job.error_code is None) == (verdict is Verdict.SUCCEEDED)
    assert not job.error_ambiguous


def test_a_retry_begins_a_new_attempt_with_the_time_it_had_at_first() -> None:
    job = uncertain()
    job.cancel_requested_unix_ms = 8_000
    notes = resolve(job, decision(Verdict.RETRY, job), None)
    assert notes is not None
    assert [note.kind for note in notes] == ["leased", "running", "uncertain", "resolved_retry"]
    assert {note.attempt for note in notes} == {1}
    assert (job.state, job.attempt) == (JobState.QUEUED, 2)
    assert job.queue_expires_unix_ms == 20_000 + 89_000
    fresh = a_job(attempt=2, queue_expires_unix_ms=job.queue_expires_unix_ms, effect_class=EffectClass.AT_MOST_ONCE)
    assert job == fresh, "nothing of the attempt before is left in its columns"


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("state", ["queued", "leased", "running", "succeeded", "failed", "timed_out", "cancelled"])
def test_only_an_uncertain_job_is_resolved(state: str, verdict: Verdict) -> None:
    job = a_job(state)
    with pytest.raises(NotUncertain):
        resolve(job, decision(verdict, job), None)
    assert job == a_job(state)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_same_decision_again_changes_nothing_and_another_one_is_refused(verdict: Verdict) -> None:
    job = uncertain()
    first = decision(verdict, job)
    resolve(job, first, None)
    after = JobRecord(**{name: getattr(job, name) for name in JobRecord.__dataclass_fields__})
    assert resolve(job, decision(verdict, job), first) is None
    other = next(one for one in Verdict if one is not verdict)
    with pytest.raises(NotUncertain):
        resolve(job, decision(other, job), first)
    assert job == after


def test_a_second_doubt_can_be_resolved_again() -> None:
    job = uncertain()
    first = decision(Verdict.RETRY, job)
    resolve(job, first, None)
    machine.lease(job, machine.Grant("runner-2", 9, b"j" * 16, b"n" * 16, 99_000, 1), 30_000)
    machine.doubt(job, "lease_expired", "again", 31_000)
    assert resolve(job, decision(Verdict.RETRY, job), first) is not None
    assert job.attempt == 3


@pytest.mark.parametrize("note", ["", "   ", "a" * (NOTE_CHARS + 1), "bad\x1b[31m", "nul\0"])
def test_a_note_says_something_and_can_be_shown(note: str) -> None:
    with pytest.raises(InvalidRequest):
        check_note(note)


def test_a_note_may_have_lines() -> None:
    assert check_note("  first\nsecond\t. ") == "first\nsecond\t."


def test_a_decision_about_a_named_attempt_counts_once_even_after_a_second_doubt() -> None:
    job = uncertain()
    first = decision(Verdict.RETRY, job)
    assert resolve(job, first, None, attempt=1) is not None
    machine.lease(job, machine.Grant("runner-2", 9, b"j" * 16, b"n" * 16, 99_000, 1), 30_000)
    machine.doubt(job, "lease_expired", "again", 31_000)
    assert resolve(job, decision(Verdict.RETRY, job), first, attempt=1) is None, "the same request, come twice"
    for verdict, attempt in ((Verdict.FAILED, 1), (Verdict.RETRY, 3)):
        with pytest.raises(OtherAttempt):
            resolve(job, decision(verdict, job), first, attempt=attempt)
    assert job.attempt == 2
    assert resolve(job, decision(Verdict.RETRY, job), first, attempt=2) is not None
    assert job.attempt == 3
