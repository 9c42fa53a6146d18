"""The time that a call has left: read off the wall clock once, and then counted on one that only runs."""

import asyncio
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from aisops_plugin_sdk import Context, Plugin
from aisops_plugin_sdk.context import CallInfo
from aisops_plugin_sdk.server.invocations import LONGEST_CALL_S, Invocations
from aisops_plugin_sdk.server.lifecycle import Lifecycle

NOON = 1_700_000_000.0
HOUR_S = 3_600.0


class Times:
    """A wall clock that may be set, and time that only runs."""

    def __init__(self):
        self.wall = NOON
        self.run = 50.0

    def clock(self):
        return self.wall

    def monotonic(self):
        return self.run

    def pass_time(self, seconds):
        self.wall += seconds
        self.run += seconds


class Ask(BaseModel):
    text: str = ""


class Told(BaseModel):
    left_s: float


class Bench:
    """The calls of a plugin whose one capability waits, and then tells how much time it sees."""

    def __init__(self):
        self.times = Times()
        self.entered, self.release = asyncio.Event(), asyncio.Event()
        self.contexts = []
        self.plugin = Plugin("bench")
        self.plugin.capability("bench.hold", timeout_s=20)(self.hold)
        times = self.times
        self.life = Lifecycle(self.plugin, {}, clock=times.clock, monotonic=times.monotonic, sink=lambda record: None)
        self.invocations = Invocations(self.life, sink=lambda record: None, clock=times.clock)

    async def hold(self, ctx: Context, ask: Ask) -> Told:
        self.contexts.append(ctx)
        self.entered.set()
        await self.release.wait()
        return Told(left_s=ctx.remaining_s())

    async def begun(self, deadline):
        """A call that is under way, and what it sees of itself."""
        await self.life.start()
        capability = self.plugin.find("bench.hold")
        task = asyncio.create_task(self.invocations.invoke(capability, Ask(), CallInfo(deadline=deadline), b"{}"))
        await self.entered.wait()
        return task, self.contexts[0]


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S, 0.0])
async def test_a_clock_that_is_set_during_a_call_changes_nothing(set_by_s):
    bench = Bench()
    task, ctx = await bench.begun(NOON + 30.0)
    bench.times.wall += set_by_s
    assert ctx.remaining_s() == pytest.approx(30.0)
    bench.times.pass_time(12.0)
    assert ctx.remaining_s() == pytest.approx(18.0)
    bench.release.set()
    outcome = await task
    assert Told.model_validate_json(outcome.result).left_s == pytest.approx(18.0)
    assert ctx.deadline == NOON + 30.0, "as the caller gave it"
    bench.times.pass_time(100.0)
    assert ctx.remaining_s() == 0.0, "never negative"


@pytest.mark.parametrize(("deadline", "left_s"), [(None, 20.0), (NOON + 10 * LONGEST_CALL_S, LONGEST_CALL_S)])
async def test_without_a_deadline_or_with_a_far_one_our_own_limit_is_counted(deadline, left_s):
    bench = Bench()
    task, ctx = await bench.begun(deadline)
    bench.times.wall -= HOUR_S
    bench.times.run += 5.0
    assert ctx.remaining_s() == pytest.approx(left_s - 5.0)
    assert ctx.deadline == pytest.approx(NOON + left_s)
    bench.release.set()
    assert (await task).error is None


def a_context(times, **call):
    return Context(
        config=None,
        state=SimpleNamespace(),
        dry_run=False,
        sink=lambda record: None,
        call=CallInfo(**call),
        clock=times.clock,
        monotonic=times.monotonic,
    )


def test_a_context_made_by_hand_counts_from_when_it_was_made():
    times = Times()
    ctx = a_context(times, deadline=NOON + 30.0)
    times.wall += HOUR_S
    times.run += 1.0
    assert ctx.remaining_s() == pytest.approx(29.0)
    times.run += 30.0
    assert ctx.remaining_s() == 0.0


def test_outside_a_call_there_is_no_end():
    assert a_context(Times()).remaining_s() == float("inf")
