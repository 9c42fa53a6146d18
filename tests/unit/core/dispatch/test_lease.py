"""Leases: expiry, return, and the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import ACTIVE, Grant, JobRecord, JobState
from aisops_core.dispatch.lease import (
    MAX_ATTEMPTS,
    LeaseTerms,
    Ruling,
    clock_stepped,
    expire,
    lapsed,
    reconcile_held,
    reconcile_missing,
    reconcile_unnamed,
)
from aisops_protocol.messages import EffectClass, HeldJob, JobPhase, JobResult, ResultStatus, Verdict
from tests.unit.core.dispatch.test_job import a_job

LEASE = b"l" * 16
NEW = Grant("runner-1", 4, b"k" * 16, b"n" * 16, 99_000, 60_000)


def held(lease_id: bytes = LEASE, phase: JobPhase = JobPhase.STARTED) -> HeldJob:
    return HeldJob("job_1", lease_id, 1, phase)


def test_a_lease_lapses_after_its_term_and_the_grace() -> None:
    terms = LeaseTerms(lease_s=60, grace_s=300)
    until = terms.until(1_000)
    assert until == 61_000
    assert not lapsed(until, 360_999, terms)
    assert lapsed(until, 361_000, terms)


@pytest.mark.parametrize("state", ["leased", "running"])
def test_a_lapsed_idempotent_job_waits_for_another_attempt(state: str) -> None:
    job = a_job(state)
    notes = expire(job, 9_000)
    assert (job.state, job.attempt) == (JobState.QUEUED, 2)
    assert notes[-1].message == "lease expired"


@pytest.mark.parametrize("effect", [EffectClass.AT_MOST_ONCE, EffectClass.UNSPECIFIED])
@pytest.mark.parametrize("state", ["leased", "running"])
def test_a_lapsed_job_of_any_other_kind_is_uncertain(state: str, effect: EffectClass) -> None:
    job = a_job(state, effect_class=effect)
    expire(job, 9_000)
    assert (job.state, job.error_code, job.error_ambiguous) == (JobState.UNCERTAIN, "lease_expired", True)


def test_a_job_that_outlives_every_attempt_is_not_given_out_for_ever() -> None:
    job = a_job("running", attempt=MAX_ATTEMPTS)
    expire(job, 9_000)
    assert job.state is JobState.UNCERTAIN


def test_a_lapsed_job_that_was_to_be_cancelled_is() -> None:
    job = a_job("running")
    machine.request_cancel(job, 8_000, 30_000)
    expire(job, 9_000)
    assert job.state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("by_ms", "stepped"), [(0, False), (5_000, False), (-5_000, False), (5_001, True), (-3_600_000, True)]
)
def test_a_step_of_the_clock_counts_both_ways(by_ms: int, stepped: bool) -> None:
    assert clock_stepped(by_ms) == stepped


@pytest.mark.parametrize("phase", [JobPhase.ACCEPTED, JobPhase.STARTED, JobPhase.DONE])
def test_a_job_under_the_same_lease_goes_on_in_the_new_session(phase: JobPhase) -> None:
    job = a_job("running")
    returned = reconcile_held(job, held(phase=phase), NEW, restored=False, now_ms=9_000)
    assert (returned.verdict, returned.ruling) == (Verdict.KEEP, Ruling.KEPT)
    assert (job.lease_id, job.session_epoch, job.journal_id, job.lease_until_unix_ms) == (LEASE, 4, b"k" * 16, 99_000)


@pytest.mark.parametrize(
    ("phase", "effect", "verdict", "state"),
    [
        (JobPhase.ACCEPTED, EffectClass.AT_MOST_ONCE, Verdict.CANCEL, "uncertain"),
        (JobPhase.ACCEPTED, EffectClass.IDEMPOTENT, Verdict.KEEP, "running"),
        (JobPhase.STARTED, EffectClass.AT_MOST_ONCE, Verdict.KEEP, "running"),
        (JobPhase.DONE, EffectClass.AT_MOST_ONCE, Verdict.KEEP, "running"),
    ],
)
def test_a_journal_set_back_is_not_believed_that_a_job_never_began(
    phase: JobPhase, effect: EffectClass, verdict: Verdict, state: str
) -> None:
    """What it says of a beginning or an end is true all the same, and what may run twice may run again."""
    job = a_job("running", effect_class=effect)
    returned = reconcile_held(job, held(phase=phase), NEW, restored=False, now_ms=9_000, current=False)
    assert (returned.verdict, job.state) == (verdict, state)
    assert (returned.ruling is Ruling.ENDED) == (state == "uncertain")


def test_a_done_job_tells_its_result_again_to_a_restored_core() -> None:
    returned = reconcile_held(a_job("running"), held(phase=JobPhase.DONE), NEW, restored=True, now_ms=9_000)
    assert returned.verdict is Verdict.RESEND_RESULT


def test_a_job_under_an_older_lease_of_the_same_runner_is_delivered_again_under_the_newer() -> None:
    job = a_job("leased")
    returned = reconcile_held(job, held(b"o" * 16), NEW, restored=False, now_ms=9_000)
    assert (returned.verdict, returned.ruling, job.lease_id) == (Verdict.KEEP, Ruling.REDELIVER, LEASE)


def test_a_job_taken_back_is_adopted_by_the_runner_that_still_has_it() -> None:
    job = a_job()
    returned = reconcile_held(job, held(), NEW, restored=False, now_ms=9_000)
    assert (returned.verdict, returned.ruling) == (Verdict.KEEP, Ruling.REDELIVER)
    assert (job.state, job.lease_id) == (JobState.LEASED, NEW.lease_id)


def test_a_job_to_be_cancelled_is_cancelled_at_its_runner_but_a_finished_one_wins() -> None:
    for phase, verdict in ((JobPhase.STARTED, Verdict.CANCEL), (JobPhase.DONE, Verdict.KEEP)):
        job = a_job("running")
        machine.request_cancel(job, 8_000, 30_000)
        assert reconcile_held(job, held(phase=phase), NEW, restored=False, now_ms=9_000).verdict is verdict
        assert job.state is JobState.RUNNING


@pytest.mark.parametrize(
    "job",
    [
        None,
        a_job("succeeded"),
        a_job("uncertain"),
        a_job("queued", pinned_runner_id="runner-2"),
    ],
)
def test_what_is_not_the_runners_is_cancelled_there(job: JobRecord | None) -> None:
    returned = reconcile_held(job, held(), NEW, restored=False, now_ms=9_000)
    assert (returned.verdict, returned.ruling) == (Verdict.CANCEL, None)


def test_a_job_of_another_runner_is_cancelled_and_left_to_it() -> None:
    job = a_job("running")
    foreign = Grant("runner-2", 4, b"k" * 16, b"n" * 16, 99_000, 60_000)
    assert reconcile_held(job, held(), foreign, restored=False, now_ms=9_000).verdict is Verdict.CANCEL
    assert (job.runner_id, job.session_epoch) == ("runner-1", 3)


@pytest.mark.parametrize(
    ("journal", "effect", "state", "attempt"),
    [
        (b"j" * 16, EffectClass.IDEMPOTENT, "queued", 1),
        (b"j" * 16, EffectClass.AT_MOST_ONCE, "queued", 1),
        (b"x" * 16, EffectClass.IDEMPOTENT, "queued", 2),
        (b"x" * 16, EffectClass.AT_MOST_ONCE, "uncertain", 1),
    ],
)
def test_a_job_missing_from_the_journal(journal: bytes, effect: EffectClass, state: str, attempt: int) -> None:
    job = a_job("leased", effect_class=effect)
    returned = reconcile_missing(job, journal, 9_000)
    assert (job.state, job.attempt) == (state, attempt)
    assert returned.ruling is (Ruling.REQUEUED if state == "queued" else Ruling.ENDED)


@pytest.mark.parametrize("effect", [EffectClass.IDEMPOTENT, EffectClass.AT_MOST_ONCE])
@pytest.mark.parametrize("state", ["leased", "running"])
def test_nothing_follows_from_the_absence_of_a_job_that_the_hello_had_no_room_for(
    state: str, effect: EffectClass
) -> None:
    job = a_job(state, effect_class=effect)
    returned = reconcile_unnamed(job, NEW)
    assert (returned.verdict, returned.ruling) == (None, Ruling.KEPT)
    assert (job.state, job.attempt, job.lease_id) == (state, 1, LEASE)
    assert (job.session_epoch, job.journal_id, job.lease_until_unix_ms) == (4, b"k" * 16, 99_000)


STEPS = {
    "accept": lambda job, now_ms: machine.accept(job, now_ms),
    "expire": lambda job, now_ms: expire(job, now_ms),
    "lost": lambda job, now_ms: reconcile_missing(job, b"x" * 16, now_ms),
    "missing": lambda job, now_ms: reconcile_missing(job, b"j" * 16, now_ms),
    "unnamed": lambda job, _now_ms: reconcile_unnamed(job, NEW),
    "held": lambda job, now_ms: reconcile_held(job, held(), NEW, restored=False, now_ms=now_ms),
    "result": lambda job, now_ms: machine.finish(job, JobResult("job_1", LEASE, 1, ResultStatus.SUCCEEDED), now_ms),
}


@given(st.lists(st.sampled_from(["lease", "cancel", *STEPS]), max_size=30), st.sampled_from(list(EffectClass)))
def test_what_may_have_run_is_never_given_out_again_unless_idempotent(steps: list[str], effect: EffectClass) -> None:
    job = a_job(effect_class=effect)
    may_have_run = False
    for now_ms, step in enumerate(steps, 10_000):
        if step == "lease" and job.state is JobState.QUEUED:
            assert effect is EffectClass.IDEMPOTENT or not may_have_run
            machine.lease(job, Grant("runner-1", 3, b"j" * 16, LEASE, 99_000, 60_000), now_ms)
        elif step == "cancel":
            machine.request_cancel(job, now_ms, 30_000)
        elif step in STEPS and job.state in ACTIVE and not (step == "missing" and may_have_run):
            # The same journal not naming a job means that it never had it: excluded once it said it did.
            STEPS[step](job, now_ms)
            may_have_run = may_have_run or step == "accept"
        assert (job.finished_unix_ms is not None) == job.terminal
        assert (job.lease_until_unix_ms is not None) == (job.state in ACTIVE)
