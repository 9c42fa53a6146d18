"""Who waits for which jobs: every end is told once, a wait is over when all are told, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from aisops_core.dispatch.output_room import OUTPUT_ROOM_BYTES, OutputLeftOut
from aisops_core.dispatch.waiters import Waiters, Waiting
from tests.unit.core.dispatch.test_job import a_job

LONG_S = 3600.0
SIZES = {"a": OUTPUT_ROOM_BYTES - 4, "b": 8, "c": 4}


async def over(waiting: Waiting) -> bool:
    """Whether a wait is over without any time passing."""
    task = asyncio.ensure_future(waiting.until(LONG_S))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    return done


async def test_a_wait_is_over_when_the_last_of_its_jobs_has_ended() -> None:
    waiters = Waiters()
    waiting = waiters.add([("t", "a"), ("t", "b")])
    waiters.tell([a_job(tenant_id="t", job_id="a"), a_job(tenant_id="other", job_id="b")])
    assert not await over(waiting), "another tenant's job is another job"
    waiters.tell([a_job(tenant_id="t", job_id="b")])
    assert await over(waiting)
    assert set(waiting.ended) == {"a", "b"}


async def test_everybody_who_waits_for_a_job_is_told() -> None:
    waiters = Waiters()
    several = [waiters.add([("t", "a")]) for _ in range(3)]
    waiters.discard(several[0])
    waiters.tell([a_job(tenant_id="t", job_id="a")])
    assert [await over(one) for one in several] == [False, True, True]


async def test_only_what_is_still_wanted_is_waited_for() -> None:
    waiters = Waiters()
    waiting = waiters.add([("t", "a"), ("t", "never stored")])
    waiting.narrow([("t", "a")])
    assert not await over(waiting)
    waiting.narrow([])
    assert await over(waiting)


@pytest.mark.parametrize("told", [(), ("a",), ("a", "b")])
async def test_a_discarded_wait_leaves_nothing_behind(told: tuple[str, ...]) -> None:
    waiters = Waiters()
    waiting = waiters.add([("t", "a"), ("t", "b")])
    waiting.narrow([("t", "b")])
    waiters.tell([a_job(tenant_id="t", job_id=name) for name in told])
    waiters.discard(waiting)
    assert not waiters._by_job


async def test_a_release_ends_waits_that_have_begun_and_those_that_will() -> None:
    waiters = Waiters()
    before = waiters.add([("t", "a")])
    waiters.release()
    assert await over(before)
    assert await over(waiters.add([("t", "b")]))


async def test_time_ends_a_wait() -> None:
    waiting = Waiters().add([("t", "a")])
    await waiting.until(0)
    assert not waiting.ended


async def test_the_outputs_of_one_wait_have_bounded_room_and_those_left_out_say_so() -> None:
    waiters = Waiters()
    waiting, alone = waiters.add([("t", name) for name in "abc"]), waiters.add([("t", "b")])
    whole = {name: a_job(tenant_id="t", job_id=name, output=b"x" * size) for name, size in SIZES.items()}
    waiters.tell(whole.values())
    assert [isinstance(waiting.ended[name], OutputLeftOut) for name in "abc"] == [False, True, False]
    assert waiting.ended["b"].output is None
    assert alone.ended["b"] is whole["b"]
