"""The limit: one signed HTTP call from a client to a sidecar and back, with nothing durable in between."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from aisops_plugin_sdk import signing
from bench.figures import Figure
from bench.job import CAPABILITY, DATA

TARGET = f"/v1/invoke/{CAPABILITY}"


class Hop:
    """A sidecar process and a client that signs every call as the Runner does."""

    def __init__(self, python: Path) -> None:
        self._token = secrets.token_hex(32)
        self._process = subprocess.Popen(
            [str(python), "-m", "aisops_plugin_sdk", "serve", "noop"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PORT": "0", "AISOPSFLOW_INTERNAL_AUTH_TOKEN": self._token},
        )
        if self._process.stdout is None:
            raise RuntimeError("the sidecar has no standard output")
        ready = json.loads(self._process.stdout.readline())
        self._url = f"http://127.0.0.1:{ready['port']}{TARGET}"

    async def _many(self, http: aiohttp.ClientSession, turns: Iterator[int], latencies: list[float]) -> None:
        for _ in turns:
            begun = time.perf_counter()
            headers = signing.headers(
                self._token,
                now=time.time(),
                method="POST",
                raw_target=TARGET,
                body=DATA,
                nonce=secrets.token_hex(8),
            )
            async with http.post(self._url, data=DATA, headers=headers) as answer:
                document = await answer.json(content_type=None)
            if not document.get("ok"):
                raise RuntimeError(f"the sidecar refused: {document}")
            latencies.append(time.perf_counter() - begun)

    async def measure(self, in_flight: int, count: int) -> Figure:
        """Run one round."""
        latencies: list[float] = []
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await self._many(http, iter(range(20)), [])
            turns = iter(range(count))
            begun = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(in_flight):
                    group.create_task(self._many(http, turns, latencies))
            return Figure.of(latencies, time.perf_counter() - begun)

    def stop(self) -> None:
        """End the sidecar."""
        self._process.terminate()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
