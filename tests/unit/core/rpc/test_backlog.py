"""The backlog of one stream: what collects is taken at once, and too much of it holds the reader back."""

from __future__ import annotations

import asyncio

import pytest

from aisops_core.rpc import backlog as backlog_module
from aisops_core.rpc.backlog import Backlog
from aisops_protocol.messages import LogEvent, LogLevel, RunnerEnvelope
from aisops_protocol.session import Delivered

EPOCH = b"e" * 16


def delivered(*seqs: int) -> Delivered:
    lines = tuple(RunnerEnvelope(LogEvent(LogLevel.INFO, "x", 1), seq, b"m" * 16) for seq in seqs)
    return Delivered(EPOCH, lines, seqs[-1])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_everything_that_waits_is_taken_as_one_delivery_in_order() -> None:
    backlog = Backlog()
    backlog.add(delivered(1, 2))
    backlog.add(delivered(3))
    assert backlog.take() == delivered(1, 2, 3)
    assert backlog.take() is None


def test_a_watermark_without_messages_is_taken_too() -> None:
    backlog = Backlog()
    backlog.add(Delivered(EPOCH, (), 7))
    assert backlog.take() == Delivered(EPOCH, (), 7)


async def test_the_reader_is_held_back_until_what_waits_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "HELD_BYTES", 100)
    backlog = Backlog()
    backlog.add(delivered(1))
    await backlog.hold(100)
    held = asyncio.ensure_future(backlog.hold(1))
    await settle()
    assert not held.done()
    backlog.take()
    await held


async def test_frames_that_deliver_nothing_hold_nobody_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "HELD_BYTES", 100)
    backlog = Backlog()
    async with asyncio.timeout(5):
        await backlog.hold(101)
