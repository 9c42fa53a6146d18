"""`ctx.http()`: where it goes, what it carries, how long it waits, and what its failures mean."""

import socket
from collections.abc import Callable

import aiohttp
import pytest
from pydantic import BaseModel, Field

from aisops_plugin_sdk import Config, Context, Permanent, Plugin, Secret
from aisops_plugin_sdk.testing import PluginTest, SidecarProcess
from demo.providers.certificate import make_loopback_tls
from tests.integration.providers.test_outbound import tcp_server
from tests.support.installed_plugins import install

pytestmark = pytest.mark.integration
GONE = 204


class AcmeConfig(Config):
    token: Secret = Field(alias="ACME_TOKEN")
    url: str = Field(default="https://api.acme.test", alias="ACME_URL")


class Ask(BaseModel):
    """One request the plugin is to make."""

    method: str = "POST"
    url: str = "/a"
    text: str = "hello"
    library: bool = False


class Told(BaseModel):
    status: int
    body: str = ""


def acme(egress=("${ACME_URL}",), **client) -> Plugin:
    """A plugin that makes the requests it is asked to make."""
    plugin = Plugin("acme", config=AcmeConfig, egress=egress)

    @plugin.on_start
    async def start(ctx: Context[AcmeConfig]) -> None:
        ctx.state.http = ctx.http(ctx.config.url, name="Acme", bearer=ctx.config.token, **client)

    @plugin.capability("acme.ask", timeout_s=20)
    async def ask(ctx: Context[AcmeConfig], given: Ask) -> Told:
        http = ctx.state.http
        if given.library:
            async with http.attempt(), http.session.request(given.method, given.url) as found:
                return Told(status=found.status, body=await found.text())
        body = {"json": given} if given.method == "POST" else {}
        answer = await http.request(given.method, given.url, idempotency_key=ctx.idempotency_key, **body)
        answer.raise_for_status()
        return Told(status=answer.status, body=answer.text)

    return plugin


def served(plugin: Plugin, url: str = "", **env) -> PluginTest:
    given = {"ACME_TOKEN": "acme-token-1", **({"ACME_URL": url} if url else {}), **env}
    return PluginTest(plugin, env=given)


