"""Events of a plugin on their way: from `ctx.emit` in a real sidecar, through a real Runner's outbox, to Core."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from aisops_protocol.messages import EffectClass, Event, Job, JobResult, ResultStatus
from aisops_runner.app import build
from aisops_runner.config import RunnerConfig
from aisops_runner.sidecars.settings import DefaultSettings
from tests.integration.runner_host.conftest import CLEAN_ENV, Bench, until
from tests.support.core_end import core_end
from tests.support.installed_plugins import install

pytestmark = pytest.mark.integration

TELLS = '''
import json, os, sys
from pydantic import BaseModel, Field
from aisops_plugin_sdk import Config, Context, Plugin, Secret

class Cfg(Config):
    token: Secret = Field(alias="TELLS_TOKEN")

class In(BaseModel):
    count: int = 1
    noise: int = 0
    facts: dict = {}

class Out(BaseModel):
    sent: int

plugin = Plugin("tells", version="1.0", config=Cfg)

@plugin.on_start
async def start(ctx: Context[Cfg]) -> None:
    ctx.emit("tells.started")

@plugin.capability("tells.seen", effect="idempotent", timeout_s=20)
async def seen(ctx: Context[Cfg], given: In) -> Out:
    """Emit events among a flood of lines."""
    for n in range(given.noise):
        ctx.logger.info("noise", n=n)
    facts = given.facts | {"token": ctx.config.token.reveal()}
    return Out(sent=sum(ctx.emit("tells.seen", facts | {"n": n}) for n in range(given.count)))

@plugin.capability("tells.lies", effect="idempotent", timeout_s=20)
async def lies(ctx: Context[Cfg], given: In) -> Out:
    """Write event lines that are none of this plugin's, past the SDK."""
    output = ctx._emitter.__self__._carry._output
    big = {"x": "y" * 17_000}
    others = (("sidecar.quarantined", {}), ("slack.approved", {}), ("tells.seen", []), ("tells.big", big))
    for kind, facts in others:
        output.line({"event": 1, "kind": kind, "time_ms": 0, "facts": facts})
    output.line({"event": 1, "kind": "tells.true", "time_ms": -1, "job_id": 7, "facts": {"still": "here"}})
    return Out(sent=0)
'''


def job(name: str, capability: str, body: dict) -> Job:
    raw = json.dumps(body).encode()
    return Job(
        name, name.encode().ljust(16, b"."), 1, capability, raw, hashlib.sha256(raw).digest(), name,
        EffectClass.IDEMPOTENT, 20_000,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    install(folder, "tells", TELLS)
    return folder


def runner_of(site: Path, data: Path, port: int):
    plugins = {name: {"enabled": False} for name in ("slack", "email", "telegram", "kakao")}
    config = RunnerConfig(core_endpoint=f"http://127.0.0.1:{port}", data_dir=data, plugins=plugins)
    return build(config, env=CLEAN_ENV | {"PYTHONPATH": str(site), "TELLS_TOKEN": "tells-secret-1"})


async def test_events_reach_core_among_a_flood_and_without_secrets(tmp_path: Path, site: Path) -> None:
    async with core_end() as core:
        runner = runner_of(site, tmp_path / "data", core.port)
        running = asyncio.create_task(runner.run(signals=False))
        core.dispatch(job("j1", "tells.seen", {"count": 40, "noise": 5000, "facts": {"text": "한글"}}))
        await core.until(lambda: len([one for one in core.of(Event) if one.kind.startswith("tells.")]) == 41, 60)
        runner.stop()
        await running
    (result,) = core.of(JobResult)
    assert result.status is ResultStatus.SUCCEEDED
    events = [one for one in core.of(Event) if one.kind == "tells.seen"]
    told = [json.loads(one.data) for one in events]
    assert [one["facts"]["n"] for one in told] == list(range(40))
    assert told[0] == {"plugin": "tells", "job_id": "j1", "facts": {"text": "한글", "token": "***", "n": 0}}


async def test_events_stored_while_core_is_away_reach_it_after_a_restart(tmp_path: Path, site: Path) -> None:
    async with core_end(acknowledging=False) as core:
        runner = runner_of(site, tmp_path / "data", core.port)
        running = asyncio.create_task(runner.run(signals=False))
        core.dispatch(job("j1", "tells.seen", {"count": 3}))
        await core.until(lambda: bool(core.of(JobResult)), 60)
        core.cut()
        runner.stop()
        await asyncio.sleep(0)
        runner.stop()
        with pytest.raises(Exception, match="stopped at once"):
            await running
        core.acknowledging = True
        core.ledger.clear()
        core.marks.clear()
        again = runner_of(site, tmp_path / "data", core.port)
        running = asyncio.create_task(again.run(signals=False))
        await core.until(lambda: len([one for one in core.of(Event) if one.kind == "tells.seen"]) >= 3, 60)
        again.stop()
        await running


async def test_what_is_no_event_of_the_plugin_is_dropped_and_told(bench: Bench) -> None:
    install(bench.site, "tells", TELLS)
    bench.settings["tells"] = DefaultSettings(env={"TELLS_TOKEN": "tells-secret-1"})
    await bench.start("tells")
    assert (await bench.invoke("tells.lies")).ok
    await until(lambda: any(kind == "tells.true" for kind, _ in bench.plugin_events))
    assert [(kind, data["facts"]) for kind, data in bench.plugin_events if kind != "tells.started"] == [
        ("tells.true", {"still": "here"})
    ]
    complaints = [log.text for log in bench.logs if "dropped" in log.text]
    assert len(complaints) == 4, complaints
