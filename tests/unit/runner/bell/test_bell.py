"""The bell: a ring is never lost, a time that has come rings too, and nothing is left of a wait that was given up."""

from __future__ import annotations

import asyncio

import pytest

from aisops_runner.bell import Bell


async def waiting(bell: Bell, seconds: float | None = None) -> asyncio.Task[None]:
    task = asyncio.create_task(bell.wait(seconds))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_rung_before_it_returns_at_once_and_only_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.wait()
    (await waiting(bell)).cancel()


async def test_rung_while_somebody_waits_it_wakes_them() -> None:
    bell = Bell()
    task = await waiting(bell)
    bell.ring()
    await task


async def test_a_time_that_has_come_rings() -> None:
    bell = Bell()
    await bell.wait(0.0)
    await bell.wait(-1.0)


async def test_an_early_time_is_kept_when_a_later_one_is_asked_for() -> None:
    bell = Bell()
    bell.ring_within(0.0)
    bell.ring_within(3600.0)
    await bell.wait(3600.0)


async def test_an_earlier_time_takes_the_place_of_a_later_one() -> None:
    bell = Bell()
    task = await waiting(bell, 3600.0)
    bell.ring_within(0.0)
    await task


async def test_silenced_it_was_never_rung() -> None:
    bell = Bell()
    bell.ring()
    bell.silence()
    (await waiting(bell)).cancel()


async def test_a_wait_that_was_given_up_takes_no_ring_with_it() -> None:
    bell = Bell()
    task = await waiting(bell)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bell.ring()
    await bell.wait()