@pytest.fixture
def names(monkeypatch) -> dict[str, str]:
    """A name service: every other name does not exist."""
    known: dict[str, str] = {}
    real: Callable = socket.getaddrinfo

    def look_up(host, *rest, **more):
        if host in known:
            return real(known[host], *rest, **more)
        if host not in (None, "127.0.0.1", "::1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def test_a_request_carries_credentials_key_and_model(fake_provider):
    fake_provider.answer("/api/a", {"id": "7"})
    async with served(acme(headers={"X-Org": "ops"}), f"{fake_provider.url}/api") as t:
        answer = await t.invoke("acme.ask", {"text": "한글"}, idempotency_key="key-1")
    assert answer.result == {"status": 200, "body": '{"id": "7"}'}
    (received,) = fake_provider.requests
    wanted = {"Authorization": "Bearer acme-token-1", "Idempotency-Key": "key-1", "X-Org": "ops"}
    assert received.headers.items() >= wanted.items()
    assert (received.json["text"], received.headers["Content-Type"]) == ("한글", "application/json")


@pytest.mark.parametrize(
    ("url", "library"),
    [
        ("http://127.0.0.1:1/a", False),
        ("http://localhost:{port}/a", False),
        ("http://localhost:{port}/a", True),
        ("http://[::ffff:127.0.0.1]:{port}/a", False),
        ("http://2130706433:{port}/a", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://169.254.169.254/latest/meta-data", True),
        ("https://evil.test/", False),
    ],
)
async def test_a_place_outside_the_list_is_refused_before_any_connection(fake_provider, names, url, library):
    port = fake_provider.url.rpartition(":")[2]
    names["evil.test"] = "203.0.113.9"
    async with served(acme(), fake_provider.url) as t:
        answer = await t.invoke("acme.ask", {"url": url.format(port=port), "library": library, "method": "GET"})
    assert (answer.status, answer.code, answer.ambiguous, answer.retryable) == (422, "egress_denied", False, False)
    assert fake_provider.requests == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.255.255.1", "169.254.169.254", "::1"])
async def test_a_listed_name_that_leads_inside_is_refused_before_any_connection(fake_provider, names, address):
    port = fake_provider.url.rpartition(":")[2]
    names["api.acme.test"] = address
    plugin = acme([f"http://api.acme.test:{port}"])
    async with served(plugin, f"http://api.acme.test:{port}") as t:
        answer = await t.invoke("acme.ask", {})
    assert (answer.status, answer.code) == (422, "egress_denied")
    assert address in answer.error
    assert fake_provider.requests == []


async def test_a_listed_name_may_lead_to_a_listed_address_and_by_the_operators_word(fake_provider, names):
    port = fake_provider.url.rpartition(":")[2]
    names["api.acme.test"] = "127.0.0.1"
    url = f"http://api.acme.test:{port}"
    fake_provider.always("/a", {})
    async with served(acme([url, f"127.0.0.1:{port}"]), url) as t:
        assert (await t.invoke("acme.ask", {})).ok
    async with served(acme([url]), url, AISOPS_EGRESS=f"{url},other.test") as t:
        assert (await t.invoke("acme.ask", {})).ok


async def test_a_name_that_turns_inward_later_is_refused_then(fake_provider, names):
    """The addresses of every new connection are checked, not those of the first."""
    port = fake_provider.url.rpartition(":")[2]
    names["api.acme.test"] = "203.0.113.9"
    url = f"http://api.acme.test:{port}"
    async with served(acme([url], timeout_s=0.2), url) as t:
        first = await t.invoke("acme.ask", {})
        names["api.acme.test"] = "127.0.0.1"
        # aiohttp remembers a name for ten seconds: a plugin that starts anew has nothing to remember
        async with served(acme([url]), url) as again:
            second = await again.invoke("acme.ask", {})
    assert (first.code, second.code) == ("unreachable", "egress_denied")
    assert fake_provider.requests == []


@pytest.mark.parametrize("library", [False, True])
async def test_a_redirect_leads_nowhere(fake_provider, library):
    fake_provider.always("/a", {}, status=302, headers={"Location": "http://169.254.169.254/latest"})
    async with served(acme(), fake_provider.url) as t:
        url = f"{fake_provider.url}/a"
        answer = await t.invoke("acme.ask", {"url": url, "method": "GET", "library": library})
    assert (answer.status, answer.code) == (422, "redirected")


async def test_credentials_go_to_their_own_place_only(fake_provider):
    fake_provider.always("/a", {})
    other = fake_provider.url.replace("127.0.0.1", "localhost")
    async with served(acme(["${ACME_URL}", other]), fake_provider.url) as t:
        assert (await t.invoke("acme.ask", {"url": f"{other}/a"})).ok
    (received,) = fake_provider.requests
    assert "acme-token-1" not in str(received.headers)


async def test_the_deadline_ends_the_wait_before_the_caller_gives_up(fake_provider):
    fake_provider.hang("/a").hang("/a")
    async with served(acme(), fake_provider.url) as t:
        posted = await t.invoke("acme.ask", {}, deadline_s=0.8)
        got = await t.invoke("acme.ask", {"method": "GET"}, deadline_s=0.8)
        late = await t.invoke("acme.ask", {}, deadline_s=0.2)
    assert (posted.code, posted.ambiguous) == ("ambiguous", True)
    assert (got.code, got.ambiguous, got.retryable) == ("no_answer", False, True)
    assert (late.code, late.ambiguous, late.retryable) == ("deadline", False, True)
    assert len(fake_provider.requests) == 2


@pytest.mark.parametrize("fault", ["drop", "half"])
async def test_what_left_without_an_answer_is_ambiguous_unless_it_was_harmless(fake_provider, fault):
    getattr(fake_provider, fault)("/a")
    async with served(acme(), fake_provider.url) as t:
        posted = await t.invoke("acme.ask", {})
        assert (posted.status, posted.ambiguous) == (502, True)
        assert len(fake_provider.requests) == 1
        fake_provider.hang("/a")
        got = await t.invoke("acme.ask", {"method": "GET"}, deadline_s=0.7)
    assert (got.status, got.ambiguous) == (503, False)


async def test_an_answer_without_end_is_refused(fake_provider):
    fake_provider.always("/a", b"x" * 2000)
    async with served(acme(max_response_bytes=1000), fake_provider.url) as t:
        posted = await t.invoke("acme.ask", {})
        got = await t.invoke("acme.ask", {"method": "GET"})
    assert (posted.code, posted.ambiguous) == ("answer_too_large", True)
    assert (got.code, got.ambiguous, got.status) == ("answer_too_large", False, 502)


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (400, "POST", (422, "http_400", False, False)),
        (401, "POST", (401, "credentials_refused", False, False)),
        (403, "GET", (401, "credentials_refused", False, False)),
        (409, "POST", (409, "conflict", False, False)),
        (429, "POST", (429, "rate_limited", True, False)),
        (500, "POST", (502, "http_500", False, True)),
        (500, "GET", (503, "http_500", True, False)),
        (503, "POST", (503, "http_503", True, False)),
    ],
)
async def test_each_status_means_something(fake_provider, status, method, expected):
    fake_provider.answer("/a", {}, status=status, headers={"Retry-After": "7"})
    async with served(acme(), fake_provider.url) as t:
        answer = await t.invoke("acme.ask", {"method": method})
    assert (answer.status, answer.code, answer.retryable, answer.ambiguous) == expected
    assert answer.retry_after_ms == (7000 if status in (429, 503) else None)


