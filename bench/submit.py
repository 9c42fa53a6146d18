"""The submitting side, in a process of its own: keep N requests in flight over Core's HTTP API, read every result back.

`python -m bench.submit URL SIZE IN_FLIGHT REQUESTS` with the API token on standard input; prints one Figure as JSON.
SIZE is how many jobs one request holds; 1 submits each with a request of its own. Latencies are of requests.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import TypeVar

from bench.figures import Figure
from bench.job import Shape
from bench.lean_client import request_of, send_many

T = TypeVar("T")
WAIT_S = 30


async def send(url: str, token: str, shape: Shape, requests: int) -> Figure:
    """Send so many requests and read every result."""
    request = request_of(url, shape.path, token, shape.body, WAIT_S)
    latencies, elapsed = await send_many(url, request, shape.in_flight, requests, shape.check)
    figure = Figure.of(latencies, elapsed)
    return Figure(requests * shape.size / elapsed, figure.p50_ms, figure.p99_ms, requests * shape.size)


async def measure(url: str, token: str, shape: Shape, requests: int) -> Figure:
    """Run one round, behind a short one that is not counted."""
    await send(url, token, shape, shape.in_flight)
    return await send(url, token, shape, requests)


def run(round_: Coroutine[None, None, T]) -> T:
    """Run one round on the fastest event loop there is, so that the submitter is not what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(round_)
    return uvloop.run(round_)


def main() -> None:
    """Read arguments, measure, print."""
    url, (size, in_flight, requests) = sys.argv[1], map(int, sys.argv[2:5])
    token = sys.stdin.readline().strip()
    print(json.dumps(run(measure(url, token, Shape(size, in_flight), requests)).document()))


if __name__ == "__main__":
    main()
