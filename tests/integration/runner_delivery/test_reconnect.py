"""The real Core killed while a job runs: what the Runner had to say meanwhile is there when Core is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aisops_protocol.messages import Capability, EffectClass, LogLevel
from aisops_runner.adapters.calls import JobLog
from tests.support.core_process import CoreProcess, until
from tests.support.runner_end import Provider, lost, runner

pytestmark = pytest.mark.integration

OFFER = Capability("x.do", "test", "1.0", EffectClass.AT_MOST_ONCE, 30_000, b'{"type":"object"}')


def submit(core: CoreProcess) -> str:
    return str(core.api("POST", "/jobs", {"capability": "x.do", "input": {}}).json["id"])


async def seen(condition: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


async def ask(core: CoreProcess, path: str) -> Any:
    return (await asyncio.to_thread(core.api, "GET", path)).json


async def test_heartbeat_result_and_log_lines_of_the_time_without_core_arrive_when_it_is_back(tmp_path: Path):
    """kill -9 of Core under a running job, then Core again on the same data: nothing is missing, nothing came twice."""
    core = await asyncio.to_thread(CoreProcess(tmp_path).start)
    core.options = ("--grpc", f"127.0.0.1:{core.grpc_port}")
    token = await asyncio.to_thread(core.create_runner, "runner-1")
    provider = Provider()
    provider.gate.clear()
    try:
        async with runner(
            tmp_path / "runner",
            core.grpc_port,
            provider=provider,
            token=token,
            beat_s=0.05,
            capabilities=[OFFER],
        ) as ends:
            await seen(lambda: core.api("GET", "/capabilities").json["items"], "the Runner's offer")
            job_id = await asyncio.to_thread(submit, core)
            await provider.called(1)
            await seen(lambda: core.api("GET", f"/jobs/{job_id}").json["state"] == "running", "the job running")

            assert core.process is not None
            core.process.kill()
            await asyncio.to_thread(core.process.wait)
            await lost(ends)
            for number in range(3):
                ends.executor.log(JobLog(job_id, LogLevel.INFO, f"line {number}", 1_800_000_000_000, "plugin"))
            provider.gate.set()
            await seen(lambda: ends.outbox.stats.messages >= 5, "three lines, the result and a beat in the outbox")

            await asyncio.to_thread(core.start)
            job = await ask(core, f"/jobs/{job_id}?wait=30")
            logs = await ask(core, f"/jobs/{job_id}/logs")
            events = await ask(core, "/runners/runner-1/events")
    finally:
        await asyncio.to_thread(core.stop)

    assert (job["state"], job["output"], job["attempt"]) == ("succeeded", {"done": True}, 1)
    assert provider.effects == {job_id: 1}
    assert [line["text"] for line in logs["items"]] == ["line 0", "line 1", "line 2"]
    offline = [event["data"] for event in events["items"] if event["kind"] == "was_offline"]
    assert offline, "Core learns of the time without contact"
    assert all(one["offline_ms"] == one["beats"] * 50 for one in offline)
