"""What becomes of leased jobs, on a real database: when a Runner comes back, stays away, or keeps silent."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from aisops_protocol.messages import (
    Heartbeat,
    HeldJob,
    Job,
    JobAccept,
    JobCancel,
    JobPhase,
    JobReject,
    RejectReason,
    ResultStatus,
    Verdict,
)
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


async def kinds(parts: Parts, job_id: str) -> list[str]:
    return [entry.kind for entry in await parts.dispatcher.timeline(TENANT, job_id)]


# --- reconciliation ---------------------------------------------------------------------------------------------------


async def test_a_job_the_runner_still_holds_goes_on(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.accept(job)
    await runner.disconnect()
    opened = await runner.connect(held(job, JobPhase.STARTED))
    assert [verdict.verdict for verdict in opened.welcome.job_verdicts] == [Verdict.KEEP]
    await runner.finish(job)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"


async def test_a_job_that_never_reached_the_journal_is_given_out_again(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send")
    lost = await runner.job()
    await runner.connect()
    again = await runner.job()
    assert (again.job_id, again.attempt) == (lost.job_id, 1)
    assert again.lease_id != lost.lease_id


@pytest.mark.parametrize(("capability", "state"), [("kakao.send", "leased"), ("email.send", "uncertain")])
async def test_a_lost_journal_repeats_only_what_may_be_repeated(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str
) -> None:
    await runner.connect()
    await parts.submit(capability)
    job = await runner.job()
    await runner.accept(job)
    runner.journal_id = secrets.token_bytes(16)
    await runner.connect()
    assert (await parts.reaches(job.job_id, state)).attempt == (2 if state == "leased" else 1)


async def test_jobs_core_does_not_know_or_has_ended_are_cancelled_at_the_runner(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.accept(job)
    await parts.dispatcher.cancel(OPERATOR, job.job_id)
    unknown = HeldJob("job_unknown", b"u" * 16, 1, JobPhase.STARTED)
    opened = await runner.connect((*held(job, JobPhase.STARTED), unknown))
    assert {verdict.verdict for verdict in opened.welcome.job_verdicts} == {Verdict.CANCEL}
    await runner.deliver(result(job, ResultStatus.CANCELLED, b""))
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "cancelled"


async def test_a_job_taken_back_but_still_running_is_adopted_by_its_runner(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.accept(job)
    await runner.disconnect()
    await parts.pass_time(400)
    await parts.reaches(job.job_id, "queued")
    opened = await runner.connect(held(job, JobPhase.STARTED))
    assert [verdict.verdict for verdict in opened.welcome.job_verdicts] == [Verdict.KEEP]
    again = await runner.job()
    assert again.job_id == job.job_id
    assert again.lease_id != job.lease_id
    await runner.deliver(JobAccept(again.job_id, again.lease_id, again.attempt), result(again))
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"


async def test_after_a_restore_done_work_is_told_again_and_lost_work_not_repeated_blindly(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit()
    await parts.submit("email.send")
    done, forgotten = await runner.expect(Job, 2)
    await runner.accept(done)
    await runner.accept(forgotten)
    runner.core_epoch = b"an earlier life."
    opened = await runner.connect(held(done, JobPhase.DONE))
    assert [verdict.verdict for verdict in opened.welcome.job_verdicts] == [Verdict.RESEND_RESULT]
    assert (await parts.dispatcher.get(TENANT, forgotten.job_id)).state == "uncertain"


# --- leases and time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capability", "state"), [("kakao.send", "queued"), ("email.send", "uncertain")])
async def test_a_silent_runner_loses_its_jobs_after_lease_and_grace(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str
) -> None:
    await runner.connect()
    await parts.submit(capability)
    job = await runner.job()
    await runner.accept(job)
    await runner.disconnect()
    await parts.pass_time(359)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
    await parts.pass_time(2)
    taken = await parts.reaches(job.job_id, state)
    assert taken.attempt == (2 if state == "queued" else 1)
    await runner.connect()
    if state == "uncertain":
        await runner.finish(job)
        assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "uncertain", "a late result never overwrites"
        assert "late_result" in await kinds(parts, job.job_id)


async def test_heartbeats_keep_a_lease(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send", timeout_s=3_600)
    job = await runner.job()
    await runner.accept(job)
    for _ in range(10):
        await parts.pass_time(60)
        await runner.beat(job.lease_id)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"


async def test_a_heartbeat_renews_only_the_sessions_own_leases(parts: Parts, runner: ScriptedRunner) -> None:
    other = await ScriptedRunner(parts, "runner-2").enroll()
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.disconnect()
    await other.connect()
    for _ in range(7):
        await parts.pass_time(60)
        await other.beat(job.lease_id)
    await parts.reaches(job.job_id, "uncertain")


async def test_a_job_not_accepted_in_time_is_sent_again_under_the_same_lease(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit()
    first = await runner.job()
    await parts.pass_time(10)
    second = await runner.job()
    assert second == first
    await runner.accept(first)
    await parts.pass_time(60)
    marker = await parts.submit()
    assert (await runner.job()).job_id == marker.id


async def test_a_runner_that_takes_nothing_is_sent_no_second_copy(parts: Parts, runner: ScriptedRunner) -> None:
    other = await ScriptedRunner(parts, "runner-2").enroll()
    await runner.connect()
    await parts.submit()
    first = await runner.job()
    await other.connect()
    await parts.submit(runner_id="runner-2")
    theirs = await other.job()
    runner.behind = True
    await parts.pass_time(30)
    assert await other.job() == theirs, "the look that would have sent both again"
    assert not [body for body in runner.received if isinstance(body, Job)]
    runner.behind = False
    await parts.pass_time(1)
    assert await runner.job() == first


async def test_a_job_nobody_takes_ends_when_its_queue_time_is_over(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await runner.disconnect()
    job = await parts.submit(queue_ttl_s=60)
    waiting = asyncio.create_task(parts.dispatcher.wait(TENANT, job.id, 30))
    await parts.pass_time(61)
    ended = await waiting
    assert (ended.state, ended.error_code) == ("timed_out", "queue_expired")


async def test_a_clock_set_forward_ages_no_lease(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.accept(job)
    parts.clock.now_ms += 3_600_000
    parts.dispatcher._board.timing.set()
    marker = await parts.submit()
    await runner.job()
    await parts.pass_time(1)
    await parts.dispatcher.cancel(OPERATOR, marker.id)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"


async def set_clock(parts: Parts, by_ms: int) -> None:
    """Set the wall clock and let Core notice."""
    parts.clock.now_ms += by_ms
    timing = parts.dispatcher._board.timing
    timing.set()

    async def looked() -> bool:
        return not timing.is_set()

    await eventually(looked)
    await parts.store.write(lambda _: None)  # behind what the look has queued


YEARS_MS = 10 * 365 * 86_400_000


async def test_a_clock_set_forward_ages_no_job_in_the_queue(parts: Parts, runner: ScriptedRunner) -> None:
    """What was taken in while the clock was ten years behind is still wanted when it is put right."""
    await runner.connect()
    await runner.disconnect()
    before = await parts.submit(queue_ttl_s=60.0)
    await parts.pass_time(2)
    await set_clock(parts, -YEARS_MS)
    waiting = await parts.submit(queue_ttl_s=60.0)
    await parts.pass_time(2)
    await set_clock(parts, YEARS_MS)
    later = await parts.submit(queue_ttl_s=60.0)
    await parts.pass_time(50)
    await runner.connect()
    assert {job.job_id for job in await runner.expect_jobs(3)} == {before.id, waiting.id, later.id}


async def test_a_job_in_the_queue_still_ends_in_its_time_after_the_clock_was_set_back(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await runner.disconnect()
    jobs = [await parts.submit(queue_ttl_s=60.0)]
    await set_clock(parts, -YEARS_MS)
    jobs.append(await parts.submit(queue_ttl_s=60.0))
    await parts.pass_time(61)
    for job in jobs:
        ended = await parts.dispatcher.wait(TENANT, job.id, 20)
        assert (ended.state, ended.error_code) == ("timed_out", "queue_expired")


async def test_a_silent_runners_lease_still_lapses_after_the_clock_was_set_back(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    job = await parts.submit("email.send")
    await runner.accept(await runner.job())
    await set_clock(parts, -3_600_000)
    await parts.pass_time(359)
    assert (await parts.dispatcher.get(TENANT, job.id)).state == "running"
    await parts.pass_time(2)
    await parts.reaches(job.id, "uncertain")


async def test_a_heartbeat_gathered_before_the_clock_was_set_forward_ends_no_lease(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    job = await parts.submit("email.send")
    given = await runner.job()
    await runner.accept(given)
    assert runner.opened is not None
    parts.dispatcher.heartbeat(runner.opened.ref, Heartbeat(1, leases=(given.lease_id,), free_slots=3))
    await set_clock(parts, 3_600_000)
    await parts.dispatcher._reception.beats.flush()
    await parts.pass_time(359)
    assert (await parts.dispatcher.get(TENANT, job.id)).state == "running"


async def test_a_job_refused_as_busy_is_given_out_soon_after_the_clock_was_set_back(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.deliver(JobReject(job.job_id, job.lease_id, 1, RejectReason.STORAGE, "full"))
    await set_clock(parts, -3_600_000)
    await parts.pass_time(6)
    assert (await runner.job()).job_id == job.job_id


async def test_a_runner_that_renews_for_ever_is_stopped_after_the_clock_was_set_back_too(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    submitted = await parts.submit("email.send")
    job = await runner.job()
    await runner.accept(job)
    await set_clock(parts, -YEARS_MS)
    for _ in range(40):
        await runner.beat(job.lease_id)
        await parts.pass_time(15)
    await parts.reaches(submitted.id, "uncertain")


async def test_after_a_restart_every_lease_has_a_full_term_again(url: str, clock: HeldClock) -> None:
    async with running(url, clock) as parts:
        runner = await ScriptedRunner(parts).enroll()
        await runner.connect()
        await parts.submit("email.send")
        waiting = await parts.submit("email.send", labels={"site": "nowhere"})
        job = await runner.job()
        await runner.accept(job)
        epoch = runner.core_epoch
    clock.advance(86_000)
    async with running(url, clock) as parts:
        await parts.pass_time(359)
        assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
        runner.parts, runner.labels = parts, (("site", "nowhere"),)
        await runner.connect(held(job, JobPhase.DONE))
        assert runner.core_epoch == epoch, "a restart is not a restore"
        await runner.finish(job)
        assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"
        assert (await runner.job()).job_id == waiting.id, "waiting jobs are found again"


async def test_a_lapsed_job_is_stopped_at_a_runner_that_is_still_connected(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.accept(job)
    for _ in range(13):
        await parts.pass_time(30)
        await runner.beat()
    (stop,) = await runner.expect(JobCancel)
    assert stop.lease_id == job.lease_id
    await parts.reaches(job.job_id, "uncertain")
