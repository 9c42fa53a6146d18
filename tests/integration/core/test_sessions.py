"""Sessions, leases and what survives a fall: fencing, reconciliation, expiry, clones, restarts."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from sqlalchemy import select, update

from aisops_core.errors import Fenced, SessionRefused
from aisops_core.storage.schema import meta, watermarks
from aisops_protocol.messages import (
    Capability,
    EpochStart,
    Event,
    GapReport,
    Heartbeat,
    Job,
    JobPhase,
    LogEvent,
    LogLevel,
    MessageClass,
    Ping,
    RunnerEnvelope,
    Skip,
)
from tests.support.core_store import (
    OPERATOR,
    OTHER_TENANT,
    TENANT,
    Parts,
    ScriptedRunner,
    eventually,
    held,
    result,
    running,
)


async def events(parts: Parts) -> list[str]:
    return [event.kind for event in reversed(await parts.runners.events(TENANT, "runner-1"))]


# --- fencing ----------------------------------------------------------------------------------------------------------


async def test_every_write_of_an_older_session_is_refused_and_leaves_nothing(
    parts: Parts, runner: ScriptedRunner
) -> None:
    old = await runner.connect()
    await parts.submit()
    job = await runner.job()
    new = await runner.connect(held(job, JobPhase.ACCEPTED))
    assert new.ref.session_epoch == old.ref.session_epoch + 1
    assert runner.closed == ["SUPERSEDED"]
    envelopes = [RunnerEnvelope(result(job), 1), RunnerEnvelope(LogEvent(LogLevel.INFO, "x", 1, job.job_id), 2)]
    with pytest.raises(Fenced):
        await parts.dispatcher.deliver(old.ref, runner.queue_epoch, envelopes, 2)
    with pytest.raises(Fenced):
        parts.dispatcher.heartbeat(old.ref, Heartbeat(0))
    await parts.dispatcher.close_session(old.ref, "late goodbye")
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "leased"
    assert (await parts.dispatcher.logs(TENANT, job.job_id)).items == ()
    assert (await parts.runners.get(TENANT, "runner-1")).connected
    await parts.dispatcher.deliver(new.ref, runner.queue_epoch, envelopes, 2)
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"


async def test_a_takeover_by_another_process_fences_claims_heartbeats_and_deliveries(
    parts: Parts, runner: ScriptedRunner
) -> None:
    async with running(parts.url, parts.clock) as twin:
        opened = await runner.connect()
        elsewhere = ScriptedRunner(twin)
        await elsewhere.connect()
        await parts.submit()
        await eventually(_closed, runner)
        assert not [body for body in runner.received if isinstance(body, Job)]
        with pytest.raises(Fenced):
            await parts.dispatcher.deliver(opened.ref, runner.queue_epoch, [], 0)


async def _closed(runner: ScriptedRunner) -> bool:
    return bool(runner.closed)


async def test_rows_and_watermark_are_stored_together_or_not_at_all(parts: Parts, runner: ScriptedRunner) -> None:
    opened = await runner.connect()
    job = await parts.submit()
    good = RunnerEnvelope(LogEvent(LogLevel.INFO, "kept?", 1, job.id), 1)
    broken = RunnerEnvelope(LogEvent(LogLevel.INFO, "not text", 2**80, job.id), 2)
    with pytest.raises(Exception):  # noqa: B017 - each driver has its own word for a number that does not fit
        await parts.dispatcher.deliver(opened.ref, runner.queue_epoch, [good, broken], 2)
    assert (await parts.dispatcher.logs(TENANT, job.id)).items == ()
    assert await _watermark(parts, runner) == 0
    await parts.dispatcher.deliver(opened.ref, runner.queue_epoch, [good], 1)
    assert len((await parts.dispatcher.logs(TENANT, job.id)).items) == 1
    assert await _watermark(parts, runner) == 1


async def _watermark(parts: Parts, runner: ScriptedRunner) -> int:
    query = select(watermarks.c.seq).where(
        watermarks.c.tenant_id == TENANT, watermarks.c.queue_epoch == runner.queue_epoch
    )
    return await parts.store.read(lambda connection: connection.execute(query).scalar_one())


# --- the durable lane -------------------------------------------------------------------------------------------------


async def test_a_reconnect_resumes_behind_what_was_committed(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await runner.deliver(*(LogEvent(LogLevel.INFO, str(n), n) for n in range(5)))
    assert (await runner.connect()).welcome.ack_watermark.seq == 5
    earlier, runner.queue_epoch = runner.queue_epoch, secrets.token_bytes(16)
    again = await runner.connect(epoch_start_seq=6, previous_epochs=(EpochStart(earlier, 1),))
    assert (again.welcome.ack_watermark.queue_epoch, again.welcome.ack_watermark.seq) == (runner.queue_epoch, 5)


async def test_a_gap_is_shown_to_the_operator(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    runner.seq = 9
    opened = await runner.connect(oldest_unacked_seq=8)
    assert opened.welcome.ack_watermark.seq == 7
    assert await events(parts) == ["gap"]


async def test_only_the_newest_queue_epochs_are_remembered(parts: Parts, runner: ScriptedRunner) -> None:
    for _ in range(20):
        runner.queue_epoch = secrets.token_bytes(16)
        await runner.connect()
    query = select(watermarks.c.queue_epoch).where(watermarks.c.tenant_id == TENANT)
    kept = await parts.store.read(lambda connection: list(connection.execute(query).scalars()))
    assert len(kept) == 17
    assert runner.queue_epoch in [bytes(epoch) for epoch in kept]


async def test_what_a_runner_says_of_itself_becomes_its_events(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await runner.deliver(
        Event("sidecar.quarantined", 7, b'{"plugin":"acme"}'),
        Heartbeat(1, offline_beats=3, offline_ms=45_000),
        Heartbeat(1),
        Skip(4, 9, MessageClass.DROPPABLE, 6),
        GapReport(1, 2, "damaged"),
    )
    assert await events(parts) == ["sidecar.quarantined", "was_offline", "skipped", "gap"]


# --- clones and refusals ----------------------------------------------------------------------------------------------


async def test_a_clone_is_refused_while_the_first_machine_answers(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    clone = ScriptedRunner(parts)
    knocking = asyncio.create_task(clone.connect())
    await runner.expect(Ping)
    await runner.beat()
    with pytest.raises(SessionRefused) as caught:
        await knocking
    assert caught.value.reason == "DUPLICATE_INSTANCE"
    assert caught.value.retry_after_ms > 0
    assert not runner.closed


async def test_a_restarted_runner_takes_over_when_the_old_stream_stays_silent(
    parts: Parts, runner: ScriptedRunner
) -> None:
    parts.dispatcher._reception._ping_s = 0.05
    await runner.connect()
    reborn = ScriptedRunner(parts)
    await reborn.connect()
    assert runner.closed == ["SUPERSEDED"]
    await parts.submit()
    assert (await reborn.job()).capability == "kakao.send"


async def test_a_session_silent_for_thirty_seconds_gives_way_at_once(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.pass_time(30)
    await ScriptedRunner(parts).connect()
    assert runner.closed == ["SUPERSEDED"]
    assert not [body for body in runner.received if isinstance(body, Ping)]


async def test_sessions_that_may_not_open(parts: Parts, runner: ScriptedRunner) -> None:
    with pytest.raises(SessionRefused) as unknown:
        await ScriptedRunner(parts, "stranger").connect()
    assert unknown.value.reason == "NOT_ENROLLED"
    with pytest.raises(SessionRefused) as foreign:
        await ScriptedRunner(parts, "runner-1", OTHER_TENANT).connect()
    assert foreign.value.reason == "NOT_ENROLLED"
    with pytest.raises(SessionRefused) as ahead:
        await runner.connect(protocol_min=7, protocol_max=9)
    assert ahead.value.reason == "PROTOCOL_UNSUPPORTED"
    runner.principal = OPERATOR
    with pytest.raises(SessionRefused):
        await runner.connect()


async def test_a_runner_shows_what_it_said(parts: Parts, runner: ScriptedRunner) -> None:
    runner.labels = (("site", "seoul"),)
    await runner.connect()
    record = await parts.runners.get(TENANT, "runner-1")
    assert (record.connected, record.labels, record.job_slots) == (True, {"site": "seoul"}, 4)
    assert [capability.name for capability in record.capabilities] == ["email.send", "kakao.send"]
    await runner.disconnect()
    assert not (await parts.runners.get(TENANT, "runner-1")).connected
    await runner.connect()
    await parts.pass_time(46)
    assert not (await parts.runners.get(TENANT, "runner-1")).connected, "not heard of for too long"


async def test_a_new_report_replaces_the_old_one(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    runner.capabilities = (Capability("sms.send", "sms", "2.0"),)
    await runner.connect()
    assert [c.name for c in await parts.runners.capabilities(TENANT)] == ["sms.send"]
    assert (await parts.submit("sms.send")).effect_class == 2


async def test_the_core_epoch_is_part_of_the_database(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.store.write(lambda c: c.execute(update(meta).values(value=b"r" * 16)).rowcount)
    async with running(parts.url, parts.clock) as restored:
        runner.parts = restored
        await runner.connect()
    assert runner.core_epoch == b"r" * 16


async def test_a_core_that_starts_anew_knows_no_runner_as_connected(parts: Parts, runner: ScriptedRunner) -> None:
    """After a kill -9 the rows still say connected; the next process of an embedded database knows better."""
    await runner.connect()
    assert (await parts.runners.get(TENANT, runner.principal.subject_id)).connected

    await parts.runners.forget_connections()

    assert not (await parts.runners.get(TENANT, runner.principal.subject_id)).connected
