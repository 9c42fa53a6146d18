"""A job's way from submission to its one result, through the real store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets

import pytest

from aisops_core.dispatch.records import JobFilter
from aisops_core.errors import (
    UnknownCapability,
)
from aisops_protocol.messages import (
    JobAccept,
    JobCancel,
    JobError,
    JobReject,
    JobResult,
    LogEvent,
    LogLevel,
    RejectReason,
    ResultChunk,
    ResultStatus,
)
from tests.support.core_store import (
    TENANT,
    Parts,
    ScriptedRunner,
    result,
)


async def test_a_job_goes_from_queue_to_result(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    submitted = await parts.submit()
    job = await runner.job()
    assert (job.job_id, job.input, job.effect_key, job.attempt) == (submitted.id, b'{"text":"hello"}', job.job_id, 1)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "leased"
    await runner.accept(job)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
    waiting = asyncio.create_task(parts.dispatcher.wait(TENANT, job.job_id, 10))
    await runner.finish(job)
    ended = await waiting
    assert (ended.state, ended.output, ended.input) == ("succeeded", b'{"ok":1}', b'{"text":"hello"}')
    stored = await parts.dispatcher.get(TENANT, job.job_id)
    assert (stored.state, stored.output, stored.execution.sidecar_pid) == ("succeeded", b'{"ok":1}', 4711)
    kinds = [entry.kind for entry in await parts.dispatcher.timeline(TENANT, job.job_id)]
    assert kinds == ["queued", "leased", "running", "succeeded"]


async def test_jobs_submitted_before_any_runner_is_connected_wait_for_it(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await runner.disconnect()
    submitted = [await parts.submit() for _ in range(3)]
    await runner.connect()
    jobs = [await runner.job() for _ in range(3)]
    assert [job.job_id for job in jobs] == [job.id for job in submitted], "oldest first"


async def test_no_runner_gets_more_than_its_slots_and_freed_slots_are_filled(
    parts: Parts, runner: ScriptedRunner
) -> None:
    runner.slots = 2
    await runner.connect()
    await asyncio.gather(*(parts.submit() for _ in range(5)))
    first = [await runner.job() for _ in range(2)]
    await runner.deliver(*(JobAccept(job.job_id, job.lease_id, 1) for job in first))
    assert not runner.received
    await runner.deliver(*(result(job) for job in first))
    assert len([await runner.job() for _ in range(2)]) == 2
    assert not runner.received


async def test_a_heartbeat_corrects_the_count_of_free_slots(parts: Parts, runner: ScriptedRunner) -> None:
    runner.slots = 1
    await runner.connect()
    await runner.beat(free_slots=0)
    await parts.submit()
    assert not runner.received
    await runner.beat(free_slots=1)
    assert (await runner.job()).capability == "kakao.send"


async def test_higher_priority_goes_first(parts: Parts, runner: ScriptedRunner) -> None:
    runner.slots = 1
    await runner.connect()
    await runner.disconnect()
    await parts.submit(priority=1)
    urgent = await parts.submit("email.send", priority=9)
    await runner.connect()
    assert (await runner.job()).job_id == urgent.id


async def test_labels_and_pins_choose_the_runner(parts: Parts) -> None:
    seoul = await ScriptedRunner(parts, "seoul", labels=(("site", "seoul"),)).enroll()
    busan = await ScriptedRunner(parts, "busan", labels=(("site", "busan"),)).enroll()
    await seoul.connect()
    await busan.connect()
    labelled = await parts.submit(labels={"site": "busan"})
    pinned = await parts.submit(runner_id="seoul")
    assert (await busan.job()).job_id == labelled.id
    assert (await seoul.job()).job_id == pinned.id
    with pytest.raises(UnknownCapability):
        await parts.submit(runner_id="nowhere")


async def test_hundreds_of_results_in_one_delivery(parts: Parts, runner: ScriptedRunner) -> None:
    runner.slots = 300
    await runner.connect()
    await asyncio.gather(*(parts.submit() for _ in range(300)))
    jobs = [await runner.job() for _ in range(300)]
    assert len({job.lease_id for job in jobs}) == 300
    await runner.deliver(*(JobAccept(job.job_id, job.lease_id, 1) for job in jobs), *(result(job) for job in jobs))
    page = await parts.dispatcher.list(TENANT, JobFilter(), None, 200)
    assert {job.state for job in page.items} == {"succeeded"}
    assert page.next_cursor is not None
    assert len((await parts.dispatcher.list(TENANT, JobFilter(), page.next_cursor, 200)).items) == 100


async def test_delivering_twice_changes_nothing(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    bodies = (JobAccept(job.job_id, job.lease_id, 1), LogEvent(LogLevel.INFO, "line", 1, job.job_id), result(job))
    await runner.deliver(*bodies)
    before = await parts.dispatcher.get(TENANT, job.job_id)
    runner.seq = 0
    await runner.deliver(*bodies)
    assert await parts.dispatcher.get(TENANT, job.job_id) == before
    assert len((await parts.dispatcher.logs(TENANT, job.job_id)).items) == 1


async def test_the_same_result_under_a_new_number_is_not_a_late_one(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.accept(job)
    await runner.deliver(result(job), result(job))
    assert "late_result" not in [e.kind for e in await parts.dispatcher.timeline(TENANT, job.job_id)]


async def test_a_result_under_a_stale_lease_is_kept_as_late_and_overwrites_nothing(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.accept(job)
    forged = JobResult(job.job_id, secrets.token_bytes(16), 1, ResultStatus.FAILED, error=JobError("x", "y"))
    await runner.deliver(forged, forged)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "running"
    kinds = [entry.kind for entry in await parts.dispatcher.timeline(TENANT, job.job_id)]
    assert kinds.count("late_result") == 1


async def test_an_accept_under_a_stale_lease_is_told_to_stop(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.deliver(JobAccept(job.job_id, b"x" * 16, 1))
    (stop,) = await runner.expect(JobCancel)
    assert (stop.job_id, stop.lease_id) == (job.job_id, b"x" * 16)


async def test_a_failed_job_carries_its_error(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    error = JobError("channel_not_found", "No such channel.", details=b'[{"path":"/channel"}]')
    await runner.deliver(JobResult(job.job_id, job.lease_id, 1, ResultStatus.FAILED, error=error))
    ended = await parts.dispatcher.wait(TENANT, job.job_id, 5)
    assert (ended.state, ended.error) == ("failed", error)
    troubled = await parts.dispatcher.list(TENANT, JobFilter(state=ended.state), None, 10)
    assert [entry.id for entry in troubled.items] == [job.job_id]


@pytest.mark.parametrize("reason", [RejectReason.BUSY, RejectReason.DRAINING, RejectReason.STORAGE])
async def test_a_busy_runner_gets_the_job_again_later(
    parts: Parts, runner: ScriptedRunner, reason: RejectReason
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.deliver(JobReject(job.job_id, job.lease_id, 1, reason))
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "queued"
    assert not runner.received
    await parts.pass_time(6)
    again = await runner.job()
    assert again.job_id == job.job_id
    assert again.attempt == 1
    assert again.lease_id != job.lease_id


@pytest.mark.parametrize(("reason", "code"), [(RejectReason.POLICY, "policy"), (RejectReason.SCHEMA, "schema")])
async def test_a_refused_job_fails_with_the_reason(
    parts: Parts, runner: ScriptedRunner, reason: RejectReason, code: str
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    await runner.deliver(JobReject(job.job_id, job.lease_id, 1, reason, "not here"))
    ended = await parts.dispatcher.wait(TENANT, job.job_id, 5)
    assert (ended.state, ended.error_code, ended.error_message) == ("failed", code, "not here")


async def test_an_unknown_capability_goes_to_another_runner_or_fails(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    other = await ScriptedRunner(parts, "runner-2").enroll()
    await other.connect()
    await runner.deliver(JobReject(job.job_id, job.lease_id, 1, RejectReason.UNKNOWN_CAPABILITY))
    moved = await other.job()
    assert moved.job_id == job.job_id
    await other.deliver(JobReject(moved.job_id, moved.lease_id, 1, RejectReason.UNKNOWN_CAPABILITY))
    ended = await parts.dispatcher.wait(TENANT, job.job_id, 5)
    assert (ended.state, ended.error_code) == ("failed", "unknown_capability")
    with pytest.raises(UnknownCapability) as caught:
        await parts.submit("kakao.send", runner_id=None)
    assert caught.value.known == ("email.send",)


async def test_a_large_result_is_put_together_from_its_pieces(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    whole = json.dumps({"data": "x" * 600_000}).encode()
    parts_of = [whole[at : at + 262_144] for at in range(0, len(whole), 262_144)]
    digest = hashlib.sha256(whole).digest()
    await runner.accept(job)
    for index, piece in enumerate(parts_of):
        await runner.deliver(ResultChunk(job.job_id, job.lease_id, index, len(parts_of), piece, digest))
    await runner.finish(job, output=b"")
    ended = await parts.dispatcher.get(TENANT, job.job_id)
    assert ended.output == whole
    assert not ended.truncated


@pytest.mark.parametrize("damage", ["missing", "changed"])
async def test_a_large_result_that_is_damaged_is_marked_not_invented(
    parts: Parts, runner: ScriptedRunner, damage: str
) -> None:
    await runner.connect()
    await parts.submit()
    job = await runner.job()
    digest = hashlib.sha256(b"ab").digest()
    pieces = [ResultChunk(job.job_id, job.lease_id, n, 2, data, digest) for n, data in enumerate((b"a", b"b"))]
    if damage == "missing":
        del pieces[0]
    else:
        pieces[1] = ResultChunk(job.job_id, job.lease_id, 1, 2, b"c", digest)
    await runner.deliver(*pieces, result(job, output=b""))
    ended = await parts.dispatcher.get(TENANT, job.job_id)
    assert (ended.state, ended.output, ended.truncated) == ("succeeded", None, True)
