"""Rows for tests of the outbox, and what a Core that takes everything would get of them."""

from __future__ import annotations

from aisops_protocol.codec import decode_runner_body
from aisops_protocol.messages import (
    Event,
    LogEvent,
    LogLevel,
    RunnerBody,
    Skip,
)
from aisops_runner.outbox.outbox import Outbox


def event(number: int, size: int = 0) -> Event:
    return Event(f"e{number}", number, b'"' + b"x" * size + b'"')


def log(number: int, level: LogLevel = LogLevel.INFO) -> LogEvent:
    return LogEvent(level, f"line {number} " + "y" * 200, number)


async def drain(outbox: Outbox, after: int | None = None) -> list[tuple[int, RunnerBody]]:
    """Everything in the lane, as Core would get it: no hole is tolerated."""
    cursor = outbox.acked_seq if after is None else after
    found: list[tuple[int, RunnerBody]] = []
    while envelopes := await outbox.take(cursor, 256, 1_000_000):
        for envelope in envelopes:
            body = envelope.body or decode_runner_body(envelope.sealed)
            assert body is not None
            first = body.from_seq if isinstance(body, Skip) else envelope.seq
            assert first == cursor + 1
            cursor = envelope.seq
            found.append((envelope.seq, body))
    return found


def bodies(found: list[tuple[int, RunnerBody]]) -> list[RunnerBody]:
    return [body for _, body in found]
