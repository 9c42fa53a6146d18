"""Two Cores on one PostgreSQL: what they do at the same time neither fails nor happens twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import make_url

from aisops_core.dispatch.clearer import Clearer
from aisops_core.dispatch.opening import _SCHEMAS
from aisops_core.dispatch.records import SubmitJob
from aisops_core.errors import CoreError
from aisops_core.runners.store import offered
from aisops_core.storage.engine import build_engine
from aisops_core.storage.schema import audit_records, capabilities, job_logs, jobs, meta
from tests.integration.core.test_retention import DAY_S, TERMS, count, finished
from tests.support.core_store import (
    IDEMPOTENT,
    INPUT,
    OPERATOR,
    TENANT,
    HeldClock,
    Parts,
    ScriptedRunner,
    fresh_database,
    running,
)

KEYS, ROUNDS = 100, 10


@pytest.fixture
async def pair(postgres_dsn: str | None, tmp_path: Path, clock: HeldClock) -> AsyncIterator[tuple[Parts, Parts]]:
    with fresh_database("postgres", tmp_path, postgres_dsn) as url:
        _notice_deadlocks_soon(url)
        async with running(url, clock) as one, running(url, clock) as other:
            yield one, other


def _notice_deadlocks_soon(url: str) -> None:
    engine = build_engine(url, writer=True)
    name = make_url(url).database
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '50ms'")
    engine.dispose()


async def test_a_unit_undone_because_two_waited_for_each_other_is_run_again(pair: tuple[Parts, Parts]) -> None:
    """PostgreSQL ends one of two transactions that each want the other's row: Core's, for the rival is patient."""
    store = pair[0].store
    await store.write(lambda c: c.execute(insert(meta).values([{"key": k, "value": b"0"} for k in ("x", "y")])))
    engine = build_engine(pair[0].url, writer=True)
    has_y = threading.Event()
    runs: list[int] = []

    def unit(connection: Connection) -> None:
        runs.append(1)
        _set(connection, "y", b"core")
        has_y.set()
        _set(connection, "x", b"core")

    with engine.begin() as rival:
        rival.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")
        _set(rival, "x", b"rival")
        writing = asyncio.ensure_future(store.write(unit))
        await asyncio.to_thread(has_y.wait, 20)
        await asyncio.to_thread(_set, rival, "y", b"rival")
    await writing
    engine.dispose()
    assert len(runs) > 1
    values = await store.read(
        lambda c: c.execute(select(meta.c.value).where(meta.c.key.in_(["x", "y"]))).scalars().all()
    )
    assert set(map(bytes, values)) == {b"core"}


def _set(connection: Connection, key: str, value: bytes) -> None:
    connection.execute(update(meta).where(meta.c.key == key).values(value=value))


async def test_the_same_keys_in_different_order_at_two_cores_make_each_job_once(pair: tuple[Parts, Parts]) -> None:
    one, other = pair
    runner = await ScriptedRunner(one).enroll()
    await runner.connect()
    for turn in range(ROUNDS):
        wanted = [(SubmitJob("kakao.send", INPUT), f"{turn}-{n}") for n in range(KEYS)]
        both = await asyncio.gather(
            one.dispatcher.submit_many(OPERATOR, wanted[: KEYS // 2]),
            one.dispatcher.submit_many(OPERATOR, wanted[KEYS // 2 :]),
            other.dispatcher.submit_many(OPERATOR, wanted[: KEYS // 2 - 1 : -1]),
            other.dispatcher.submit_many(OPERATOR, wanted[KEYS // 2 - 1 :: -1]),
        )
        ids: dict[str, set[str]] = {}
        made = 0
        for batch in both:
            for outcome in batch:
                assert not isinstance(outcome, CoreError), outcome
                ids.setdefault(str(outcome[0].idempotency_key), set()).add(outcome[0].job_id)
                made += outcome[1]
        assert made == KEYS
        assert len(ids) == KEYS
        assert all(len(found) == 1 for found in ids.values())
    assert await count(one, jobs) == KEYS * ROUNDS
    assert await one.audit.verify(TENANT) is None


async def test_two_clearers_at_once_delete_everything_due_once_and_nothing_else(pair: tuple[Parts, Parts]) -> None:
    one, other = pair
    runner = await ScriptedRunner(one).enroll()
    await runner.connect()
    for _ in range(60):
        await finished(one, runner)
    await Clearer(one.store, one.clock, TERMS).clear()  # notes how far the numbers have got
    lines, audited = await count(one, job_logs), await count(one, audit_records)
    one.clock.advance(11 * DAY_S)
    fresh = [await finished(one, runner) for _ in range(3)]
    clearers = [Clearer(parts.store, parts.clock, TERMS) for parts in pair for _ in range(2)]
    await asyncio.gather(*[clearer.clear() for clearer in clearers])
    assert lines == 60
    assert sum(clearer.cleared.jobs for clearer in clearers) == 60
    assert await count(one, jobs) == 3
    for job in fresh:
        assert (await other.dispatcher.get(TENANT, job.job_id)).state == "succeeded"
    kept = await one.store.read(lambda c: c.execute(select(func.count(job_logs.c.id))).scalar_one())
    assert kept == 3
    assert await count(one, audit_records) == audited + 3
    assert await one.audit.verify(TENANT) is None


async def test_a_schema_about_to_be_offered_is_not_taken_away(pair: tuple[Parts, Parts]) -> None:
    """A Runner's opening has seen that its schema is there, and a clearer at the other Core finds it unused."""
    one, other = pair
    runner = await ScriptedRunner(one).enroll()
    await runner.connect()
    await runner.disconnect()
    (offer,) = await one.store.read(lambda c: offered(c, TENANT, capability=IDEMPOTENT.name))
    rows = await one.store.read(lambda c: [dict(row._mapping) for row in c.execute(select(capabilities))])
    await one.store.write(lambda c: c.execute(delete(capabilities)))
    engine = build_engine(one.url, writer=True)
    clearer = Clearer(other.store, other.clock, TERMS)
    with engine.begin() as opening:
        assert [bytes(row[0]) for row in _SCHEMAS.rows(opening, [offer.schema_digest], TENANT)]
        await clearer.clear()
        opening.execute(insert(capabilities).values(rows))
    await clearer.clear()
    assert clearer.cleared.schemas == 0
    engine.dispose()
    assert offer.schema_digest in {found.schema_digest for found in await other.runners.capabilities(TENANT)}
