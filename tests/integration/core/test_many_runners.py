"""Many Runners at once: sessions open, beat and close in groups, and one bad one among them hurts no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select

from aisops_core.errors import SessionRefused, StorageUnavailable
from aisops_core.storage.schema import capabilities, jobs
from aisops_protocol.messages import Heartbeat, Job
from tests.support.core_store import TENANT, Parts, ScriptedRunner, running

MANY = 40


async def enrolled(parts: Parts, count: int) -> list[ScriptedRunner]:
    return [await ScriptedRunner(parts, f"many-{number}").enroll() for number in range(count)]


async def count_units(parts: Parts) -> list[int]:
    """A list that grows by one entry with every unit of work from now on."""
    units: list[int] = []
    begin = parts.store.begin

    def counted(unit: object) -> object:
        units.append(1)
        return begin(unit)  # type: ignore[arg-type]

    parts.store.begin = counted  # type: ignore[method-assign,assignment]
    return units


async def test_runners_that_come_together_are_admitted_in_few_units_of_work(parts: Parts) -> None:
    fleet = await enrolled(parts, MANY)
    units = await count_units(parts)
    stranger = ScriptedRunner(parts, "stranger")
    outcomes = await asyncio.gather(*(one.connect() for one in (*fleet, stranger)), return_exceptions=True)
    assert isinstance(outcomes[-1], SessionRefused)
    assert outcomes[-1].reason == "NOT_ENROLLED"
    assert [type(outcome).__name__ for outcome in outcomes[:-1]] == ["OpenedSession"] * MANY
    assert len(units) <= 3
    assert {record.runner_id for record in await parts.runners.list(TENANT) if record.connected} >= {
        one.principal.subject_id for one in fleet
    }
    units.clear()
    await asyncio.gather(*(one.disconnect() for one in fleet))
    assert len(units) <= 3
    assert not any(record.connected for record in await parts.runners.list(TENANT))


async def test_a_runner_that_comes_back_as_it_went_rewrites_no_capability(parts: Parts, runner: ScriptedRunner) -> None:
    async def reported() -> set[int]:
        query = select(capabilities.c.reported_unix_ms).where(capabilities.c.tenant_id == TENANT)
        return await parts.store.read(lambda connection: set(connection.execute(query).scalars()))

    await runner.connect()
    first = await reported()
    parts.clock.advance(5)
    await runner.connect()
    assert await reported() == first
    runner.capabilities = (*runner.capabilities[:-1], replace(runner.capabilities[-1], plugin_version="1.1"))
    await runner.connect()
    assert await reported() == {parts.clock.unix_ms()}
    assert {c.plugin_version for c in await parts.runners.capabilities(TENANT)} == {"1.0", "1.1"}


async def test_beats_of_many_are_one_unit_and_each_renews_its_own_leases(parts: Parts) -> None:
    fleet = await enrolled(parts, MANY)
    await asyncio.gather(*(one.connect() for one in fleet))
    given = []
    for one in fleet:
        await parts.submit(runner_id=one.principal.subject_id)
        given.append(await one.job())
    parts.clock.advance(30)
    units = await count_units(parts)
    for one, job in zip(fleet, given, strict=True):
        assert one.opened is not None
        beat = Heartbeat(parts.clock.unix_ms(), leases=(job.lease_id, b"never had this"), free_slots=3)
        parts.dispatcher.heartbeat(one.opened.ref, beat)
    await parts.dispatcher._reception.beats.flush()
    assert len(units) == 1
    query = select(jobs.c.lease_until_unix_ms).where(jobs.c.tenant_id == TENANT)
    untils = await parts.store.read(lambda connection: set(connection.execute(query).scalars()))
    assert untils == {parts.terms.until(parts.clock.unix_ms())}
    assert {record.last_seen_unix_ms for record in await parts.runners.list(TENANT)} == {parts.clock.unix_ms()}


async def test_a_beat_that_waits_while_its_session_ends_connects_nobody(parts: Parts, runner: ScriptedRunner) -> None:
    opened = await runner.connect()
    parts.dispatcher.heartbeat(opened.ref, Heartbeat(parts.clock.unix_ms(), free_slots=4))
    await runner.disconnect()
    await parts.dispatcher._reception.beats.flush()
    assert not (await parts.runners.get(TENANT, "runner-1")).connected


async def test_a_beat_finds_out_that_another_core_has_the_runner_now(parts: Parts) -> None:
    one, other = await enrolled(parts, 2)
    await asyncio.gather(one.connect(), other.connect())
    parts.clock.advance(31)
    async with running(parts.url, parts.clock) as twin:
        elsewhere = ScriptedRunner(twin, one.principal.subject_id)
        await elsewhere.connect()
        parts.clock.advance(1)
        await asyncio.gather(one.beat(), other.beat())
        assert one.closed == ["SUPERSEDED"]
        assert other.closed == []
        assert (await parts.runners.get(TENANT, other.principal.subject_id)).last_seen_unix_ms == parts.clock.unix_ms()
        assert parts.dispatcher.connected == 1


async def test_beats_that_the_database_cannot_take_are_dropped_and_the_next_are_stored(
    parts: Parts, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(unit: object) -> None:
        raise StorageUnavailable("The database is not available: database or disk is full.")

    await runner.connect()
    parts.clock.advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(parts.store, "write", full)
        await runner.beat()
    before = (await parts.runners.get(TENANT, "runner-1")).last_seen_unix_ms
    parts.clock.advance(1)
    await runner.beat()
    assert (await parts.runners.get(TENANT, "runner-1")).last_seen_unix_ms == before + 2000
    assert runner.closed == []


async def test_work_goes_round_among_the_connected(parts: Parts) -> None:
    fleet = await enrolled(parts, 5)
    await asyncio.gather(*(one.connect() for one in fleet))
    for _ in range(10):
        await parts.submit()
    got = []
    for one in fleet:
        await one.expect(Job, 2)
        got.append(one.principal.subject_id)
    assert len(got) == len(fleet)
