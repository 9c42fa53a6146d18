"""The real Runner process killed with -9 under load: one result for every job, no effect twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from aisops_protocol.messages import EffectClass, Job, JobResult, ResultStatus
from tests.support.core_end import CoreEnd, core_end, numbers

pytestmark = pytest.mark.integration

KILLS = 4
JOBS_PER_ROUND = 25


@asynccontextmanager
async def service(effects: Counter[str]) -> AsyncIterator[int]:
    """An internal API that counts what is done."""

    async def handle(request: web.Request) -> web.Response:
        effects[request.match_info["name"]] += 1
        await asyncio.sleep(0.02)
        return web.json_response({"done": True})

    app = web.Application()
    app.router.add_post("/do/{name}", handle)
    running = web.AppRunner(app)
    await running.setup()
    site = web.TCPSite(running, "127.0.0.1", 0)
    await site.start()
    yield running.addresses[0][1]
    await running.cleanup()


async def start_runner(
    directory: Path, core: CoreEnd, port: int, log: Path = Path(os.devnull)
) -> asyncio.subprocess.Process:
    policy = directory / "policy.toml"
    policy.write_text(
        f'[[http.allow]]\nhost = "127.0.0.1"\nschemes = ["http"]\nports = [{port}]\nmethods = ["POST"]\n'
        "allow_loopback = true\n"
    )
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AISOPS", "CORE_"))},
        "CORE_GRPC_ENDPOINT": f"http://127.0.0.1:{core.port}",
        "CORE_RUNNER_AUTH_TOKEN": "aisops_run_test_secretsecret",
        "AISOPS_RUNNER_DATA_DIR": str(directory / "data"),
        "AISOPS_RUNNER_POLICY_FILE": str(policy),
    }
    with log.open("ab") as lines:
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "aisops_runner", "run", env=env, stderr=lines)


def job(name: str, port: int) -> Job:
    raw = json.dumps({"method": "POST", "url": f"http://127.0.0.1:{port}/do/{name}", "json": {}}).encode()
    lease = hashlib.sha256(name.encode()).digest()[:16]
    return Job(
        name, lease, 1, "http.request", raw, hashlib.sha256(raw).digest(), name, EffectClass.AT_MOST_ONCE, 10_000
    )


async def test_kill_9_under_load_loses_no_result_and_doubles_no_effect(tmp_path: Path):
    effects: Counter[str] = Counter()
    async with core_end() as core, service(effects) as port:
        for kill in range(KILLS + 1):
            process = await start_runner(tmp_path, core, port)
            greeted = len(core.hellos)
            await core.until(lambda before=greeted: len(core.hellos) > before, timeout_s=60)
            core.dispatch(*[job(f"j{kill}.{n}", port) for n in range(JOBS_PER_ROUND)])
            if kill < KILLS:
                seen = len(core.of(JobResult))
                await core.until(lambda before=seen, more=5 * kill: len(core.of(JobResult)) > before + more)
                process.send_signal(signal.SIGKILL)
                await process.wait()
        total = (KILLS + 1) * JOBS_PER_ROUND
        await core.until(lambda: len({one.job_id for one in core.of(JobResult)}) == total, timeout_s=60)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0

    results = core.of(JobResult)
    assert Counter(one.job_id for one in results).most_common(1)[0][1] == 1
    assert max(effects.values()) == 1, "an effect happened twice"
    for one in results:
        assert one.status in {ResultStatus.SUCCEEDED, ResultStatus.UNCERTAIN}
        assert one.status is ResultStatus.UNCERTAIN or effects[one.job_id] == 1
    assert sum(one.status is ResultStatus.UNCERTAIN for one in results) <= KILLS * 16
    assert numbers(core) == list(range(1, len(numbers(core)) + 1))
