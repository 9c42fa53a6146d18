"""Our sidecars serve clients written for the original: a client of another make, against the real process.

The client signs by itself, from the public description of the algorithm, and is the standard library's: nothing of the
SDK is on its side.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.program import free_port
from tests.support.installed_plugins import install

pytestmark = pytest.mark.integration
TOKEN = "shared-token-of-the-original"
PLUGIN = '''
from pydantic import BaseModel, Field
from aisops_plugin_sdk import Context, Plugin

class Send(BaseModel):
    target: str = Field(min_length=1, max_length=128)
    text: str = Field(min_length=1, max_length=4000)

class Sent(BaseModel):
    message_id: str

plugin = Plugin("acme", version="2.0")

@plugin.capability("acme.send", channel=True, effect="at_most_once")
async def send(ctx: Context, message: Send) -> Sent:
    """Send."""
    return Sent(message_id=message.text)
'''


class Client:
    """Speaks as the original's Runner does: one literal port, no nonce, no header of ours."""

    def __init__(self, port: int) -> None:
        self.port = port

    def sign(self, method: str, target: str, body: bytes, *, at: int = 0, token: str = TOKEN) -> dict[str, str]:
        stamp = str(at or int(time.time()))
        path, *rest = target.split("?")
        query = f"?{rest[0]}" if rest and rest[0] else ""
        message = "\n".join((stamp, method, path or "/", query, "")).encode() + body
        digest = base64.b64encode(hmac.new(token.encode(), message, hashlib.sha256).digest()).decode()
        return {"X-Internal-Auth": token, "X-Internal-Timestamp": stamp, "X-Internal-Signature": f"sha256={digest}"}

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.headers.get_content_type() == "application/json", content
            return answer.status, json.loads(content)
        finally:
            connection.close()

    def send(self, body: object, target: str = "/send", **options: Any) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", target, raw, self.sign("POST", target, raw, **options))


def started(folder: Path, **more: str) -> Iterator[Client]:
    """The sidecar, started as the original starts one: by a literal port and the shared token, without a lifeline."""
    if not (folder / "acme.py").exists():
        install(folder, "acme", PLUGIN)
    client = Client(free_port())
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "aisops_plugin_sdk", "serve", "acme"],
        env=env | {"PYTHONPATH": str(folder), "PORT": str(client.port), **more},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                client.ask("POST", "/probe", b"{}")
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
        yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    yield from started(tmp_path_factory.mktemp("original"), INTERNAL_AUTH_TOKEN=TOKEN)


@pytest.fixture
def untold(tmp_path: Path) -> Iterator[Client]:
    yield from started(tmp_path)


@pytest.fixture
def dry(tmp_path: Path) -> Iterator[Client]:
    yield from started(
        tmp_path, AISOPSFLOW_INTERNAL_AUTH_TOKEN=TOKEN, INTERNAL_AUTH_TOKEN="another", AISOPS_DRY_RUN="1"
    )


GOOD = {"target": "#ops", "text": "deployment failed"}


def test_probe_and_health_need_no_signature(client: Client) -> None:
    status, probe = client.ask("POST", "/probe", b"{}")
    assert (status, probe["ok"], probe["name"], probe["capabilities"]) == (200, True, "acme", ["acme.send"])
    assert client.ask("GET", "/healthz")[1]["status"] in ("healthy", "degraded")


def test_a_signed_send_is_done(client: Client) -> None:
    status, answer = client.send(GOOD)
    assert (status, answer["ok"], answer["message_id"]) == (200, True, "deployment failed")


def test_unsigned_wrongly_signed_and_stale_calls_are_unauthorized(client: Client) -> None:
    body = json.dumps(GOOD).encode()
    wrong = client.sign("POST", "/send", body) | {"X-Internal-Signature": "sha256=AAAA"}
    other = client.sign("POST", "/send", b"{}")
    now = int(time.time())
    answers = [
        client.ask("POST", "/send", body),
        client.ask("POST", "/send", body, wrong),
        client.ask("POST", "/send", body, other),
        client.send(GOOD, token="of-somebody-else"),
        client.send(GOOD, at=now - 310),
        client.send(GOOD, at=now + 310),
    ]
    assert [(status, answer["ok"], answer["error"]) for status, answer in answers] == [(401, False, "unauthorized")] * 6
    assert client.send(GOOD, at=now - 290)[0] == 200


def test_the_same_call_may_come_twice_without_a_nonce(client: Client) -> None:
    """The original has no protection against replays, and its clients repeat within a second."""
    body = json.dumps(GOOD).encode()
    headers = client.sign("POST", "/send", body)
    assert [client.ask("POST", "/send", body, headers)[0] for _ in range(2)] == [200, 200]


def test_a_body_that_cannot_be_used_is_a_400_in_json(client: Client) -> None:
    for body in (b'{"target":', {"text": "x"}, {"target": 5, "text": "x"}, [1]):
        status, answer = client.send(body)
        assert (status, answer["ok"]) == (400, False)
        assert isinstance(answer["error"], str)


def test_a_body_over_the_limit_is_a_413_in_json(client: Client) -> None:
    status, answer = client.send({"target": "#ops", "text": "x" * 70_000})
    assert (status, answer["ok"]) == (413, False)


@pytest.mark.parametrize(
    "target", ["/send?a=b", "/send?", "/send?a=1?b=2", "/send?text=%ED%95%9C", "/send?delay_ms=60000"]
)
def test_a_query_is_part_of_the_signature_and_only_a_dry_run_waits(client: Client, target: str) -> None:
    assert client.send(GOOD, target)[0] == 200
    body = json.dumps(GOOD).encode()
    assert client.ask("POST", "/send?x=y", body, client.sign("POST", target, body))[0] == 401


def test_text_in_any_script_verifies_as_sent(client: Client) -> None:
    raw = json.dumps({"target": "#ops", "text": "한글 알림 🚨"}, ensure_ascii=False).encode()
    assert client.send(raw)[0] == 200


def test_unknown_routes_and_methods_are_json_too(client: Client) -> None:
    for method, target, status in (("POST", "/nothing", 404), ("GET", "/send", 405), ("PUT", "/probe", 405)):
        headers = client.sign(method, target, b"")
        assert client.ask(method, target, b"", headers)[0] == status


def test_without_a_token_it_says_that_it_is_not_configured(untold: Client) -> None:
    status, answer = untold.send(GOOD)
    assert (status, answer["ok"], answer["error"]) == (503, False, "internal auth is not configured")
    assert untold.ask("POST", "/probe", b"{}")[0] == 200


def test_the_first_name_of_the_token_wins_and_a_dry_run_waits(dry: Client) -> None:
    began = time.monotonic()
    status, answer = dry.send(GOOD, "/send?delay_ms=300")
    assert (status, answer["ok"]) == (200, True)
    assert time.monotonic() - began >= 0.3
