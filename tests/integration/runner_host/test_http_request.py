"""http.request against real local servers: what the policy allows works, everything else never leaves."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from aisops_runner.adapters.calls import CallError
from aisops_runner.adapters.host import PluginHost
from aisops_runner.builtins.egress import EgressPolicy, Rule
from aisops_runner.builtins.http_request import PLUGIN, RESPONSE_BYTES, HttpRequestAdapter
from tests.integration.runner_host.conftest import make_call

pytestmark = pytest.mark.integration

ALL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Site:
    """A local HTTP server that remembers what reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        kind = request.match_info["kind"]
        if kind == "to":
            raise web.HTTPTemporaryRedirect(request.query["url"])
        if kind == "loop":
            raise web.HTTPFound("/loop")
        if kind == "found":
            raise web.HTTPFound(request.query["url"])
        if kind == "big":
            return web.Response(body=b"x" * (RESPONSE_BYTES + 5))
        if kind == "slow":
            await asyncio.sleep(60)
        if kind == "die":
            assert request.transport is not None
            request.transport.abort()
        if kind == "bytes":
            return web.Response(body=b"\xff\x00", content_type="application/octet-stream")
        if kind == "500":
            return web.json_response({"error": "x"}, status=500, headers={"Set-Cookie": "session=1", "X-Y": "z"})
        return web.json_response({"method": request.method})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application(client_max_size=4 * 1024 * 1024)
    app.router.add_route("*", "/{kind}", site.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()


def _rule(site: Site, host: str, **options: Any) -> Rule:
    options = {"methods": ALL, "allow_loopback": True} | options
    return Rule(host, frozenset({"http"}), frozenset({site.port}), **options)


class Names:
    """A resolver of our own: name → addresses, and how often it was asked."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): found for name, found in names.items()}
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]


def _adapter(*rules: Rule, names: Names | None = None) -> HttpRequestAdapter:
    return HttpRequestAdapter(EgressPolicy(rules), version="1", resolve=names or Names(api_test=["127.0.0.1"]))


async def _ask(adapter: HttpRequestAdapter, timeout_s: float = 5.0, **request: Any) -> Any:
    return await adapter.request(json.dumps(request).encode(), timeout_s=timeout_s)


def _code(result: Any) -> str:
    assert isinstance(result, CallError), result
    return result.code


async def test_a_listed_name_is_reached_at_the_address_that_was_checked(site: Site) -> None:
    names = Names(api_test=["127.0.0.1"])
    result = await _ask(
        _adapter(_rule(site, "api.test"), names=names),
        url=f"http://api.test:{site.port}/x?a=1", method="POST", query={"b": "ü &"}, json={"k": 1},
        headers={"X-A": "b"},
    )  # fmt: skip
    assert (result["status"], json.loads(result["body"])) == (200, {"method": "POST"})
    ((method, path, headers, body),) = site.seen
    assert (method, path, json.loads(body)) == ("POST", "/x?a=1&b=%C3%BC+%26", {"k": 1})
    assert headers["Host"] == f"api.test:{site.port}"
    assert headers["X-A"] == "b"
    assert names.asked == 1, "one look-up: a second answer cannot lead elsewhere"


async def test_any_status_is_a_result_without_cookies(site: Site) -> None:
    result = await _ask(_adapter(_rule(site, "api.test")), url=f"http://api.test:{site.port}/500")
    assert result["status"] == 500
    assert result["headers"]["x-y"] == "z"
    assert "set-cookie" not in result["headers"]


async def test_bytes_come_back_as_base64_and_large_answers_cut(site: Site) -> None:
    adapter = _adapter(_rule(site, "api.test"))
    result = await _ask(adapter, url=f"http://api.test:{site.port}/bytes")
    assert base64.b64decode(result["body_base64"]) == b"\xff\x00"
    big = await _ask(adapter, url=f"http://api.test:{site.port}/big")
    assert (len(big["body"]), big["truncated"]) == (RESPONSE_BYTES, True)


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "169.254.169.254"], ["::ffff:169.254.169.254"], ["fe80::1%eth0"],
     ["0.0.0.0"], ["fd00:ec2::254"], ["100.100.100.200"], ["224.0.0.1"], []],
)  # fmt: skip
async def test_a_listed_name_that_leads_astray_is_denied_before_anything_leaves(
    site: Site, addresses: list[str]
) -> None:
    adapter = _adapter(_rule(site, "api.test"), names=Names(api_test=addresses))
    assert _code(await _ask(adapter, url=f"http://api.test:{site.port}/x")) == "policy_denied"
    assert not site.seen


async def test_loopback_needs_the_rules_own_word(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}/x"
    assert _code(await _ask(_adapter(_rule(site, "127.0.0.1", allow_loopback=False)), url=url)) == "policy_denied"
    assert not site.seen
    assert (await _ask(_adapter(_rule(site, "127.0.0.1")), url=url))["status"] == 200


async def test_nothing_is_allowed_by_default(site: Site) -> None:
    error = await _ask(_adapter(), url=f"http://127.0.0.1:{site.port}/x")
    assert _code(error) == "policy_denied"
    assert "no [[http.allow]] rule" in error.message
    assert not site.seen


@pytest.mark.parametrize("kind", ["to", "found"])
@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "http://other.test/", "http://127.0.0.1:1/", "file:///etc/passwd",
     "http://2852039166/", "http://[::ffff:169.254.169.254]/", "http://api.test@169.254.169.254/", "//other.test/"],
)  # fmt: skip
async def test_a_redirect_that_leaves_the_list_is_not_followed(site: Site, kind: str, location: str) -> None:
    adapter = _adapter(_rule(site, "api.test"))
    result = await _ask(adapter, url=f"http://api.test:{site.port}/{kind}", query={"url": location})
    assert _code(result) == "policy_denied"
    assert len(site.seen) == 1


async def test_a_redirect_to_another_listed_host_is_followed_without_credentials(site: Site) -> None:
    names = Names(api_test=["127.0.0.1"], b_test=["127.0.0.1"])
    adapter = _adapter(_rule(site, "api.test"), _rule(site, "b.test"), names=names)
    result = await _ask(
        adapter, url=f"http://api.test:{site.port}/to", query={"url": f"http://b.test:{site.port}/x"}, method="POST",
        body="text", headers={"Authorization": "Bearer x", "X-Api-Key": "k", "X-Trace": "t"},
    )  # fmt: skip
    assert result["url"] == f"http://b.test:{site.port}/x"
    method, _, headers, body = site.seen[1]
    assert (method, body, headers["X-Trace"]) == ("POST", b"text", "t")
    assert not {"Authorization", "X-Api-Key"} & set(headers)


async def test_redirects_end_after_three(site: Site) -> None:
    loop = f"http://api.test:{site.port}/loop"
    assert _code(await _ask(_adapter(_rule(site, "api.test")), url=loop)) == "too_many_redirects"
    assert len(site.seen) == 4
    stay = await _ask(_adapter(_rule(site, "api.test")), url=loop, follow_redirects=False)
    assert stay["status"] == 302


@pytest.mark.parametrize(
    ("header", "value"),
    [("Host", "evil"), ("connection", "close"), ("Transfer-Encoding", "chunked"), ("Content-Length", "0"),
     ("X-A", "b\r\nX: y"),
     ("Proxy-Authorization", "x"), ("Upgrade", "h2c"), ("X A", "b"), ("X:", "b"), ("", "b"), ("X-A", "b\0"),
      ("Expect", "100")],
)  # fmt: skip
async def test_headers_that_would_change_the_request_itself_are_denied(site: Site, header: str, value: str) -> None:
    result = await _ask(
        _adapter(_rule(site, "api.test")), url=f"http://api.test:{site.port}/x", headers={header: value}
    )
    assert _code(result) == "policy_denied"
    assert not site.seen


@pytest.mark.parametrize(
    "request_body",
    [b"", b"[]", b"{}", b'{"url":5}', b'{"url":"http://a.test","method":"get"}', b'{"url":"http://a.test","other":1}',
     b'{"url":"http://a.test","body":"a","json":1}', b'{"url":"http://a.test","body_base64":"*"}',
      b'{"url":"a","url":"b"}',
     b'{"url":"http://a.test","headers":{"a":1}}'],
)  # fmt: skip
async def test_input_that_breaks_the_schema_is_refused(request_body: bytes) -> None:
    assert _code(await _adapter().request(request_body, timeout_s=1)) == "invalid_request"


async def test_a_body_above_a_mebibyte_is_refused(site: Site) -> None:
    adapter = _adapter(_rule(site, "api.test"))
    result = await _ask(adapter, url=f"http://api.test:{site.port}/x", method="POST", json="x" * (1024 * 1024))
    assert _code(result) == "invalid_request"
    assert not site.seen


@pytest.mark.parametrize(("method", "ambiguous"), [("GET", False), ("HEAD", False), ("POST", True), ("DELETE", True)])
@pytest.mark.parametrize(("kind", "code"), [("slow", "timeout"), ("die", "connection_lost")])
async def test_only_requests_that_may_have_changed_something_are_ambiguous(
    site: Site, method: str, ambiguous: bool, kind: str, code: str
) -> None:
    result = await _ask(
        _adapter(_rule(site, "api.test")), url=f"http://api.test:{site.port}/{kind}", method=method, timeout_s=0.5
    )
    assert (_code(result), result.ambiguous, result.retryable) == (code, ambiguous, not ambiguous)


async def test_what_never_left_may_be_repeated(site: Site) -> None:
    closed = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    adapter = _adapter(Rule("127.0.0.1", frozenset({"http"}), frozenset({port}), ALL, allow_loopback=True))
    result = await _ask(adapter, url=f"http://127.0.0.1:{port}/", method="POST")
    assert (_code(result), result.ambiguous, result.retryable) == ("connection_failed", False, True)
    unknown = await _ask(_adapter(_rule(site, "ghost.test")), url=f"http://ghost.test:{site.port}/", method="POST")
    assert (_code(unknown), unknown.ambiguous) == ("connection_failed", False)


async def test_it_is_a_capability_like_any_other(site: Site) -> None:
    host = PluginHost()
    host.register(_adapter(_rule(site, "api.test")), name=PLUGIN)
    (capability,) = host.capabilities()
    assert capability.name == "http.request"
    assert json.loads(capability.input_schema)["additionalProperties"] is False
    body = json.dumps({"url": f"http://api.test:{site.port}/x"}).encode()
    outcome = await host.invoke(make_call("http.request", body))
    assert (outcome.ok, outcome.plugin, outcome.sidecar_pid) == (True, "runner", 0)
