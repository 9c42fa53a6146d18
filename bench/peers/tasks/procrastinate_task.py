"""procrastinate with PostgreSQL. It keeps no results: what is read back is that the job succeeded, by its status."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import window
from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Status

app = App(connector=PsycopgConnector(conninfo=os.environ["PEER_URL"], max_size=16))
POLL_S = 0.005
"""It tells nobody when a job has ended."""
_UNDER_WAY = {Status.TODO, Status.DOING}


@app.task(name="echo")
async def echo(document: dict[str, str]) -> dict[str, str]:
    """Answer with the same document."""
    return document


async def main() -> None:
    """Make the schema, or submit."""
    async with app.open_async():
        if sys.argv[1] == "schema":
            await app.schema_manager.apply_schema_async()
            return

        async def one() -> Any:
            job_id = await echo.defer_async(document=window.DOCUMENT)
            while (status := await app.job_manager.get_job_status_async(job_id)) in _UNDER_WAY:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
            return window.DOCUMENT if status is Status.SUCCEEDED else status

        await window.concurrent(one)


if __name__ == "__main__":
    asyncio.run(main())
