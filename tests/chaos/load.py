"""A steady stream of jobs against a Core that may be dead at any moment, as a careful client would send it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from demo.messages import kakao_input
from demo.stage import Stage
from tests.chaos.tally import TERMINAL, Tally


def kakao_job(key: str, number: int) -> dict[str, Any]:
    """An idempotent job: the provider recognises a message it has seen."""
    return {
        "capability": "kakao.alimtalk.send",
        "input": kakao_input(f"010{number:08d}", key),
    }


def slack_job(key: str, number: int) -> dict[str, Any]:
    """An at-most-once job: nobody would notice a second message."""
    return {"capability": "slack.send", "input": {"target": "#ops", "text": key}}


class Load:
    """Submits jobs at a fixed rate, each until Core acknowledges it, and reads every job's end."""

    def __init__(self, stage: Stage, rate: float, tally: Tally) -> None:
        self._stage, self._pause, self._tally = stage, 1 / rate, tally
        self._ids: dict[str, str] = {}
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """No further jobs; those begun are submitted to the end."""
        self._stop.set()

    async def run(self) -> None:
        """Submit until stopped, two idempotent jobs for each at-most-once one."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http, asyncio.TaskGroup() as group:
            number = 0
            while not self._stop.is_set():
                number += 1
                make = slack_job if number % 3 == 0 else kakao_job
                key = f"chaos-{number}."
                self._tally.attempted.add(key)
                group.create_task(self._submit(http, key, make(key, number)))
                try:
                    await asyncio.wait_for(self._stop.wait(), self._pause)
                except TimeoutError:
                    continue

    async def _submit(self, http: aiohttp.ClientSession, key: str, document: Mapping[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._stage.token}", "Idempotency-Key": key}
        while True:
            try:
                async with http.post(f"{self._stage.url}/api/v1/jobs", json=document, headers=headers) as answer:
                    body = await answer.json(content_type=None)
                    if answer.status in {200, 202}:
                        self._ids[key] = body["id"]
                        self._tally.acknowledged.add(key)
                        return
                    if answer.status < 500:
                        raise AssertionError(f"Core refused {key}: {body}")
            except (aiohttp.ClientError, TimeoutError, ValueError):
                pass
            await asyncio.sleep(0.1)

    async def read_back(self, patience_s: float = 120.0) -> None:
        """Wait until every acknowledged job has ended; what has not by then is left as it is, and counts as lost."""
        headers = {"Authorization": f"Bearer {self._stage.token}"}
        until = asyncio.get_running_loop().time() + patience_s
        async with aiohttp.ClientSession() as http:
            for key, job_id in self._ids.items():
                while True:
                    url = f"{self._stage.url}/api/v1/jobs/{job_id}?wait=5"
                    async with http.get(url, headers=headers) as answer:
                        self._tally.jobs[key] = await answer.json(content_type=None)
                    if self._tally.jobs[key]["state"] in TERMINAL or asyncio.get_running_loop().time() > until:
                        break
