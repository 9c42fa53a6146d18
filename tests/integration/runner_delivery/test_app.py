"""The whole Runner, composed as in production but for its processes' signals: start, work, answer, stop in order."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from aisops_protocol.messages import EffectClass, Job, JobReject, JobResult, RejectReason, ResultStatus
from aisops_runner.app import build
from aisops_runner.config import RunnerConfig
from aisops_runner.control.client import ask
from aisops_runner.errors import ConfigInvalid, DataDirUnusable, RunnerError
from tests.support.core_end import CoreEnd, core_end

pytestmark = pytest.mark.integration


def config(directory: Path, core: CoreEnd, **fields) -> RunnerConfig:
    return RunnerConfig(core_endpoint=f"http://127.0.0.1:{core.port}", data_dir=directory, **fields)


def job(name: str, capability: str = "http.request", body: object = None) -> Job:
    raw = json.dumps(body or {"method": "GET", "url": "http://127.0.0.1:1/"}).encode()
    return Job(
        name, name.encode().ljust(16, b"."), 1, capability, raw, hashlib.sha256(raw).digest(), name,
        EffectClass.AT_MOST_ONCE, 10_000,
    )  # fmt: skip


async def test_a_runner_starts_works_answers_and_stops_in_order(tmp_path: Path):
    async with core_end() as core:
        runner = build(config(tmp_path / "data", core, token="aisops_runner_x_secretsecret"), env={})
        running = asyncio.create_task(runner.run(signals=False))
        core.dispatch(job("j1"), job("j2", "no.such"))
        await core.until(lambda: bool(core.of(JobResult) and core.of(JobReject)), timeout_s=60)

        (result,), (reject,) = core.of(JobResult), core.of(JobReject)
        assert (result.status, result.error.code) == (ResultStatus.FAILED, "policy_denied")
        assert reject.reason is RejectReason.UNKNOWN_CAPABILITY
        assert "http.request" in {one.name for one in core.hellos[0].capabilities}
        assert core.metadata[0]["authorization"] == "Bearer aisops_runner_x_secretsecret"

        status = await asyncio.to_thread(ask, tmp_path / "data", "status")
        assert (status["runner_id"], status["core"]["state"]) == ("runner-1", "connected")
        assert {"outbox", "jobs", "plugins", "tenant_id"} <= set(status)
        assert "secretsecret" not in json.dumps(status)

        runner.stop()
        async with asyncio.timeout(30):
            await running
        await core.until(lambda: len(core.goodbyes) == 1)


async def test_a_second_runner_on_the_same_data_is_refused(tmp_path: Path):
    async with core_end() as core:
        first = build(config(tmp_path, core), env={})
        running = asyncio.create_task(first.run(signals=False))
        await core.until(lambda: bool(core.hellos), timeout_s=60)

        with pytest.raises(DataDirUnusable):
            await build(config(tmp_path, core), env={}).run(signals=False)
        first.stop()
        await running


async def test_a_second_stop_does_not_wait(tmp_path: Path):
    async with core_end(acknowledging=False) as core:
        runner = build(config(tmp_path, core), env={})
        running = asyncio.create_task(runner.run(signals=False))
        core.dispatch(job("j1"))
        await core.until(lambda: bool(core.of(JobResult)), timeout_s=60)

        runner.stop()
        await asyncio.sleep(0)
        runner.stop()
        with pytest.raises(RunnerError) as halted:
            async with asyncio.timeout(9):
                await running
        assert halted.value.code == "halted"


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    async with core_end() as core:
        with pytest.raises(ConfigInvalid, match="tls_ca"):
            build(config(tmp_path, core, tls_ca=tmp_path / "none.pem"), env={})
        with pytest.raises(ConfigInvalid, match="token_file"):
            build(config(tmp_path, core, token_file=tmp_path / "none"), env={})
