"""A new job is stored with its lease where a Runner has room: once, in its turn, and no slot is given twice."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Connection

from aisops_core.dispatch.records import SubmitJob
from aisops_protocol.messages import Job
from tests.support.core_store import INPUT, OPERATOR, TENANT, Parts, ScriptedRunner, eventually


def request(**fields: Any) -> tuple[SubmitJob, None]:
    return SubmitJob("kakao.send", INPUT, **fields), None


async def test_a_job_comes_back_leased_and_is_sent_once(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    submitted = await parts.submit()
    assert (submitted.state, submitted.runner_id) == ("leased", "runner-1")
    job = await runner.job()
    stored = await parts.dispatcher.get(TENANT, job.job_id)
    assert (stored.state, stored.lease_id) == ("leased", job.lease_id)
    assert not runner.received


async def test_a_group_that_is_rolled_back_and_run_again_leases_each_job_once(
    parts: Parts, runner: ScriptedRunner
) -> None:
    """A neighbour in the same transaction fails, so every unit of the group runs a second time."""
    await runner.connect()
    attempts = 0

    def guilty(_connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        raise RuntimeError("guilty")

    first = asyncio.create_task(parts.dispatcher.submit_many(OPERATOR, [request(), request()]))
    failing = parts.store.begin(guilty)
    outcomes = await first
    assert isinstance((await asyncio.gather(failing, return_exceptions=True))[0], RuntimeError)
    assert attempts >= 1
    jobs = await runner.expect_jobs(2)
    assert {job.job_id for job in jobs} == {record.job_id for record, _ in outcomes}
    for job in jobs:
        stored = await parts.dispatcher.get(TENANT, job.job_id)
        assert (stored.state, stored.lease_id, stored.attempt) == ("leased", job.lease_id, 1)
    assert not runner.received


async def test_a_new_job_goes_behind_those_that_wait_on_its_route(parts: Parts, runner: ScriptedRunner) -> None:
    runner.slots = 1
    await runner.connect()
    running = await parts.submit()
    waiting = await parts.submit()
    assert (running.state, waiting.state) == ("leased", "queued")
    job = await runner.job()
    runner.slots = 4
    await runner.disconnect()
    reconnected = asyncio.create_task(runner.connect())
    newest = await parts.submit()
    await reconnected
    order = [one.job_id for one in await runner.expect_jobs(2) if one.job_id != job.job_id]
    assert order[0] == waiting.id
    assert (await parts.reaches(newest.id, "leased")).runner_id == "runner-1"


async def test_callers_at_the_same_time_share_the_slots_and_none_is_given_twice(parts: Parts) -> None:
    runners = [await ScriptedRunner(parts, f"runner-{n}", slots=n).enroll() for n in (1, 2, 3)]
    for runner in runners:
        await runner.connect()
    await asyncio.gather(
        *(parts.submit() for _ in range(4)),
        parts.dispatcher.submit_many(OPERATOR, [request() for _ in range(4)]),
        parts.dispatcher.submit_many(OPERATOR, [request() for _ in range(4)]),
    )

    async def all_slots_taken() -> bool:
        return all(len(jobs_of(runner)) == runner.slots for runner in runners)

    await eventually(all_slots_taken)
    given = [job.job_id for runner in runners for job in jobs_of(runner)]
    assert len(given) == len(set(given)) == 6
    for runner in runners:
        for job in await runner.expect_jobs(runner.slots):
            await runner.accept(job)
            await runner.finish(job)
    assert {job.job_id for runner in runners for job in jobs_of(runner)}.isdisjoint(given)
    await eventually(all_slots_taken)


async def test_a_pinned_job_waits_for_its_runner_while_another_has_room(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    other = await ScriptedRunner(parts, "runner-2", slots=1).enroll()
    await other.connect()
    first = await parts.submit(runner_id="runner-2")
    second = await parts.submit(runner_id="runner-2")
    assert (first.state, first.runner_id, second.state) == ("leased", "runner-2", "queued")
    assert not jobs_of(runner)


async def test_a_job_for_a_session_that_was_taken_over_elsewhere_waits(parts: Parts, runner: ScriptedRunner) -> None:
    """Another Core has opened a newer session of this Runner: the old one is given nothing and closed."""
    await runner.connect()

    def take_over(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE runners SET session_epoch = session_epoch + 1")

    await parts.store.write(take_over)
    submitted = await parts.submit()
    assert submitted.state == "queued"
    assert not jobs_of(runner)
    assert runner.closed == ["SUPERSEDED"]


def jobs_of(runner: ScriptedRunner) -> list[Job]:
    return [body for body in runner.received if isinstance(body, Job)]