async def test_nothing_leaves_in_a_dry_run(fake_provider):
    async with PluginTest(acme(), env={"ACME_TOKEN": "t", "ACME_URL": fake_provider.url}, dry_run=True) as t:
        for library in (False, True):
            answer = await t.invoke("acme.ask", {"library": library, "url": f"{fake_provider.url}/a"})
            assert (answer.status, answer.code, answer.ambiguous) == (422, "dry_run", False)
    assert fake_provider.requests == []


async def test_the_proxy_of_the_environment_is_used_and_never_shown(names):
    seen: list[bytes] = []
    async with tcp_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", seen) as port:
        names["proxy.site.test"] = "127.0.0.1"
        proxy = f"http://demo-user:demo-password@proxy.site.test:{port}"
        async with served(acme(["api.acme.test"]), HTTPS_PROXY=proxy) as t:
            proxied = await t.invoke("acme.ask", {})
            denied = await t.invoke("acme.ask", {"url": "https://other.test/a"})
        async with served(acme(["api.acme.test"]), HTTPS_PROXY=proxy, NO_PROXY="acme.test") as t:
            direct = await t.invoke("acme.ask", {})
    assert [line.partition(b" HTTP")[0] for line in seen] == [b"CONNECT api.acme.test:443"]
    assert (proxied.code, denied.code, direct.code) == ("unreachable", "egress_denied", "unreachable")
    assert "demo-password" not in str([proxied.document, direct.document]) + repr(t.logs)


async def test_a_proxy_that_cannot_be_used_is_named_without_its_value():
    async with served(acme(), HTTPS_PROXY="socks5://u:demo-password@127.0.0.1:1") as t:
        answer = await t.invoke("acme.ask", {})
    assert (answer.status, answer.code) == (503, "not_configured")
    assert "HTTPS_PROXY" in answer.error
    assert "demo-password" not in str(answer.document) + repr(t.logs)


