"""A steady stream of jobs against a Core that may be dead at any moment, as a careful client would send it.

Every submission carries an idempotency key and is repeated until Core answers, so "acknowledged" is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from demo.messages import kakao_input
from demo.stage import Stage
from tests.chaos.tally import TERMINAL, Tally
from tests.chaos.witness import CAPABILITY

READERS = 8
KEEP_S = 2.0
"""A connection that rests so long is closed, so that a rush is not seen at Core much later."""


def kakao_job(key: str, number: int) -> dict[str, Any]:
    """An idempotent job: the provider recognises a message it has seen."""
    return {"capability": "kakao.alimtalk.send", "input": kakao_input(f"010{number:08d}", key)}


def slack_job(key: str, number: int) -> dict[str, Any]:
    """An at-most-once job: nobody would notice a second message."""
    return {"capability": "slack.send", "input": {"target": "#ops", "text": key}}


def witness_job(key: str, number: int) -> dict[str, Any]:
    """An idempotent job that writes log lines."""
    return {"capability": CAPABILITY, "input": {"text": key, "sleep_s": 0.02}}


MIX = (kakao_job, slack_job, witness_job)


class Load:
    """Submits jobs at a fixed rate, each until Core acknowledges it, and reads every job's end.

    Args:
        stage: Where to.
        tally: Where everything is counted.
        prefix: What every key begins with, so that loads on one stage stay apart.
        rate: Jobs a second; may be changed while it runs.
        mix: Makers of jobs, taken in turn.
    """

    def __init__(self, stage: Stage, tally: Tally, prefix: str, *, rate: float = 20.0, mix: Any = MIX) -> None:
        self._stage, self._tally, self.prefix, self.rate, self._mix = stage, tally, prefix, rate, mix
        self.ids: dict[str, str] = {}
        self._number = 0
        self._stop = asyncio.Event()
        self._acknowledged = asyncio.Condition()

    def key(self, number: int) -> str:
        """The key of one submission; the closing dot makes it no beginning of another."""
        return f"{self.prefix}-{number}."

    def stop(self) -> None:
        """No further jobs; those begun are submitted to the end."""
        self._stop.set()

    async def run(self) -> None:
        """Submit until stopped."""
        async with self._client() as http, asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                group.create_task(self._submit(http, *self._next()))
                try:
                    await asyncio.wait_for(self._stop.wait(), 1 / self.rate)
                except TimeoutError:
                    continue

    async def burst(self, count: int, *, at_once: int = 64) -> None:
        """Submit `count` jobs as fast as Core takes them."""
        room = asyncio.Semaphore(at_once)

        async def one(http: aiohttp.ClientSession, key: str, document: Mapping[str, Any]) -> None:
            async with room:
                await self._submit(http, key, document)

        async with self._client() as http, asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one(http, *self._next()))

    async def acknowledged(self, count: int, patience_s: float = 60.0) -> None:
        """Wait until Core has acknowledged so many."""
        async with asyncio.timeout(patience_s), self._acknowledged:
            await self._acknowledged.wait_for(lambda: len(self.ids) >= count)

    def _next(self) -> tuple[str, Mapping[str, Any]]:
        self._number += 1
        key = self.key(self._number)
        self._tally.attempted.add(key)
        return key, self._mix[self._number % len(self._mix)](key, self._number)

    def _client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=15, sock_connect=5),
            headers={"Authorization": f"Bearer {self._stage.token}"},
            connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_S),
        )

    async def _submit(self, http: aiohttp.ClientSession, key: str, document: Mapping[str, Any]) -> None:
        while True:
            try:
                url = f"{self._stage.url}/api/v1/jobs"
                async with http.post(url, json=document, headers={"Idempotency-Key": key}) as answer:
                    body = await answer.json(content_type=None)
                    if answer.status in {200, 202}:
                        await self._note(key, body["id"])
                        return
                    if answer.status < 500:
                        raise AssertionError(f"Core refused {key}: {body}")
            except (aiohttp.ClientError, TimeoutError, ValueError):
                pass
            await asyncio.sleep(0.1)

    async def _note(self, key: str, job_id: str) -> None:
        async with self._acknowledged:
            self.ids[key] = job_id
            self._tally.acknowledged.add(key)
            self._acknowledged.notify_all()

    async def read_back(self, patience_s: float = 90.0) -> None:
        """Wait until every acknowledged job has ended; what has not by then is left as it is, and counts as lost."""
        until = asyncio.get_running_loop().time() + patience_s
        left = iter(list(self.ids.items()))

        async def reader(http: aiohttp.ClientSession) -> None:
            for key, job_id in left:
                self._tally.jobs[key] = await self._end_of(http, key, job_id, until)

        async with self._client() as http, asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(reader(http))

    async def _end_of(self, http: aiohttp.ClientSession, key: str, job_id: str, until: float) -> dict[str, Any]:
        while True:
            job: dict[str, Any] = {"state": "missing", "capability": "", "effect_class": "", "attempt": 0}
            try:
                async with http.get(f"{self._stage.url}/api/v1/jobs/{job_id}?wait=5") as answer:
                    found = await answer.json(content_type=None)
                    job = found if answer.status == 200 else job
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(0.1)
            job["witnessed"] = (job.get("output") or {}).get("text") == key
            if job["state"] in TERMINAL or asyncio.get_running_loop().time() > until:
                return job
