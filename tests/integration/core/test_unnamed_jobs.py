"""A Hello has room for so many held jobs: what it could not name is not taken for something that never arrived."""

from __future__ import annotations

import pytest

from aisops_protocol.limits import HELD_JOBS
from aisops_protocol.messages import HeldJob, Job, JobCancel, JobPhase
from tests.support.core_store import OPERATOR, Parts, ScriptedRunner


@pytest.mark.parametrize("capability", ["kakao.send", "email.send"])
async def test_a_finished_job_that_had_no_room_in_the_hello_is_not_given_out_again(
    parts: Parts, runner: ScriptedRunner, capability: str
) -> None:
    """The Runner did it; accept and result are in its outbox, behind a line that was cut."""
    await runner.connect()
    await parts.submit(capability)
    job = await runner.job()
    await runner.disconnect()
    await runner.connect(_others(), held_jobs_omitted=1)
    assert (await parts.dispatcher.get(runner.principal.tenant_id, job.job_id)).state == "leased"
    await runner.accept(job)
    await runner.finish(job)
    ended = await parts.reaches(job.job_id, "succeeded")
    assert (ended.attempt, [body for body in runner.received if isinstance(body, Job)]) == (1, [])


async def test_one_that_never_arrived_is_sent_again_under_its_lease(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send")
    lost = await runner.job()
    await runner.disconnect()
    await runner.connect(_others(), held_jobs_omitted=1)
    await parts.pass_time(parts.terms.accept_s + 1)
    again = await runner.job()
    assert (again.job_id, again.lease_id, again.attempt) == (lost.job_id, lost.lease_id, 1)


async def test_it_is_renewed_like_any_other(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.accept(job)
    await runner.disconnect()
    await runner.connect(_others(), held_jobs_omitted=1)
    for _ in range(7):  # longer than a Runner may be silent, not so long as it may hold a job
        await parts.pass_time(parts.terms.lease_s)
        await runner.beat(job.lease_id)
    assert (await parts.reaches(job.job_id, "running")).attempt == 1


async def test_its_cancellation_goes_ahead_of_its_delivery(parts: Parts, runner: ScriptedRunner) -> None:
    """So that a Runner that never had the job cancels it before it could begin."""
    await runner.connect()
    await parts.submit("email.send")
    lost = await runner.job()
    await runner.disconnect()
    await parts.dispatcher.cancel(OPERATOR, lost.job_id)
    await runner.connect(_others(), held_jobs_omitted=1)
    await parts.pass_time(parts.terms.accept_s + 1)
    await runner.expect(JobCancel)
    again = await runner.job()
    assert (again.job_id, again.lease_id) == (lost.job_id, lost.lease_id)


async def test_another_journal_cannot_hold_it_however_long_its_list(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.disconnect()
    await runner.connect(_others(), held_jobs_omitted=1, journal_id=b"another journal!")
    await parts.reaches(job.job_id, "uncertain")


def _others() -> tuple[HeldJob, ...]:
    """A full list, of jobs that Core has no part in."""
    return tuple(
        HeldJob(f"other-{number}", number.to_bytes(16, "big"), 1, JobPhase.DONE) for number in range(HELD_JOBS)
    )
