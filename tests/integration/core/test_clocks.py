"""A Runner's clock that is far from Core's is put on record once, and shown until it is right again."""

from __future__ import annotations

import json

from aisops_core.errors import StorageUnavailable
from aisops_protocol.messages import Heartbeat
from aisops_protocol.skew import ClockLevel
from tests.support.core_store import TENANT, Parts, ScriptedRunner


async def beats(parts: Parts, runner: ScriptedRunner, *skews_s: float) -> None:
    """Heartbeats of a machine whose clock is so far ahead of Core's."""
    assert runner.opened is not None
    for skew_s in skews_s:
        beat = Heartbeat(parts.clock.unix_ms() + round(skew_s * 1000), free_slots=runner.slots)
        parts.dispatcher.heartbeat(runner.opened.ref, beat)
    await parts.dispatcher._reception.beats.flush()


async def told(parts: Parts) -> list[tuple[str, str]]:
    """Changes of level on record, oldest first."""
    found = await parts.runners.events(TENANT, "runner-1", 50)
    facts = [json.loads(event.data) for event in reversed(found) if event.kind == "clock_skew"]
    return [(fact["before"], fact["level"]) for fact in facts]


async def test_a_clock_that_is_off_is_told_once_and_shown_until_it_is_right(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    assert (await parts.runners.get(TENANT, "runner-1")).clock_skew_ms is None
    await beats(parts, runner, -70, -70, -70)
    record = await parts.runners.get(TENANT, "runner-1")
    assert (record.clock_skew_ms, record.clock_level) == (-70_000, ClockLevel.WARNING)
    await beats(parts, runner, 400, 400, 50, 50, 0, 0)
    assert (await parts.runners.get(TENANT, "runner-1")).clock_level is ClockLevel.OK
    assert await told(parts) == [("ok", "warning"), ("warning", "error"), ("error", "warning"), ("warning", "ok")]


async def test_coming_back_with_the_same_clock_is_no_news(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    await beats(parts, runner, 100, 100)
    await runner.disconnect()
    await runner.connect()
    await beats(parts, runner, 100, 100)
    assert await told(parts) == [("ok", "warning")]
    assert parts.dispatcher.figures["runner_clocks_warning"]() == 1
    assert parts.dispatcher.figures["runner_clocks_error"]() == 0


async def test_what_a_database_could_not_take_is_told_with_the_next_beat(parts: Parts, runner: ScriptedRunner) -> None:
    await runner.connect()
    write = parts.store.write

    async def refuse(_unit: object) -> None:
        raise StorageUnavailable("The database is not available: database or disk is full.")

    parts.store.write = refuse  # type: ignore[method-assign,assignment]
    await beats(parts, runner, 100, 100)
    parts.store.write = write  # type: ignore[method-assign]
    assert await told(parts) == []
    await beats(parts, runner, 100)
    assert await told(parts) == [("ok", "warning")]
