"""The bell: a ring is heard by whoever waits, now or next, and once."""

from __future__ import annotations

import asyncio

import pytest

from aisops_core.rpc.bell import Bell


async def test_a_ring_before_and_a_ring_while_waiting_are_both_heard_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.wait()
    waiting = asyncio.ensure_future(bell.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    bell.ring()
    bell.ring()
    await waiting


async def test_who_stops_waiting_leaves_the_bell_usable() -> None:
    bell = Bell()
    waiting = asyncio.ensure_future(bell.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bell.ring()
    await bell.wait()
