"""taskiq with Redis streams, which acknowledge, and its Redis result backend."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import window
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["PEER_URL"]
broker = RedisStreamBroker(URL).with_result_backend(RedisAsyncResultBackend(URL))
POLL_S = 0.005


@broker.task(task_name="echo")
async def echo(document: dict[str, str]) -> dict[str, str]:
    """Answer with the same document."""
    return document


async def main() -> None:
    """Submit."""
    await broker.startup()

    async def one() -> Any:
        task = await echo.kiq(window.DOCUMENT)
        return (await task.wait_result(check_interval=POLL_S, timeout=60)).return_value

    await window.concurrent(one)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
