"""The submitting side, in a process of its own: keep N jobs in flight over Core's HTTP API and read every result back.

`python -m bench.submit URL IN_FLIGHT COUNT` with the API token on standard input; prints one Figure as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine, Iterator

import aiohttp

from bench.figures import Figure

TEXT = "x" * 180  # about 200 bytes of JSON, as in every peer's round
DONE = frozenset({"succeeded", "failed", "timed_out", "cancelled", "uncertain"})


class Submitter:
    """Submits jobs one after the other; several run side by side."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http, self._jobs = http, f"{url}/api/v1/jobs"
        self._headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=30", "Content-Type": "application/json"}
        self._body = json.dumps({"capability": "noop.echo", "input": {"text": TEXT}})
        self.latencies: list[float] = []

    async def one(self) -> None:
        """Submit one job and read its result back.

        Raises:
            RuntimeError: the job did not succeed.
        """
        begun = time.perf_counter()
        async with self._http.post(self._jobs, data=self._body, headers=self._headers) as answer:
            job = await answer.json(content_type=None)
        while job.get("state") not in DONE and "id" in job:
            async with self._http.get(f"{self._jobs}/{job['id']}?wait=30", headers=self._headers) as answer:
                job = await answer.json(content_type=None)
        if job.get("state") != "succeeded" or job["output"]["text"] != TEXT:
            raise RuntimeError(f"a job of the benchmark did not succeed: {job}")
        self.latencies.append(time.perf_counter() - begun)

    async def many(self, turns: Iterator[int]) -> None:
        """Submit until the shared counter runs out."""
        for _ in turns:
            await self.one()


async def measure(url: str, token: str, in_flight: int, count: int) -> Figure:
    """Run one round."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        submitter = Submitter(http, url, token)
        await asyncio.gather(*(submitter.many(iter(range(1))) for _ in range(min(in_flight, count))))
        submitter.latencies.clear()
        turns = iter(range(count))
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(submitter.many(turns))
        return Figure.of(submitter.latencies, time.perf_counter() - begun)


def run(round_: Coroutine[None, None, Figure]) -> Figure:
    """Run one round on the fastest event loop there is, so that the submitter is not what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(round_)
    return uvloop.run(round_)


def main() -> None:
    """Read arguments, measure, print."""
    url, in_flight, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    token = sys.stdin.readline().strip()
    print(json.dumps(run(measure(url, token, in_flight, count)).document()))


if __name__ == "__main__":
    main()
