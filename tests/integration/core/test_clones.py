"""A clone that is refused leaves its mark: an event, a time at its Runner and an audit record, and never many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from aisops_core.dispatch.clone_watch import FIRST_PAUSE_S
from aisops_core.errors import SessionRefused, StorageUnavailable
from aisops_protocol.messages import Heartbeat, Ping
from tests.support.core_store import TENANT, Parts, ScriptedRunner, eventually


async def knock(parts: Parts, runner: ScriptedRunner, times: int = 1) -> ScriptedRunner:
    """Another machine calls so often; the one that is connected answers each time."""
    clone = ScriptedRunner(parts)
    clone.peer = "198.51.100.9:40000"
    for _ in range(times):
        knocking = asyncio.create_task(clone.connect())
        await runner.expect(Ping)
        await runner.beat()
        with pytest.raises(SessionRefused, match="Another machine is connected"):
            await knocking
    return clone


async def refused_with_nothing_else_stored(parts: Parts, runner: ScriptedRunner) -> None:
    """Another machine calls once, while the one that is connected answers by a beat that is not written yet."""
    knocking = asyncio.create_task(ScriptedRunner(parts).connect())
    await runner.expect(Ping)
    assert runner.opened is not None
    parts.dispatcher.heartbeat(runner.opened.ref, Heartbeat(parts.clock.unix_ms()))
    await knocking


async def told(parts: Parts) -> list[dict[str, Any]]:
    """The data of every event about clones, oldest first, once everything handed to the database is in it."""
    await parts.store.write(lambda connection: None)
    found = await parts.runners.events(TENANT, "runner-1", 50)
    return [json.loads(event.data) for event in reversed(found) if event.kind == "clone_refused"]


async def audited(parts: Parts) -> Sequence[Any]:
    return [r for r in await parts.audit.list(TENANT) if r.action == "runner.clone_refused"]


async def test_a_refused_clone_is_on_record_with_both_machines(parts: Parts, runner: ScriptedRunner) -> None:
    opened = await runner.connect()
    assert (await parts.runners.get(TENANT, "runner-1")).clone_refused_unix_ms is None
    clone = await knock(parts, runner)
    (event,) = await told(parts)
    assert event["calls"] == 1
    assert event["refused"]["address"] == "198.51.100.9:40000"
    assert event["refused"]["instance_id"] == clone.instance_id.hex()
    assert event["connected"]["address"] == runner.peer
    assert event["connected"]["session_id"] == opened.ref.session_id.hex()
    assert "198.51.100.9:40000" in event["message"]
    assert event["advice"]
    assert (await parts.runners.get(TENANT, "runner-1")).clone_refused_unix_ms == parts.clock.unix_ms()
    (record,) = await audited(parts)
    assert (record.actor, record.subject) == ("core", "runner-1")
    assert json.loads(record.detail) == {name: event[name] for name in ("calls", "refused", "connected")}
    assert await parts.audit.verify(TENANT) is None


async def test_one_that_calls_again_and_again_is_told_of_now_and_then(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await knock(parts, runner, 20)
    assert [event["calls"] for event in await told(parts)] == [1]
    await parts.pass_time(FIRST_PAUSE_S)
    await runner.beat()
    await knock(parts, runner)
    assert [event["calls"] for event in await told(parts)] == [1, 20]
    assert len(await audited(parts)) == 2


async def test_the_refusal_waits_for_no_database_and_its_next_call_is_told(
    parts: Parts, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runner.connect()
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(parts.store, "begin", lambda unit: held)
    with pytest.raises(SessionRefused):
        await refused_with_nothing_else_stored(parts, runner)
    monkeypatch.undo()
    held.set_exception(StorageUnavailable("The database is not available: database or disk is full."))
    await eventually(_due, parts)
    assert await told(parts) == []
    await knock(parts, runner)
    assert [event["calls"] for event in await told(parts)] == [2]


async def _due(parts: Parts) -> bool:
    watch = parts.dispatcher._reception._clones._watch
    return bool(watch._calls[TENANT, "runner-1"].untold)


async def test_a_closed_store_does_not_change_the_refusal(
    parts: Parts, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runner.connect()

    def closed(_unit: object) -> None:
        raise StorageUnavailable("The store is closed.")

    monkeypatch.setattr(parts.store, "begin", closed)
    with pytest.raises(SessionRefused) as caught:
        await refused_with_nothing_else_stored(parts, runner)
    monkeypatch.undo()
    assert caught.value.reason == "DUPLICATE_INSTANCE"
    assert await told(parts) == []
