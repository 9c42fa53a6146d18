"""What callers ask of dispatch, on a real database: cancel, repeat, read, wait, and what is refused."""

from __future__ import annotations

import asyncio
import json

import pytest

from aisops_core.dispatch.records import JobFilter, SubmitJob
from aisops_core.errors import (
    Forbidden,
    IdempotencyMismatch,
    InputInvalid,
    InputTooLarge,
    InvalidCursor,
    InvalidRequest,
    JobNotFound,
    UnknownCapability,
)
from aisops_core.tenants.principal import Principal
from aisops_protocol.messages import (
    CancelPhase,
    CancelState,
    JobAccept,
    JobCancel,
    JobReject,
    LogEvent,
    LogLevel,
    RejectReason,
    ResultStatus,
)
from tests.support.core_store import (
    AT_MOST_ONCE,
    IDEMPOTENT,
    OPERATOR,
    OTHER_TENANT,
    TENANT,
    Parts,
    ScriptedRunner,
    result,
)


async def test_cancel_of_a_waiting_job_ends_it_at_once(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await runner.disconnect()
    job = await parts.submit()
    cancelled = await parts.dispatcher.cancel(OPERATOR, job.id)
    assert cancelled.state == "cancelled"
    await runner.connect()
    marker = await parts.submit()
    assert (await runner.job()).job_id == marker.id, "the cancelled one was never sent"


async def test_cancel_of_a_running_job_asks_the_runner_and_a_finished_job_wins(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    stopped, won = await parts.submit(), await parts.submit()
    first, second = await runner.job(), await runner.job()
    await runner.deliver(*(JobAccept(job.job_id, job.lease_id, 1) for job in (first, second)))
    for job in (stopped, won):
        asked = await parts.dispatcher.cancel(OPERATOR, job.id)
        assert (asked.state, asked.cancel_requested) == ("running", True)
    assert len(await runner.expect(JobCancel, 2)) == 2
    await runner.deliver(
        CancelState(first.job_id, first.lease_id, CancelPhase.STOPPED),
        result(first, ResultStatus.CANCELLED, b""),
        result(second),
    )
    assert (await parts.dispatcher.get(TENANT, stopped.id)).state == "cancelled"
    assert (await parts.dispatcher.get(TENANT, won.id)).state == "succeeded"
    assert (await parts.dispatcher.cancel(OPERATOR, won.id)).state == "succeeded"
    kinds = [entry.kind for entry in await parts.dispatcher.timeline(TENANT, stopped.id)]
    assert "cancel_requested" in kinds
    assert "cancel_stopped" in kinds


async def test_an_idempotency_key_makes_one_job(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    request = SubmitJob("kakao.send", b'{"text":"once"}')
    answers = await asyncio.gather(*(parts.dispatcher.submit(OPERATOR, request, "key-1") for _ in range(20)))
    assert len({job.id for job, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    with pytest.raises(IdempotencyMismatch) as caught:
        await parts.dispatcher.submit(OPERATOR, SubmitJob("kakao.send", b'{"text":"twice"}'), "key-1")
    assert caught.value.job_id == answers[0][0].id


async def test_a_repeated_request_is_answered_even_when_its_capability_is_gone(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    first = await parts.submit(idempotency_key="k")
    runner.capabilities = (AT_MOST_ONCE,)
    await runner.connect()
    assert (await parts.submit(idempotency_key="k")).id == first.id
    with pytest.raises(UnknownCapability):
        await parts.submit(idempotency_key="other")


async def test_bad_requests_are_refused_with_places_and_store_nothing(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    secret = "xoxb-secret-value"
    with pytest.raises(InputInvalid) as caught:
        await parts.submit(input=json.dumps({"text": 5, "token": secret}).encode())
    assert [error.path for error in caught.value.errors] == ["/text"]
    assert secret not in str(caught.value.diagnostics())
    for broken in (b"{", b'{"text":NaN}', b'{"text":"a","text":"b"}', b'{"text":"\\ud800"}', b"[" * 100 + b"]" * 100):
        with pytest.raises(InputInvalid):
            await parts.submit(input=broken)
    with pytest.raises(InputTooLarge):
        await parts.submit(input=b'{"text":"' + b"x" * 1024 * 1024 + b'"}')
    with pytest.raises(UnknownCapability) as unknown:
        await parts.submit("no.such")
    assert unknown.value.known == ("email.send", "kakao.send")
    for fields in ({"priority": 5000}, {"timeout_s": float("nan")}, {"queue_ttl_s": 0.0}, {"labels": {"": "x"}}):
        with pytest.raises(InvalidRequest):
            await parts.submit(**fields)
    with pytest.raises(Forbidden):
        await parts.submit(principal=Principal("api", TENANT, "victor", "viewer", "tok"))
    assert (await parts.dispatcher.list(TENANT, JobFilter())).items == ()


async def test_a_hostile_schema_is_reported_and_skipped(parts: Parts, runner: ScriptedRunner) -> None:
    hostile = b'{"$ref":"file:///etc/passwd"}'
    runner.capabilities = (type(IDEMPOTENT)("evil.send", "evil", "1", IDEMPOTENT.effect_class, 1000, hostile),)
    await runner.connect()
    (capability,) = (await parts.runners.get(TENANT, "runner-1")).capabilities
    assert "outside" in capability.schema_error
    assert (await parts.submit("evil.send", input=b'{"anything":1}')).state == "leased"


async def test_one_tenant_never_sees_another(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    twin = await ScriptedRunner(parts, "runner-1", OTHER_TENANT).enroll()
    await twin.connect()
    job = await parts.submit(idempotency_key="same")
    sent = await runner.job()
    assert not twin.received
    stranger = Principal("api", OTHER_TENANT, "mallory", "admin", "tok")
    dispatcher = parts.dispatcher
    for attempt in (
        dispatcher.get(OTHER_TENANT, job.id),
        dispatcher.logs(OTHER_TENANT, job.id),
        dispatcher.timeline(OTHER_TENANT, job.id),
        dispatcher.cancel(stranger, job.id),
        dispatcher.wait(OTHER_TENANT, job.id, 0.01),
    ):
        with pytest.raises(JobNotFound):
            await attempt
    assert (await dispatcher.list(OTHER_TENANT, JobFilter())).items == ()
    await twin.deliver(
        JobAccept(sent.job_id, sent.lease_id, 1),
        LogEvent(LogLevel.INFO, "forged", 1, sent.job_id),
        JobReject(sent.job_id, sent.lease_id, 1, RejectReason.POLICY),
        CancelState(sent.job_id, sent.lease_id, CancelPhase.STOPPED),
        result(sent),
    )
    stored = await dispatcher.get(TENANT, job.id)
    assert (stored.state, stored.output) == ("leased", None)
    assert (await dispatcher.logs(TENANT, job.id)).items == ()
    own, created = await dispatcher.submit(stranger, SubmitJob("kakao.send", b'{"text":"hello"}'), "same")
    assert created
    assert own.id != job.id


async def test_logs_are_paged_in_order_and_bad_cursors_refused(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    job = await parts.submit()
    lines = [LogEvent(LogLevel.INFO, f"line {n}\0", n, job.id, "plugin") for n in range(5)]
    await runner.deliver(*lines, LogEvent(LogLevel.ERROR, "of the Runner", 9))
    first = await parts.dispatcher.logs(TENANT, job.id, None, 3)
    rest = await parts.dispatcher.logs(TENANT, job.id, first.next_cursor, 3)
    texts = [line.text for line in (*first.items, *rest.items)]
    assert texts == [f"line {n}\N{REPLACEMENT CHARACTER}" for n in range(5)]
    assert rest.next_cursor is None
    for cursor in ("?", "AAAA", "_" * 200, "é"):
        with pytest.raises(InvalidCursor):
            await parts.dispatcher.logs(TENANT, job.id, cursor)
    with pytest.raises(InvalidCursor):
        await parts.dispatcher.list(TENANT, JobFilter(), "%%%")


async def test_submissions_and_cancellations_are_audited_in_an_unbroken_chain(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    job = await parts.submit()
    await parts.dispatcher.cancel(OPERATOR, job.id)
    records = await parts.audit.list(TENANT)
    assert [record.action for record in records] == ["runner.create", "job.submit", "job.cancel"]
    assert {record.actor for record in records[1:]} == {"api:operator-1"}
    assert await parts.audit.verify(TENANT) is None


async def test_waiting_for_a_job_that_does_not_end_returns_it_as_it_is(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    job = await parts.submit()
    assert (await parts.dispatcher.wait(TENANT, job.id, 0.01)).state in {"queued", "leased"}
    assert not parts.dispatcher._board.waiters._by_job
