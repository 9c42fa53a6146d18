"""A Runner that renews a lease for ever, or never answers a cancellation, loses the job: on a real database."""

from __future__ import annotations

import pytest

from aisops_core.dispatch.lease import MAX_ATTEMPTS
from aisops_protocol.messages import JobCancel, JobPhase, ResultStatus
from tests.support.core_store import (
    OPERATOR,
    TENANT,
    HeldClock,
    Parts,
    ScriptedRunner,
    eventually,
    held,
    result,
    running,
)


async def hold_on(parts: Parts, runner: ScriptedRunner, lease: bytes, seconds: float) -> None:
    """Let time pass for a Runner that beats on time and lists this lease in every beat."""
    for _ in range(int(seconds // 15)):
        parts.clock.advance(15)
        await runner.beat(lease)
        parts.dispatcher._board.timing.set()


async def until_taken(parts: Parts, runner: ScriptedRunner, lease: bytes) -> None:
    """Beat on time until Core says that this lease no longer counts."""

    async def told() -> bool:
        if any(isinstance(body, JobCancel) and body.lease_id == lease for body in runner.received):
            return True
        await hold_on(parts, runner, lease, 15)
        return False

    await eventually(told)


@pytest.mark.parametrize(("capability", "state"), [("kakao.send", "queued"), ("email.send", "uncertain")])
async def test_a_job_renewed_beyond_its_time_is_taken_back(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str
) -> None:
    await runner.connect()
    await parts.submit(capability, timeout_s=20)
    job = await runner.job()
    await runner.accept(job)
    assert job.start_by_ms == parts.terms.start_ms
    await hold_on(parts, runner, job.lease_id, 20 + parts.terms.patience_ms / 1000 - 15)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
    await hold_on(parts, runner, job.lease_id, 60)
    (cancel,) = await runner.expect(JobCancel)
    assert (cancel.job_id, cancel.lease_id) == (job.job_id, job.lease_id)
    taken = await parts.dispatcher.get(TENANT, job.job_id)
    if state == "uncertain":
        assert (taken.state, taken.attempt, taken.error_code) == ("uncertain", 1, "overrun")
    else:  # it waits, or is with the Runner again already
        assert (taken.attempt, taken.terminal) == (2, False)
    await runner.deliver(result(job))
    explained = await parts.dispatcher.explain(TENANT, job.job_id)
    assert [late.state for late in explained.aftermath.late] == ["succeeded"]
    assert explained.job.terminal == (state == "uncertain"), "a late result changes nothing"


async def test_a_runner_that_takes_every_attempt_and_ends_none_is_given_up(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    submitted = await parts.submit(timeout_s=1)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        while (job := await runner.job()).attempt < attempt:
            pass  # the one before, sent again because it was never accepted
        await until_taken(parts, runner, job.lease_id)
    assert (await parts.reaches(submitted.job_id, "uncertain")).error_code == "overrun"


@pytest.mark.parametrize(("capability", "state"), [("kakao.send", "cancelled"), ("email.send", "uncertain")])
async def test_a_cancellation_that_is_never_answered_ends_the_job(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str
) -> None:
    await runner.connect()
    await parts.submit(capability, timeout_s=3_600)
    job = await runner.job()
    await runner.accept(job)
    await parts.dispatcher.cancel(OPERATOR, job.job_id)
    await hold_on(parts, runner, job.lease_id, parts.terms.cancel_s + 45)
    assert len(await runner.expect(JobCancel, 3)) == 3, "it is asked again and again, and at last told to let go"
    await parts.reaches(job.job_id, state)


async def test_a_cancellation_answered_in_time_is_no_matter_of_deadlines(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send", timeout_s=3_600)
    job = await runner.job()
    await runner.accept(job)
    await parts.dispatcher.cancel(OPERATOR, job.job_id)
    await runner.deliver(result(job, ResultStatus.CANCELLED, b""))
    await hold_on(parts, runner, b"other" + b"x" * 11, parts.terms.cancel_s + 60)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "cancelled"


async def test_coming_back_again_and_again_does_not_lengthen_the_hold(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send", timeout_s=20)
    job = await runner.job()
    await runner.accept(job)
    for _ in range(int((20 + parts.terms.patience_ms / 1000) // 15) + 3):
        parts.clock.advance(15)
        opened = await runner.connect(held(job, JobPhase.STARTED))
        await runner.beat(job.lease_id)
        parts.dispatcher._board.timing.set()
    assert opened.welcome is not None
    await parts.reaches(job.job_id, "uncertain")


async def test_a_silent_runner_is_left_to_its_lease(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send", timeout_s=20)
    job = await runner.job()
    await runner.accept(job)
    await parts.dispatcher.cancel(OPERATOR, job.job_id)
    await parts.pass_time(parts.terms.cancel_s + 60)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
    await runner.finish(job)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"


async def test_a_clock_set_forward_and_a_start_of_core_take_nothing_back(url: str, clock: HeldClock) -> None:
    async with running(url, clock) as parts:
        runner = await ScriptedRunner(parts).enroll()
        await runner.connect()
        await parts.submit("email.send", timeout_s=20)
        job = await runner.job()
        await runner.accept(job)
        clock.now_ms += 3_600_000  # set forward by an hour
        await hold_on(parts, runner, job.lease_id, 60)
        assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
    clock.advance(3_600)  # Core was away for an hour
    async with running(url, clock) as parts:
        runner.parts = parts
        await runner.connect(held(job, JobPhase.STARTED))
        await hold_on(parts, runner, job.lease_id, 60)
        assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
        await runner.finish(job)
        assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"


async def test_a_job_whose_time_is_over_is_not_given_out_any_more(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect(job_slots=0)
    job = await parts.submit(queue_ttl_s=10)
    parts.clock.advance(11)
    await runner.connect()
    ended = await parts.reaches(job.job_id, "timed_out")
    assert (ended.error_code, ended.leased_unix_ms) == ("queue_expired", None)
