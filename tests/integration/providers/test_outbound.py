"""The SDK's outgoing HTTP tells what had left when a request failed, and follows nothing and nobody it should not."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest

from aisops_plugin_sdk import Ambiguous, NotConfigured, ProviderError, Secret, Transient
from aisops_plugin_sdk.addresses import is_loopback
from aisops_plugin_sdk.outbound import Outbound, base_url, read_at_most
from demo.providers.certificate import make_loopback_tls
from demo.providers.telegram import TelegramStandIn


@asynccontextmanager
async def tcp_server(answer: bytes, seen: list[bytes], context: ssl.SSLContext | None = None):
    """A server that keeps what it read first, answers with fixed bytes and closes."""

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.localhost", False)],
)
def test_loopback_is_known_without_asking_anybody(host, loopback):
    assert is_loopback(host) is loopback


def test_plain_http_is_for_loopback_only():
    assert base_url("https://api.example.com/") == "https://api.example.com"
    assert base_url("http://[::1]:8080") == "http://[::1]:8080"
    for address in (
        "http://api.example.com",
        "http://localhost.example.com",
        "https://u@h",
        "https://h?q",
        "https://h#f",
        "x",
    ):
        with pytest.raises(ValueError, match="must"):
            base_url(address)


@pytest.mark.integration
async def test_what_never_left_may_be_sent_again():
    async with TelegramStandIn() as telegram:
        url = telegram.url
    async with Outbound(url) as outbound:
        with pytest.raises(Transient) as failed:
            async with outbound.attempt("Telegram", 5.0), outbound.session.post(url + "/secret"):
                pass
    assert url not in str(failed.value)


@pytest.mark.integration
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n"])
async def test_what_left_without_a_whole_answer_is_ambiguous(answer):
    seen: list[bytes] = []
    async with tcp_server(answer, seen) as port, Outbound(f"http://127.0.0.1:{port}") as outbound:
        with pytest.raises(Ambiguous):
            async with (
                outbound.attempt("the provider", 5.0),
                outbound.session.post(f"http://127.0.0.1:{port}/x", data=b"1") as response,
            ):
                await read_at_most(response, 1024)
    assert len(seen) == 1


@pytest.mark.integration
async def test_an_answer_without_end_is_cut_off():
    body = b"x" * 100_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body
    async with (
        tcp_server(answer, []) as port,
        Outbound(f"http://127.0.0.1:{port}") as outbound,
        outbound.attempt("the provider", 5.0),
        outbound.session.get(f"http://127.0.0.1:{port}/") as response,
    ):
        assert await read_at_most(response, 1000) == body[:1000]


@pytest.mark.integration
async def test_a_proxy_is_used_off_loopback_and_its_refusal_means_nothing_left():
    seen: list[bytes] = []
    async with tcp_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", seen) as port:
        proxy = Secret(f"http://demo-user:demo-password@127.0.0.1:{port}")
        async with Outbound("https://api.example.com", proxy=proxy) as outbound:
            with pytest.raises(Transient) as failed:
                async with outbound.attempt("the provider", 5.0), outbound.session.post("https://api.example.com/x"):
                    pass
    assert seen[0].startswith(b"CONNECT api.example.com:443 ")
    assert "demo-password" not in str(failed.value)


@pytest.mark.integration
async def test_a_proxy_is_not_used_for_loopback():
    seen: list[bytes] = []
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with (
        tcp_server(answer, seen) as port,
        Outbound(f"http://127.0.0.1:{port}", proxy=Secret("http://127.0.0.1:1")) as outbound,
        outbound.attempt("p", 5.0),
        outbound.session.get(f"http://127.0.0.1:{port}/x") as response,
    ):
        assert response.status == 204
    assert seen[0].startswith(b"GET /x ")


@pytest.mark.integration
async def test_only_the_configured_authorities_are_trusted(tmp_path):
    tls = make_loopback_tls(tmp_path)
    seen: list[bytes] = []
    async with tcp_server(b"HTTP/1.1 204 No Content\r\n\r\n", seen, tls.context) as port:
        url = f"https://127.0.0.1:{port}/"
        async with Outbound(url) as outbound:
            with pytest.raises(ProviderError) as failed:
                async with outbound.attempt("p", 5.0), outbound.session.get(url):
                    pass
        async with (
            Outbound(url, ca_file=str(tls.ca_file)) as outbound,
            outbound.attempt("p", 5.0),
            outbound.session.get(url) as response,
        ):
            assert response.status == 204
    assert (failed.value.code, len(seen)) == ("certificate_untrusted", 1)


@pytest.mark.integration
async def test_a_file_without_authorities_is_refused(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(NotConfigured, match=path.name):
            Outbound("https://api.example.com", ca_file=str(path))
