"""Batches below the doors, on a real database: one unit of work, one refusal at a time, waits that end together."""

from __future__ import annotations

import asyncio

import pytest

from aisops_core.dispatch.records import SubmitJob
from aisops_core.errors import CoreError, Forbidden, IdempotencyMismatch, InputInvalid, InputTooLarge, UnknownCapability
from aisops_core.tenants.principal import Principal
from tests.support.core_store import IDEMPOTENT, INPUT, OPERATOR, TENANT, Parts, ScriptedRunner, result

GOOD = SubmitJob(IDEMPOTENT.name, INPUT)


async def test_the_jobs_of_a_batch_go_out_in_order_and_end_together(parts: Parts, runner: ScriptedRunner) -> None:
    runner.slots = 8
    await runner.connect()
    waiting = asyncio.create_task(parts.dispatcher.submit_many(OPERATOR, [(GOOD, None)] * 8, 30))
    jobs = await runner.expect_jobs(8)
    await runner.deliver(*[result(job, output=b'{"n":%d}' % n) for n, job in enumerate(jobs[:7])])
    assert not waiting.done()
    await runner.deliver(result(jobs[7], output=b'{"n":7}'))
    ended = [one for one in await waiting if not isinstance(one, CoreError)]
    assert [job.job_id for job, _ in ended] == [job.job_id for job in jobs]
    assert [job.output for job, _ in ended] == [b'{"n":%d}' % n for n in range(8)]
    assert {(job.state.value, job.input, created) for job, created in ended} == {("succeeded", INPUT, True)}
    assert not parts.dispatcher._board.waiters._by_job


async def test_what_is_wrong_with_a_job_stands_in_its_place(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    wanted = [
        (GOOD, None),
        (SubmitJob("none.such", INPUT), None),
        (SubmitJob(IDEMPOTENT.name, b'{"text":1}'), None),
        (SubmitJob(IDEMPOTENT.name, b'"' + b"x" * 1_048_576 + b'"'), None),
        (GOOD, "key"),
        (SubmitJob(IDEMPOTENT.name, INPUT, priority=1), "key"),
        (GOOD, "key"),
    ]
    outcomes = await parts.dispatcher.submit_many(OPERATOR, wanted)
    kinds = [type(one) for one in outcomes]
    assert kinds == [tuple, UnknownCapability, InputInvalid, InputTooLarge, tuple, IdempotencyMismatch, tuple]
    assert outcomes[4][0].job_id == outcomes[6][0].job_id  # type: ignore[index]
    assert (outcomes[4][1], outcomes[6][1]) == (True, False)  # type: ignore[index]


async def test_a_key_finds_its_job_although_the_capability_is_gone(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    (first,) = await parts.dispatcher.submit_many(OPERATOR, [(GOOD, "kept")])
    runner.capabilities = ()
    await runner.connect()
    again, other = await parts.dispatcher.submit_many(OPERATOR, [(GOOD, "kept"), (GOOD, "unused")])
    assert not isinstance(first, CoreError)
    assert not isinstance(again, CoreError)
    assert (again[0].job_id, again[1]) == (first[0].job_id, False)
    assert isinstance(other, UnknownCapability)


async def test_two_batches_of_the_same_keys_at_the_same_time_make_the_jobs_once(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    wanted = [(GOOD, f"key-{n}") for n in range(10)]
    both = await asyncio.gather(*[parts.dispatcher.submit_many(OPERATOR, wanted) for _ in range(2)])
    ids = [[one[0].job_id for one in batch if not isinstance(one, CoreError)] for batch in both]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 10


async def test_a_released_wait_answers_with_the_jobs_as_they_are(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    waiting = asyncio.create_task(parts.dispatcher.submit_many(OPERATOR, [(GOOD, None), (GOOD, "k")], 30))
    jobs = await runner.expect_jobs(2)
    await runner.accept(jobs[0])
    parts.dispatcher.release()
    states = [one[0].state.value for one in await waiting if not isinstance(one, CoreError)]
    assert states == ["running", "leased"]


async def test_a_viewer_submits_nothing(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    viewer = Principal("api", TENANT, "v", "viewer", "tok")
    with pytest.raises(Forbidden):
        await parts.dispatcher.submit_many(viewer, [(GOOD, None)])
