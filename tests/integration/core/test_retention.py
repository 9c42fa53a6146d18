"""Retention on a real database: what is over goes, all of it and nothing else, beside a Core at work."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from aisops_core.dispatch.clearer import Clearer
from aisops_core.dispatch.clearing import UNIT_JOBS
from aisops_core.dispatch.resolution import Verdict
from aisops_core.dispatch.retention import RetentionTerms
from aisops_core.errors import JobNotFound
from aisops_core.storage import shrink
from aisops_core.storage.schema import audit_records, input_schemas, job_logs, metadata, runner_events
from aisops_protocol.messages import Event, Job, LogEvent, LogLevel
from tests.support.core_store import IDEMPOTENT, OPERATOR, TENANT, Parts, ScriptedRunner, result

DAY_S = 86_400.0
TERMS = RetentionTerms(jobs_s=10 * DAY_S, uncertain_s=100 * DAY_S, logs_s=2 * DAY_S, events_s=5 * DAY_S)


def line(job: Job | None, words: str = "x") -> LogEvent:
    return LogEvent(LogLevel.INFO, words, 1, "" if job is None else job.job_id)


async def finished(parts: Parts, runner: ScriptedRunner, **fields: Any) -> Job:
    await parts.submit(**fields)
    job = await runner.job()
    await runner.accept(job)
    await runner.deliver(line(job), result(job))
    return job


async def count(parts: Parts, table: Any) -> int:
    return await parts.store.read(lambda c: int(c.execute(select(func.count()).select_from(table)).scalar_one()))


async def rest(parts: Parts, days: float) -> None:
    """Days pass, and the clearer looks twice a day."""
    clearer = Clearer(parts.store, parts.clock, TERMS)
    for _ in range(int(days * 2)):
        parts.clock.advance(DAY_S / 2)
        await clearer.clear()


async def test_an_ended_job_goes_with_everything_beside_it_and_the_audit_log_stays(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    old = await finished(parts, runner, idempotency_key="once")
    await runner.deliver(result(old, output=b'{"again":1}'))
    lost = await finished(parts, runner)
    before = await count(parts, audit_records)
    await rest(parts, 9)
    assert (await parts.dispatcher.get(TENANT, old.job_id)).state == "succeeded"
    await rest(parts, 2)
    for job in (old, lost):
        with pytest.raises(JobNotFound):
            await parts.dispatcher.get(TENANT, job.job_id)
    for name in ("jobs", "job_notes", "late_results", "job_resolutions", "result_chunks"):
        assert await count(parts, metadata.tables[name]) == 0, name
    assert await count(parts, audit_records) == before
    assert await parts.audit.verify(TENANT) is None
    again = await parts.submit(idempotency_key="once")
    assert again.job_id != old.job_id, "the key lives as long as its job"


async def test_what_waits_runs_or_is_in_doubt_stays(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await parts.submit("email.send", timeout_s=30 * DAY_S)
    doubtful = await runner.job()
    await runner.accept(doubtful)
    runner.journal_id = secrets.token_bytes(16)
    await runner.connect()
    await parts.reaches(doubtful.job_id, "uncertain")
    waiting = await parts.submit(queue_ttl_s=30 * DAY_S, labels={"site": "nowhere"})
    await rest(parts, 20)
    assert (await parts.dispatcher.get(TENANT, doubtful.job_id)).state == "uncertain"
    assert (await parts.dispatcher.get(TENANT, waiting.job_id)).state == "queued"
    await parts.dispatcher.resolve(OPERATOR, doubtful.job_id, Verdict.FAILED, "nothing there")
    await rest(parts, 9)
    assert (await parts.dispatcher.get(TENANT, doubtful.job_id)).state == "failed", "kept from the decision on"
    await rest(parts, 2)
    with pytest.raises(JobNotFound):
        await parts.dispatcher.get(TENANT, doubtful.job_id)


async def test_logs_and_events_have_terms_of_their_own(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    job = await finished(parts, runner)
    await runner.deliver(line(None), Event("early", 1))
    await rest(parts, 1)
    await runner.deliver(line(None, "later"), Event("later", 1))
    assert await count(parts, job_logs) == 3
    await rest(parts, 2)
    assert (await parts.dispatcher.logs(TENANT, job.job_id)).items == ()
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "succeeded"
    assert await count(parts, job_logs) == 1
    assert await count(parts, runner_events) == 2
    await rest(parts, 3)
    kinds = [event.kind for event in await parts.runners.events(TENANT, "runner-1")]
    assert kinds == ["later"]


async def test_numbers_are_not_given_again_when_everything_old_is_gone(parts: Parts, runner: ScriptedRunner) -> None:
    """SQLite gives the numbers of deleted rows again; a mark would then name lines that have just come."""
    await runner.connect()
    await runner.deliver(*[line(None) for _ in range(20)])
    await rest(parts, 6)
    await runner.deliver(line(None, "fresh"))
    await rest(parts, 1)
    words = await parts.store.read(lambda c: c.execute(select(job_logs.c.text)).scalars().all())
    assert "fresh" in words


async def test_many_jobs_go_in_small_units_while_others_are_served(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    for _ in range(2 * UNIT_JOBS + 5):
        await finished(parts, runner)
    parts.clock.advance(11 * DAY_S)
    clearer = Clearer(parts.store, parts.clock, TERMS)
    clearing = asyncio.create_task(clearer.clear())
    fresh = await finished(parts, runner)
    await clearing
    assert clearer.cleared.jobs == 2 * UNIT_JOBS + 5
    assert (await parts.dispatcher.get(TENANT, fresh.job_id)).state == "succeeded"
    assert clearer.figures["cleared_jobs_total"]() == 2 * UNIT_JOBS + 5


async def test_an_input_schema_goes_when_no_runner_offers_it_any_more(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await runner.disconnect()
    job = await parts.submit()
    assert await count(parts, input_schemas) == 1
    runner.capabilities = (replace(IDEMPOTENT, input_schema=b'{"type":"object"}'),)
    await runner.connect()
    assert await count(parts, input_schemas) == 2
    clearer = Clearer(parts.store, parts.clock, TERMS)
    await clearer.clear()
    assert (await count(parts, input_schemas), clearer.cleared.schemas) == (1, 1)
    assert (await runner.job()).job_id == job.job_id
    assert await parts.submit(input=b"{}")


async def test_the_look_for_due_jobs_uses_the_primary_key(parts: Parts) -> None:
    if not parts.store.embedded:
        pytest.skip("SQLite tells its plan in a stable form")
    query = "SELECT job_id, state, finished_unix_ms FROM jobs WHERE tenant_id = 't' AND job_id > 'a' AND job_id < 'b'"
    plan = await parts.store.read(lambda c: str(c.execute(text(f"EXPLAIN QUERY PLAN {query} ORDER BY job_id")).all()))
    assert "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1" in plan


async def test_a_file_with_much_free_room_is_given_back(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    if not parts.store.embedded:
        assert not await parts.store.read(shrink.shrinkable)
        pytest.skip("PostgreSQL looks after its files itself")
    monkeypatch.setattr(shrink, "FREE_PAGES", 50)

    def pages(connection: Any) -> int:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar())

    def fill(connection: Any) -> None:
        connection.exec_driver_sql("CREATE TABLE filler (data BLOB)")
        connection.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(4000000))")

    await parts.store.write(fill)
    full = await parts.store.read(pages)
    await parts.store.write(lambda connection: connection.exec_driver_sql("DROP TABLE filler"))
    assert await parts.store.read(pages) == full
    clearer = Clearer(parts.store, parts.clock, TERMS)
    await clearer.clear()
    assert await parts.store.read(pages) < full / 2
    assert clearer.cleared.pages > 500
