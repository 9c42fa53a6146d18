"""The sidecar server over real sockets: order of checks, JSON on every answer, channel routes, configuration."""

import asyncio
import json
import secrets
import time
import zlib

import pytest
from pydantic import BaseModel, Field

from aisops_plugin_sdk import (
    Config,
    Context,
    Delivery,
    InvalidRequest,
    Plugin,
    Secret,
    Transient,
    Unauthorized,
    contracts,
    signing,
)
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.testing import PluginTest

pytestmark = pytest.mark.integration


class Cfg(Config):
    token: Secret = Field(alias="ACME_TOKEN")


class Send(BaseModel):
    to: str = Field(min_length=1)
    text: str
    parts: list[str] = []


def build(**options):
    """A channel plugin that notes what it was sent."""
    plugin = Plugin("acme", version="2.0", config=Cfg, **options)

    @plugin.capability("acme.send", channel=True, target_field="to")
    async def send(ctx: Context[Cfg], message: Send) -> Delivery:
        ctx.state.sent = [*getattr(ctx.state, "sent", []), message]
        return Delivery(provider="acme", message_id="m-1")

    return plugin


ENV = {"ACME_TOKEN": "hunter22hunter22"}


@pytest.fixture
async def acme(plugin_test):
    return await plugin_test(build(), env=ENV)


