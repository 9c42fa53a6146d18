"""No job can stay for ever where it is: every state that is not an end has an owner and a moment at which Core acts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch import job as machine
from aisops_core.dispatch import lease
from aisops_core.dispatch.deadlines import LIMITS, OWNERS, Owner, next_deadline
from aisops_core.dispatch.job import ACTIVE, TERMINAL, TRANSITIONS, Grant, JobEvent, JobRecord, JobState
from aisops_core.dispatch.lease import MAX_ATTEMPTS, LeaseTerms
from aisops_protocol.messages import EffectClass, RejectReason
from tests.unit.core.dispatch.test_job import a_job

TERMS = LeaseTerms(lease_s=60, grace_s=300)


@pytest.mark.parametrize("state", list(JobState))
def test_every_state_has_an_owner_and_each_that_is_no_end_a_deadline(state: JobState) -> None:
    assert state in OWNERS
    assert bool(LIMITS[state]) == (state not in TERMINAL)
    assert (OWNERS[state] in {Owner.CORE, Owner.RUNNER}) == (state not in TERMINAL)
    for limit in LIMITS[state]:
        assert limit.may
        assert limit.may <= TRANSITIONS[state].keys(), "what Core does then, the table must allow"


@pytest.mark.parametrize("effect", list(EffectClass))
@pytest.mark.parametrize("state", ["queued", "leased", "running"])
def test_a_job_that_has_not_ended_has_a_next_deadline_and_the_machine_does_what_it_says(
    state: str, effect: EffectClass
) -> None:
    job = a_job(state, effect_class=effect)
    deadline = next_deadline(job, TERMS)
    assert deadline is not None
    target = TRANSITIONS[job.state][deadline.event]
    if state == "queued":
        machine.expire_in_queue(job, deadline.at_unix_ms)
    else:
        lease.expire(job, deadline.at_unix_ms)
    assert job.state is target


@pytest.mark.parametrize("state", ["succeeded", "failed", "timed_out", "cancelled", "uncertain"])
def test_an_ended_job_has_none(state: str) -> None:
    assert next_deadline(a_job(state), TERMS) is None


def test_a_job_is_overrun_only_while_its_runner_renews() -> None:
    job = a_job("running", timeout_ms=1_000)
    assert job.hold_until_unix_ms == 2_000 + 1_000 + 60_000
    job.lease_until_unix_ms = 70_000
    assert not lease.overrun(job, 62_999)
    assert lease.overrun(job, 63_000)
    assert not lease.overrun(job, 70_000), "silent: it may be on its way back with the result"


def test_a_cancellation_shortens_the_hold_and_never_lengthens_it() -> None:
    job = a_job("running")
    before = job.hold_until_unix_ms
    machine.request_cancel(job, 3_000, 10_000_000)
    assert job.hold_until_unix_ms == before
    job = a_job("running")
    machine.request_cancel(job, 3_000, 5_000)
    assert job.hold_until_unix_ms == 8_000


@pytest.mark.parametrize(
    ("effect", "cancelled", "state", "code"),
    [
        (EffectClass.AT_MOST_ONCE, False, "uncertain", "overrun"),
        (EffectClass.AT_MOST_ONCE, True, "uncertain", "cancel_unanswered"),
        (EffectClass.IDEMPOTENT, True, "cancelled", "cancelled"),
        (EffectClass.IDEMPOTENT, False, "queued", None),
    ],
)
def test_what_becomes_of_an_overrun_job(effect: EffectClass, cancelled: bool, state: str, code: str | None) -> None:
    job = a_job("running", effect_class=effect)
    if cancelled:
        machine.request_cancel(job, 3_000, 5_000)
    lease.end_overrun(job, 9_000)
    assert (job.state.value, job.error_code) == (state, code)
    assert job.hold_until_unix_ms is None


class AdversarialRunner:
    """Does whatever the draw says to one job, but never ends it; Core acts at every deadline it promised."""

    def __init__(self, job: JobRecord) -> None:
        self.job, self.now = job, 10_000

    def act(self, deed: str) -> None:
        job, now = self.job, self.now
        if job.state is JobState.QUEUED and deed == "take":
            grant = Grant("runner-1", 3, b"j" * 16, b"l" * 16, TERMS.until(now), TERMS.patience_ms)
            machine.lease(job, grant, now)
        elif job.state in ACTIVE and deed == "renew":
            job.lease_until_unix_ms = TERMS.until(now)
        elif job.state in ACTIVE and deed == "accept":
            machine.accept(job, now)
        elif job.state in ACTIVE and deed == "reconnect":
            grant = Grant("runner-1", 4, b"j" * 16, b"m" * 16, TERMS.until(now), TERMS.patience_ms)
            machine.regrant(job, grant)
        elif job.state is JobState.LEASED and deed == "reject":
            machine.reject(job, RejectReason.BUSY, "", now, another_runner=True)
        elif job.state is JobState.LEASED and deed == "lose":
            lease.reconcile_missing(job, b"j" * 16, now)

    def pass_time(self, by_ms: int) -> None:
        """Core looks at its clock, and does what is due."""
        self.now += by_ms
        job = self.job
        if job.state is JobState.QUEUED and job.queue_expires_unix_ms <= self.now:
            machine.expire_in_queue(job, self.now)
        elif job.state in ACTIVE and lease.overrun(job, self.now):
            lease.end_overrun(job, self.now)
        elif job.state in ACTIVE and lease.lapsed(job.lease_until_unix_ms or 0, self.now, TERMS):
            lease.expire(job, self.now)


DEEDS = st.sampled_from(["take", "renew", "accept", "reconnect", "reject", "lose"])


@given(
    st.lists(st.tuples(DEEDS, st.integers(1, 30_000)), min_size=1, max_size=40),
    st.sampled_from(EffectClass),
    st.booleans(),
)
def test_whatever_a_runner_does_its_job_ends_in_time(
    script: list[tuple[str, int]], effect: EffectClass, cancelled: bool
) -> None:
    queue_ms, timeout_ms = 600_000, 20_000
    job = a_job(effect_class=effect, timeout_ms=timeout_ms, queue_expires_unix_ms=10_000 + queue_ms)
    runner = AdversarialRunner(job)
    # Every attempt may be held to its end, and time passes in steps of at most 30 s.
    bound = runner.now + queue_ms + (MAX_ATTEMPTS + 1) * (timeout_ms + TERMS.patience_ms + TERMS.lease_ms + 30_000)
    for turn in range(2_000):
        deed, step_ms = script[turn % len(script)]
        runner.act(deed)
        if cancelled and turn == 3:
            machine.request_cancel(job, runner.now, TERMS.cancel_ms)
        runner.pass_time(step_ms)
        if job.terminal:
            break
        if runner.now > bound:
            raise AssertionError(f"still {job.state.value} in attempt {job.attempt} after {runner.now} ms")
    if not job.terminal:
        while not job.terminal and runner.now <= bound:
            runner.act("renew")
            runner.pass_time(30_000)
    assert job.terminal
    assert JobEvent.RETRY in TRANSITIONS[JobState.UNCERTAIN]