@pytest.mark.parametrize("by_environment", [False, True])
async def test_only_the_given_authorities_are_trusted(tmp_path, by_environment):
    tls = make_loopback_tls(tmp_path)
    seen: list[bytes] = []
    async with tcp_server(b"HTTP/1.1 204 No Content\r\n\r\n", seen, tls.context) as port:
        url = f"https://127.0.0.1:{port}"
        client = {} if by_environment else {"ca_file": str(tls.ca_file)}
        env = {"SSL_CERT_FILE": str(tls.ca_file)} if by_environment else {}
        async with served(acme(**client), url, **env) as t:
            assert (await t.invoke("acme.ask", {})).result["status"] == GONE
        async with served(acme(), url) as t:
            untrusted = await t.invoke("acme.ask", {})
    assert (untrusted.status, untrusted.code, len(seen)) == (502, "certificate_untrusted", 1)


async def test_a_plugin_without_a_list_is_told_what_to_do(fake_provider):
    async with served(acme(None), fake_provider.url) as t:
        answer = await t.invoke("acme.ask", {})
    assert (answer.code, "egress=[" in answer.error) == ("egress_denied", True)


async def test_the_clients_are_shared_bounded_and_closed_with_the_plugin(fake_provider):
    kept: list[aiohttp.ClientSession] = []
    plugin = Plugin("many", config=AcmeConfig, egress=["${ACME_URL}"])

    @plugin.capability("many.ask")
    async def ask(ctx: Context[AcmeConfig], given: Ask) -> Told:
        one, again = (ctx.http(ctx.config.url, headers={"X": "1"}) for _ in range(2))
        kept.append(one.session)
        assert one is again
        with pytest.raises(RuntimeError, match="64"):
            [ctx.http(ctx.config.url, name=str(number)) for number in range(65)]
        return Told(status=0)

    async with served(plugin, fake_provider.url) as t:
        assert (await t.invoke("many.ask", {})).ok
        assert not kept[0].closed
    assert kept[0].closed


async def test_an_address_below_or_whole_and_one_body(fake_provider):
    """What an author gets wrong is said at once, before anything is sent."""
    errors: list[Exception] = []
    plugin = Plugin("wrong", config=AcmeConfig, egress=["${ACME_URL}"])

    @plugin.capability("wrong.ask")
    async def ask(ctx: Context[AcmeConfig], given: Ask) -> Told:
        http = ctx.http(ctx.config.url)
        for url, options in (("a", {}), ("//evil.test/", {}), ("/a", {"json": 1, "data": b""}), ("", {})):
            try:
                await http.post(url, **options)
            except (ValueError, Permanent) as error:
                errors.append(error)
        return Told(status=0)

    async with served(plugin, fake_provider.url) as t:
        await t.invoke("wrong.ask", {})
    assert [type(error) for error in errors] == [ValueError] * 4
    assert fake_provider.requests == []


INSTALLED = '''
from pydantic import BaseModel
from aisops_plugin_sdk import Context, Plugin

class In(BaseModel):
    url: str

class Out(BaseModel):
    status: int

plugin = Plugin("reaches", egress=["localhost:1", "*.acme.test"])

@plugin.capability("reaches.get", effect="idempotent")
async def get(ctx: Context, given: In) -> Out:
    """Get an address."""
    return Out(status=(await ctx.http().get(given.url)).status)
'''


async def test_a_real_sidecar_says_where_it_goes_and_goes_nowhere_else(tmp_path, fake_provider):
    site = install(tmp_path, "reaches", INSTALLED)
    async with SidecarProcess("reaches", env={"PYTHONPATH": site}) as process:
        described = await process.client.get("/describe")
        allowed = await process.client.invoke("reaches.get", {"url": "https://localhost:1/"})
        denied = [
            await process.client.invoke("reaches.get", {"url": url})
            for url in (f"{fake_provider.url}/a", "https://127.0.0.1:1/", "http://localhost:1/", "https://acme.test/")
        ]
    assert described.result["egress"] == ["localhost:1", "*.acme.test"]
    assert (allowed.status, allowed.code) == (503, "unreachable")
    assert [(answer.status, answer.code) for answer in denied] == [(422, "egress_denied")] * 4
    assert fake_provider.requests == []