async def raw(port, data):
    """Send bytes and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_probe_health_and_readiness_need_no_signature(acme):
    probe = await acme.post("/probe", signed=False)
    contracts.validate(probe.document, "probe-v1")
    assert probe.document["capabilities"] == ["acme.send"]
    assert probe.document["version"] == "2.0"
    assert (await acme.get("/healthz", signed=False)).document["status"] == "healthy"
    assert (await acme.get("/readyz", signed=False)).document["status"] == "ready"


async def test_describe_is_the_manifest(acme):
    answer = await acme.get("/describe")
    assert Manifest.parse(answer.result) == acme.plugin.manifest()
    assert b"hunter22" not in answer.body


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/describe"),
        ("POST", "/v1/invoke/acme.send"),
        ("POST", "/v1/cancel/j"),
        ("POST", "/v1/shutdown"),
        ("GET", "/v1/config/check"),
        ("POST", "/send"),
    ],
)
async def test_the_rest_needs_one(acme, method, target):
    unsigned = await acme.client.request(method, target, b"{}" if method == "POST" else b"", signed=False)
    assert (unsigned.status, unsigned.code, unsigned.error) == (401, "unauthorized", "unauthorized")
    contracts.validate(unsigned.document, "error-v1")
    late = await acme.client.request(method, target, b"", now=time.time() - 301)
    assert late.status == 401
    assert not acme.shutdown_requested.is_set()


async def test_without_a_token_signed_routes_answer_503_and_probe_works(plugin_test):
    sidecar = await plugin_test(build(), env=ENV, token="")
    answer = await sidecar.send({"target": "#ops", "text": "x"})
    assert (answer.status, answer.code) == (503, "auth_not_configured")
    assert (await sidecar.post("/probe", signed=False)).ok


async def test_a_replayed_nonce_answers_409(acme):
    sent = signing.headers(acme.token, now=time.time(), method="GET", raw_target="/describe", body=b"", nonce="n")
    assert (await acme.get("/describe", headers=sent)).status == 200
    replayed = await acme.get("/describe", headers=sent)
    assert (replayed.status, replayed.code) == (409, "replayed")


async def test_the_raw_target_is_verified(acme):
    assert (await acme.get("/describe?a=%20%2F&b=1?c=2")).status == 200
    assert (await acme.post("/v1/invoke/acme%2Esend", {"to": "x", "text": "y"})).status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"target":', 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b"[]", 400, "invalid_request"),
        (b'"text"', 400, "invalid_request"),
        (b'{"text":"x"}', 400, "invalid_request"),
        (b'{"target":"","text":"x"}', 400, "invalid_request"),
        (b'{"target":5,"text":"x"}', 400, "invalid_request"),
        (b'{"target":"a","text":"x","extra":1}', 400, "invalid_request"),
        (b'{"target":"a","text":"x","text":"y"}', 400, "invalid_json"),
        (b'{"target":"a","text":"\\ud800"}', 400, "invalid_json"),
        (b'{"target":"a","text":"x","parts":[NaN]}', 400, "invalid_json"),
        (b"[" * 10_000 + b"]" * 10_000, 400, "invalid_json"),
        (b'{"target":"a","text":"' + b"x" * 70_000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_bad_bodies_are_refused_in_json_and_nothing_is_called(acme, body, status, code):
    for target in ("/send", "/v1/invoke/acme.send"):
        answer = await acme.post(target, body)
        assert (answer.status, answer.code) == (status, code)
        contracts.validate(answer.document, "error-v1")
    assert not hasattr(acme.state, "sent")


async def test_details_point_into_the_input_and_repeat_no_value(acme):
    answer = await acme.post("/v1/invoke/acme.send", {"to": "a", "text": "t", "parts": ["ok", 5], "a/b": "quoted"})
    assert {item["path"] for item in answer.details} == {"/parts/1", "/a~1b"}
    assert b"quoted" not in answer.body


async def test_a_plugin_may_take_larger_bodies(plugin_test):
    sidecar = await plugin_test(build(body_limit_bytes=200_000), env=ENV)
    assert (await sidecar.send({"target": "a", "text": "x" * 100_000})).ok
    assert (await sidecar.send({"target": "a", "text": "x" * 200_000})).status == 413


async def test_a_chunked_body_over_the_limit_is_refused(acme):
    async def chunks():
        for _ in range(20):
            yield b"x" * 8192

    async with acme.client._session.post(f"http://127.0.0.1:{acme.port}/send", data=chunks()) as response:
        assert response.status == 413
        assert (await response.json())["code"] == "body_too_large"


async def test_a_body_that_is_not_framed_right_is_refused(acme):
    head = b"POST /send HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw(acme.port, head + b"zz\r\nxx\r\n")
    contracts.validate(json.loads(answer.partition(b"\r\n\r\n")[2]), "error-v1")
    assert answer.split()[1] == b"400"


async def test_compressed_bodies_are_refused(acme):
    body = zlib.compress(b'{"target":"a","text":"x"}')
    answer = await acme.post("/send", body, headers={"Content-Encoding": "deflate"})
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


async def test_unknown_paths_methods_and_capabilities(acme):
    assert (await acme.get("/nope", signed=False)).status == 404
    method = await acme.get("/send")
    assert (method.status, method.code, method.headers["Allow"]) == (405, "method_not_allowed", "POST")
    unknown = await acme.post("/v1/invoke/acme.nope", {})
    assert (unknown.status, unknown.code) == (404, "unsupported_capability")
    assert "acme.send" in unknown.error
    assert (await acme.post("/kakao/alimtalk/send", {})).status == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost:1", 200),
        (b"127.0.0.1", 200),
        (b"[::1]:80", 200),
        (b"evil.example", 421),
        (b"127.0.0.1.evil.example", 421),
        (b"localhost@evil.example", 421),
        (b"10.0.0.1", 421),
        (b"", 421),
    ],
)
async def test_only_loopback_host_names_are_served(acme, host, status):
    answer = await raw(acme.port, b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["ok"] is (status == 200)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_get_json_too(acme, data):
    answer = await raw(acme.port, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1].startswith(b"4")
    contracts.validate(json.loads(body), "error-v1")
    assert b"Traceback" not in answer


async def test_send_takes_the_common_body_and_its_own(acme):
    for body in ({"target": "#ops", "text": "hi"}, {"to": "#ops", "text": "hi"}):
        answer = await acme.send(body)
        contracts.validate(answer.document, "invoke-result-v1")
        assert answer.document["status"] == "accepted"
        assert answer.document["message_id"] == answer.result["message_id"] == "m-1"
    assert [message.to for message in acme.state.sent] == ["#ops", "#ops"]


async def test_both_spellings_of_a_capability_work(acme):
    for name in ("acme.send", "send.acme"):
        answer = await acme.invoke(name, {"to": "a", "text": "b"})
        assert answer.document.keys() == {"ok", "result"}


async def test_an_authors_mapping_sees_every_body_of_send(plugin_test):
    plugin = Plugin("acme")

    def accept(body):
        if "boom" in body:
            raise KeyError("secret")
        if "refuse" in body:
            raise InvalidRequest("no such template", code="unknown_template")
        if "model" in body:
            return Send(to="from-model", text="x")
        if "wrong" in body:
            return Send.model_validate({})
        if "unwritable" in body:
            return {"to": {1, 2}, "text": "x"}
        if "odd" in body:
            return 5
        return {"to": body["target"].lower(), "text": body["text"]}

    @plugin.capability("acme.send", channel=True, accept=accept)
    async def send(ctx: Context, message: Send) -> Delivery:
        return Delivery(provider="acme", message_id=message.to)

    sidecar = await plugin_test(plugin)
    assert (await sidecar.send({"target": "OPS", "text": "x"})).result["message_id"] == "ops"
    assert (await sidecar.send({"model": 1})).result["message_id"] == "from-model"
    assert (await sidecar.send({"refuse": 1})).code == "unknown_template"
    assert (await sidecar.send({"wrong": 1})).status == 400
    assert (await sidecar.send({"target": "OPS", "text": 5})).status == 400
    boom = await sidecar.send({"boom": 1})
    assert (boom.status, boom.code, boom.error, boom.ambiguous) == (500, "runtime_error", "KeyError", False)
    assert (await sidecar.send({"unwritable": 1})).code == "runtime_error"
    assert (await sidecar.send({"odd": 1})).code == "invalid_plugin"


async def test_the_alimtalk_route_is_an_alias(plugin_test):
    plugin = Plugin("kakao")

    @plugin.capability("kakao.alimtalk.send", effect="idempotent")
    async def send(ctx: Context, message: Send) -> Delivery:
        return Delivery(provider="kakao", message_id="k")

    sidecar = await plugin_test(plugin)
    answer = await sidecar.post("/kakao/alimtalk/send", {"to": "a", "text": "b"})
    assert (answer.status, answer.document["message_id"]) == (200, "k")
    assert (await sidecar.send({"target": "a", "text": "b"})).code == "unsupported_capability"


async def test_delay_ms_delays_only_in_dry_run(plugin_test):
    body = {"target": "a", "text": "b"}
    dry = await plugin_test(build(), env=ENV, dry_run=True)
    wet = await plugin_test(build(), env=ENV)
    started = time.monotonic()
    assert (await wet.post("/send?delay_ms=60000", body)).ok
    assert time.monotonic() - started < 10
    started = time.monotonic()
    assert (await dry.post("/send?x=1&delay_ms=120", body)).ok
    assert time.monotonic() - started >= 0.12


async def test_missing_configuration_is_named_and_probe_still_works(plugin_test):
    sidecar = await plugin_test(build())
    for answer in (
        await sidecar.invoke("acme.send", {"to": "a", "text": "b"}),
        await sidecar.send({"target": "a", "text": "b"}),
        await sidecar.get("/readyz", signed=False),
        await sidecar.get("/v1/config/check"),
    ):
        assert (answer.status, answer.code) == (503, "not_configured")
        assert answer.details == [{"path": "ACME_TOKEN", "message": "is not set"}]
    assert (await sidecar.post("/probe", signed=False)).ok
    assert (await sidecar.get("/healthz", signed=False)).document["status"] == "degraded"
    assert (await sidecar.get("/describe")).ok


async def test_readiness_tells_the_state_of_on_start(plugin_test):
    plugin, opened = build(), asyncio.Event()

    @plugin.on_start
    async def start(ctx: Context) -> None:
        await opened.wait()

    sidecar = await plugin_test(plugin, env=ENV, wait=False)
    starting = await sidecar.get("/readyz", signed=False)
    assert (starting.status, starting.code, starting.retryable) == (503, "starting", True)
    early = asyncio.create_task(sidecar.invoke("acme.send", {"to": "a", "text": "b"}))
    assert not early.done()
    opened.set()
    assert (await early).ok, "a call that comes before on_start has ended waits for it"
    assert (await sidecar.get("/readyz", signed=False)).ok


@pytest.mark.parametrize(
    ("raised", "code"),
    [(RuntimeError("hunter22hunter22"), "on_start_failed"), (Unauthorized("no"), "credentials_refused")],
)
async def test_a_failed_on_start_is_told_and_does_not_end_the_process(plugin_test, raised, code):
    plugin = build()

    @plugin.on_start
    def start(ctx: Context) -> None:
        raise raised

    sidecar = await plugin_test(plugin, env=ENV)
    ready = await sidecar.get("/readyz", signed=False)
    assert (ready.status, ready.code) == (503, code)
    answer = await sidecar.invoke("acme.send", {"to": "a", "text": "b"})
    assert (answer.code, answer.ambiguous) == (code, False)
    assert b"hunter22" not in ready.body + answer.body


async def test_the_connection_test_runs_when_asked_and_is_shown(plugin_test):
    plugin, outcome = build(), [Transient("unreachable hunter22hunter22"), None]

    @plugin.check
    async def check(ctx: Context) -> None:
        if (error := outcome.pop(0)) is not None:
            raise error

    sidecar = await plugin_test(plugin, env=ENV)
    failed = await sidecar.get("/v1/config/check")
    assert (failed.status, failed.code, failed.error) == (503, "transient", "unreachable ***")
    assert (await sidecar.get("/readyz", signed=False)).document["check"]["code"] == "transient"
    assert (await sidecar.get("/v1/config/check")).result == {"configured": True, "checked": True}
    assert (await sidecar.get("/readyz", signed=False)).document["check"]["ok"] is True


async def test_on_stop_runs_after_on_start():
    plugin, seen = build(), []
    plugin.on_start(lambda ctx: seen.append("start"))
    plugin.on_stop(lambda ctx: seen.append("stop"))
    async with PluginTest(plugin, env=ENV):
        assert seen == ["start"]
    assert seen == ["start", "stop"]


async def test_random_bytes_never_get_anything_but_json(acme):
    for _ in range(50):
        answer = await acme.post("/send", secrets.token_bytes(200))
        assert answer.status == 400
        contracts.validate(answer.document, "error-v1")
