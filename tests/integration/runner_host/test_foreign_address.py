"""Plugins of the original at an address: asked, called, waited for, and never ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from aisops_runner.sidecars.foreign.found import ForeignSources, Place
from aisops_runner.sidecars.foreign.listener import listens
from aisops_runner.sidecars.foreign.probing import free_port
from tests.integration.runner_host.conftest import CLEAN_ENV, Bench, until
from tests.integration.runner_host.test_foreign_http import EXAMPLES, NODE, TOKEN, needs_node, send
from tests.integration.runner_host.test_foreign_stdio import written
from tests.support.vendor_plugins import install_vendor

pytestmark = pytest.mark.integration


class Elsewhere:
    """The hallway plugin, run by somebody else on a port of its own."""

    def __init__(self, file: Path) -> None:
        self.port = free_port()
        self.file = file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = CLEAN_ENV | {"PORT": str(self.port), "INTERNAL_AUTH_TOKEN": TOKEN, "HALLWAY_EFFECTS": str(self.file)}
        self.process = subprocess.Popen(
            [str(NODE), str(EXAMPLES / "hallway" / "src" / "index.js")], env=env, stdout=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def place(self, **options: object) -> ForeignSources:
        return ForeignSources(places=(Place("hallway", f"http://127.0.0.1:{self.port}", "env:SHARED", **options),))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    one = Elsewhere(tmp_path / "shown.txt")
    one.file.touch()
    yield one
    one.stop()


@needs_node
async def test_a_plugin_at_an_address_is_called_and_never_ended(bench: Bench, elsewhere: Elsewhere) -> None:
    elsewhere.start()
    await until(lambda: listens(elsewhere.process.pid, elsewhere.port))
    bench.env["SHARED"] = TOKEN
    bench.foreign = elsewhere.place()
    fleet = await bench.start()
    assert [one.name for one in bench.host.capabilities()] == ["hallway.send"], "as its probe says"
    await until(lambda: bench.row("hallway").state == "ready")
    outcome = await send(bench, "from afar")
    assert outcome.ok, outcome
    assert written(elsewhere.file) == ["from afar"]
    row = bench.row("hallway")
    assert (row.kind, row.pid, row.version, row.distribution) == (
        "url", 0, "0.3.0", f"http://127.0.0.1:{elsewhere.port}",
    )  # fmt: skip
    assert TOKEN in bench.secrets
    await fleet.stop()
    assert elsewhere.process.poll() is None


@needs_node
async def test_one_that_is_away_is_asked_until_it_comes(bench: Bench, elsewhere: Elsewhere) -> None:
    bench.env["SHARED"] = TOKEN
    bench.foreign = elsewhere.place()
    await bench.start(ask_again_s=0.1)
    assert "does not answer at http://127.0.0.1" in bench.row("hallway").reason
    elsewhere.start()
    await until(lambda: bench.row("hallway").state == "ready")
    assert bench.changes
    assert (await send(bench, "at last")).ok


@needs_node
async def test_what_it_offers_may_be_told_and_it_backs_off(bench: Bench, elsewhere: Elsewhere) -> None:
    bench.env["SHARED"] = TOKEN
    bench.foreign = elsewhere.place(capabilities=("hallway.send",))
    await bench.start()
    error = (await send(bench, "nobody there")).error
    assert error is not None
    assert (error.code, error.retryable, error.ambiguous) == ("sidecar_unavailable", True, False)
    assert bench.row("hallway").state == "backoff"
    elsewhere.start()
    await until(lambda: bench.row("hallway").state == "ready")
    elsewhere.stop()
    await send(bench, "gone", "gone")  # on a connection whose end may not have been seen yet: perhaps ambiguous
    refused = (await send(bench, "still gone", "still-gone")).error
    assert refused is not None
    assert (refused.code, refused.retryable, refused.ambiguous) == ("sidecar_unreachable", True, False)
    assert not written(elsewhere.file)


@needs_node
async def test_another_token_is_refused_before_anything_is_done(bench: Bench, elsewhere: Elsewhere) -> None:
    elsewhere.start()
    await until(lambda: listens(elsewhere.process.pid, elsewhere.port))
    bench.env["SHARED"] = "another-token-than-theirs"
    bench.foreign = elsewhere.place()
    await bench.start()
    error = (await send(bench, "x")).error
    assert error is not None
    assert (error.code, error.ambiguous) == ("unauthorized", False)
    assert "its token is another" in error.message
    assert not written(elsewhere.file)


async def answer_as_plugin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whatever is asked is answered `ok`, with the path and the signature's presence."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            await reader.readexactly(int(re.findall(r"(?i)content-length: (\d+)", head)[0]))
            facts = {"ok": True, "path": head.split()[1], "signed": "X-Internal-Signature: sha256=" in head}
            body = json.dumps(facts | {"capabilities": ["hallway.send"], "version": "9"}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    writer.close()


async def test_over_tls_only_whoever_is_trusted_is_called(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    bench.env["T"] = TOKEN
    async with await asyncio.start_server(answer_as_plugin, "localhost", 0, ssl=context) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/behind/a/proxy"
        bench.foreign = ForeignSources(places=(Place("hallway", url, "env:T"),))
        await bench.start(ask_again_s=0.1)
        reason = bench.row("hallway").reason
        assert "its certificate is not trusted" in reason
        assert "SSL_CERT_FILE" in reason
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        await until(lambda: bench.row("hallway").state == "ready")
        outcome = await send(bench, "x")
        assert outcome.ok, outcome
        answer = json.loads(outcome.output)
        assert (answer["path"], answer["signed"]) == ("/behind/a/proxy/send", True)
        assert bench.fleet is not None
        await bench.fleet.stop()


async def test_what_is_no_plugin_is_named(bench: Bench) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<h1>")
        writer.close()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bench.foreign = ForeignSources(places=(Place("wiki", url, "env:T"),))
        await bench.start()
    assert bench.row("wiki").reason == (
        f"what answers at {url} is no plugin: POST /probe gave HTTP 200, and no JSON with ok"
    )


async def test_a_missing_token_is_named(bench: Bench) -> None:
    bench.foreign = ForeignSources(
        places=(Place("hallway", f"http://127.0.0.1:{free_port()}", "env:NOT_SET", ("hallway.send",)),)
    )
    await bench.start()
    await until(lambda: bench.row("hallway").state == "backoff")
    assert bench.row("hallway").reason == "token: environment variable NOT_SET is not set"


async def test_a_named_address_wins_over_a_package_of_the_same_name(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.env["T"] = "x"
    bench.foreign = ForeignSources(places=(Place("good", f"http://127.0.0.1:{free_port()}", "env:T", ("good.send",)),))
    await bench.start()
    assert bench.row("good").kind == "url"
    assert [one.name for one in bench.host.capabilities()] == ["good.send"]
