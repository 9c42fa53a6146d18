"""An approval on its way from Slack to Core: stored before it is acknowledged, once though sent twice, never lost."""

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from aisops_plugin_sdk.testing import SidecarProcess
from aisops_protocol.messages import Event
from aisops_runner.app import build
from aisops_runner.config import RunnerConfig
from aisops_runner.outbox.queue import Pressure
from tests.integration.runner_host.conftest import CLEAN_ENV
from tests.support.core_end import CoreEnd, core_end

pytestmark = pytest.mark.integration
SECRET = "slack-signing-secret-1"
ENV = {"SLACK_BOT_TOKEN": "xoxb-token-1", "SLACK_SIGNING_SECRET": SECRET}


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def press(number: int = 1) -> bytes:
    action = {"action_id": "approve", "value": json.dumps({"executionId": f"ex{number}", "stepId": "s1"})}
    return urlencode({"payload": json.dumps({"user": {"id": "U1"}, "actions": [action]})}).encode()


async def send(
    port: int, path: str, body: bytes, *, secret: str = SECRET, method: str = "POST"
) -> tuple[int, str, dict]:
    """Send what Slack would send, and give status, text and headers."""
    timestamp = str(int(time.time()))
    signed = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={signed}", "Host": "hooks.acme.test"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text(), dict(answer.headers)


def approvals(core: CoreEnd) -> list[dict]:
    return [json.loads(one.data) for one in core.of(Event) if one.kind == "slack.approval_resolved"]


@asynccontextmanager
async def running(data: Path, core: CoreEnd, port: int) -> AsyncIterator[object]:
    """A Runner with the Slack plugin, reachable for Slack at a port of this machine."""
    plugins = {name: {"enabled": False} for name in ("email", "telegram", "kakao")}
    plugins["slack"] = {"env": ENV, "inbound": f"127.0.0.1:{port}"}
    config = RunnerConfig(core_endpoint=f"http://127.0.0.1:{core.port}", data_dir=data, plugins=plugins)
    runner = build(config, env=CLEAN_ENV)
    task = asyncio.create_task(runner.run(signals=False))
    try:
        await until_open(port)
        yield runner
    finally:
        runner.stop()
        await asyncio.gather(task, return_exceptions=True)


async def until_open(port: int) -> None:
    """Wait until the handshake is answered and the Runner asks for events."""
    async with asyncio.timeout(60):
        while True:
            try:
                status, _, _ = await send(port, "/slack/events", b'{"type":"url_verification","challenge":"c"}')
                if status == 200:
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def send_until(port: int, body: bytes, wanted: int) -> tuple[int, str, dict]:
    """Send as Slack's proxy would: again, while we say that nobody is there yet."""
    async with asyncio.timeout(60):
        while True:
            answer = await send(port, "/slack/interactive", body)
            if answer[0] == wanted:
                return answer
            assert answer[0] == 503, answer
            await asyncio.sleep(0.05)


async def test_an_approval_reaches_core_once_and_the_handshake_is_answered(tmp_path: Path) -> None:
    port = free_port()
    async with core_end() as core, running(tmp_path, core, port):
        status, text, _ = await send(port, "/slack/events", b'{"type":"url_verification","challenge":"c-1"}')
        assert (status, json.loads(text)) == (200, {"challenge": "c-1"})
        status, text, _ = await send_until(port, press(), 200)
        assert text == ""
        assert (await send(port, "/slack/interactive", press()))[0] == 200
        assert (await send(port, "/slack/interactive", press(2)))[0] == 200
        await core.until(lambda: len(approvals(core)) >= 2, 60)
    told = [one["facts"]["execution_id"] for one in approvals(core)]
    assert told == ["ex1", "ex2"]
    assert approvals(core)[0]["plugin"] == "slack"
    assert approvals(core)[0]["facts"]["actor_ref"] == "slack:U1"


async def test_what_was_acknowledged_survives_an_abrupt_end_and_comes_once(tmp_path: Path) -> None:
    port = free_port()
    async with core_end(acknowledging=False) as core:
        async with running(tmp_path, core, port) as runner:
            await send_until(port, press(), 200)
            core.cut()
            runner.stop()
            await asyncio.sleep(0)
            runner.stop()
        core.acknowledging = True
        core.ledger.clear()
        core.marks.clear()
        async with running(tmp_path, core, port):
            await core.until(lambda: bool(approvals(core)), 60)
            assert (await send_until(port, press(), 200))[1] == ""
            await send_until(port, press(3), 200)
            await core.until(lambda: len(approvals(core)) >= 2, 60)
    assert [one["facts"]["execution_id"] for one in approvals(core)] == ["ex1", "ex3"]


