"""arq with Redis; it polls for work and results, here as often as it sensibly can."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import window
from arq import create_pool
from arq.connections import RedisSettings

SETTINGS = RedisSettings.from_dsn(os.environ["PEER_URL"])
POLL_S = 0.005


async def echo(_context: dict[str, Any], document: dict[str, str]) -> dict[str, str]:
    """Answer with the same document."""
    return document


class WorkerSettings:
    """What the worker runs."""

    functions = (echo,)
    redis_settings = SETTINGS
    max_jobs = 512
    poll_delay = POLL_S


async def main() -> None:
    """Submit."""
    pool = await create_pool(SETTINGS)

    async def one() -> Any:
        job = await pool.enqueue_job("echo", window.DOCUMENT)
        return None if job is None else await job.result(timeout=60, poll_delay=POLL_S)

    await window.concurrent(one)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main())
