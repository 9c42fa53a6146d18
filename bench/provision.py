"""Makes many Runners known to a Core that is not running yet: `python -m bench.provision DATA_DIR COUNT`.

Uses the stores that the API uses; prints `{runner_id: token}` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aisops_core.app.administration import DEFAULT_TENANT, Administration, administer
from aisops_core.clock import SystemClock
from aisops_core.config import CoreConfig
from aisops_core.runners.store import RunnerStore

AT_ONCE = 256


async def provision(data_dir: Path, count: int) -> dict[str, str]:
    """Create the Runners and a token for each."""
    tokens: dict[str, str] = {}
    async with administer(CoreConfig(data_dir=data_dir)) as administration:
        await administration.tenants.ensure(DEFAULT_TENANT)
        runners = RunnerStore(administration.store, SystemClock())
        names = [f"fleet-{number:05}" for number in range(count)]
        for start in range(0, count, AT_ONCE):
            part = names[start : start + AT_ONCE]
            made = await asyncio.gather(*(_one(runners, administration, name) for name in part))
            tokens.update(zip(part, made, strict=True))
    return tokens


async def _one(runners: RunnerStore, administration: Administration, name: str) -> str:
    await runners.create(DEFAULT_TENANT, name)
    return await administration.tokens.create_runner(DEFAULT_TENANT, name)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(provision(Path(sys.argv[1]), int(sys.argv[2])))))