@pytest.mark.parametrize(
    ("path", "body", "secret", "method", "status", "text"),
    [
        ("/slack/interactive", press(), "wrong", "POST", 401, "unauthorized"),
        ("/slack/events", b"{}", "wrong", "POST", 401, "unauthorized"),
        ("/slack/interactive", b"payload=", SECRET, "POST", 400, "missing payload"),
        ("/slack/interactive", b"payload=%7B", SECRET, "POST", 400, "invalid payload"),
        ("/slack/interactive", b"x" * 70_000, SECRET, "POST", 413, ""),
        ("/slack/interactive", b"", SECRET, "GET", 405, ""),
        ("/probe", b"{}", SECRET, "POST", 404, "no such path"),
        ("/v1/inbound", b"{}", SECRET, "POST", 404, "no such path"),
        ("/healthz", b"", SECRET, "GET", 404, "no such path"),
    ],
)
async def test_the_listener_serves_webhooks_and_nothing_else(path, body, secret, method, status, text) -> None:
    port = free_port()
    async with SidecarProcess("slack", env=ENV | {"AISOPS_INBOUND": f"127.0.0.1:{port}"}):
        answer = await send(port, path, body, secret=secret, method=method)
    assert answer[0] == status
    assert text in answer[1]
    assert answer[2]["Content-Type"].startswith("text/plain")
    assert SECRET not in str(answer)


async def test_with_no_runner_the_provider_is_told_to_come_again() -> None:
    async with SidecarProcess("slack", env=ENV) as process:
        status, text, headers = await send(process.ready["port"], "/slack/interactive", press())
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "send it again" in text


async def test_with_no_room_the_provider_is_told_to_come_again(tmp_path: Path, monkeypatch) -> None:
    from aisops_runner.outbox.outbox import Outbox

    port = free_port()
    async with core_end() as core, running(tmp_path, core, port):
        await send_until(port, press(), 200)
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, "pressure", lambda _self: Pressure.NO_NEW_JOBS)
            status, _, headers = await send(port, "/slack/interactive", press(2))
            assert (status, headers["Retry-After"]) == (503, "5")
        await send_until(port, press(2), 200)
        await core.until(lambda: len(approvals(core)) == 2, 60)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:0", "127.0.0.1:99999", ":80"])
async def test_an_address_that_cannot_be_listened_at_is_named(address: str) -> None:
    from aisops_plugin_sdk.testing import SidecarFailed

    with pytest.raises(SidecarFailed, match="AISOPS_INBOUND"):
        async with SidecarProcess("slack", env=ENV | {"AISOPS_INBOUND": address}):
            pass


def test_listening_for_everybody_needs_the_operators_word() -> None:
    from pydantic import ValidationError

    from aisops_runner.config import PluginConfig

    with pytest.raises(ValidationError, match="inbound_anywhere"):
        PluginConfig(inbound="0.0.0.0:9000")
    assert PluginConfig(inbound="0.0.0.0:9000", inbound_anywhere=True).inbound == "0.0.0.0:9000"
    for near in ("127.0.0.1:9000", "localhost:9000", "[::1]:9000", ""):
        assert PluginConfig(inbound=near).inbound == near


async def test_a_signed_question_is_needed_to_take_events() -> None:
    async with SidecarProcess("slack", env=ENV) as process:
        unsigned = await process.client.post("/v1/inbound", {"stored": [], "refused": []}, signed=False)
        wrong = await process.client.post("/v1/inbound", {"stored": "all"})
        asking = asyncio.create_task(process.client.post("/v1/inbound", {"stored": [], "refused": []}))
        pressing = asyncio.create_task(send_until(process.ready["port"], press(), 200))
        (event,) = (await asking).result["events"]
        assert (event["kind"], event["facts"]["decision"]) == ("slack.approval_resolved", "approved")
        assert not pressing.done()
        stored = asyncio.create_task(process.client.post("/v1/inbound", {"stored": [event["id"]], "refused": []}))
        assert (await pressing)[0] == 200
        await process.client.post("/v1/shutdown")
        await asyncio.gather(stored, return_exceptions=True)
    assert (unsigned.status, wrong.status, wrong.code) == (401, 400, "invalid_request")
