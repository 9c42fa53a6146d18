"""The submitting loop of every peer: so many jobs in flight, every result read back and compared, one Figure printed.

`sync` for libraries that block, `concurrent` for those of asyncio. Jobs carry about 200 bytes of JSON, as ours do.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

DOCUMENT = {"text": "x" * 180}
WARM_UP = 20


def figure(latencies: Sequence[float], elapsed_s: float) -> dict[str, float]:
    """What one round measured."""
    ordered = sorted(latencies)
    return {
        "jobs_per_s": len(ordered) / elapsed_s,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "jobs": len(ordered),
    }


def _check(result: Any) -> None:
    if result != DOCUMENT:
        raise RuntimeError(f"the peer returned something else: {result!r}")


def sync(send: Callable[[], Any], receive: Callable[[Any], Any]) -> None:
    """Keep a window of jobs in flight and read every result back, in order."""

    def run(in_flight: int, count: int) -> dict[str, float]:
        window: deque[tuple[float, Any]] = deque()
        latencies: list[float] = []
        begun = time.perf_counter()
        for turn in range(count + in_flight):
            if window and (len(window) == in_flight or turn >= count):
                sent, handle = window.popleft()
                _check(receive(handle))
                latencies.append(time.perf_counter() - sent)
            if turn < count:
                window.append((time.perf_counter(), send()))
        return figure(latencies, time.perf_counter() - begun)

    run(1, WARM_UP)
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))


async def concurrent(one: Callable[[], Awaitable[Any]]) -> None:
    """Run so many submitters side by side, each with one job at a time."""

    async def run(in_flight: int, count: int) -> dict[str, float]:
        turns, latencies = iter(range(count)), list[float]()

        async def submitter() -> None:
            for _ in turns:
                sent = time.perf_counter()
                _check(await one())
                latencies.append(time.perf_counter() - sent)

        begun = time.perf_counter()
        await asyncio.gather(*(submitter() for _ in range(in_flight)))
        return figure(latencies, time.perf_counter() - begun)

    await run(1, WARM_UP)
    print(json.dumps(await run(int(sys.argv[1]), int(sys.argv[2]))))
