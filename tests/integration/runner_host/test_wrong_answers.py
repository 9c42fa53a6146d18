"""A sidecar that answers nonsense: every mode ends in a typed error before the call's time is up."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.clock import SystemClock
from aisops_runner.sidecars.answers import BAD_ANSWER
from aisops_runner.sidecars.client import DIED, UNREACHABLE, SidecarClient
from tests.integration.runner_host.conftest import make_call, until

pytestmark = pytest.mark.integration

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
OK = b'{"ok":true,"result":{}}'
JSON = b"Content-Type: application/json\r\n"


def raw(data: bytes, *, then_close: bool = True) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if not then_close:
            await asyncio.Event().wait()

    return answer


def http(body: bytes, *, status: bytes = b"200 OK", headers: bytes = JSON, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, size, body)


def endless(head: bytes, piece: bytes, *, every_s: float = 0.0) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every_s)

    return answer


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD: dict[str, Answer] = {
    "invalid json": raw(http(b"{nope")),
    "empty body": raw(http(b"")),
    "json but no object": raw(http(b"[1]")),
    "not utf-8": raw(http(b'{"ok":true,"result":{"a":"\xff"}}')),
    "duplicate keys": raw(http(b'{"ok":true,"ok":false,"result":{}}')),
    "nan": raw(http(b'{"ok":true,"result":{"a":NaN}}')),
    "nested too deep": raw(http(b'{"ok":true,"result":' + b"[" * 50_000 + b"]" * 50_000 + b"}")),
    "html": raw(http(b"<h1>ok</h1>", headers=b"Content-Type: text/html\r\n")),
    "no content type": raw(http(OK, headers=b"")),
    "compressed": raw(http(OK, headers=JSON + b"Content-Encoding: gzip\r\n")),
    "a length of 100 MB": raw(http(b"x" * 1000, length=100_000_000)),
    "100 MB without a length": endless(b"HTTP/1.1 200 OK\r\n" + JSON + b"Connection: close\r\n\r\n", b"x" * 65536),
    "100 MB in chunks": endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "redirect to metadata": raw(http(b"", status=b"302 Found", headers=b"Location: http://169.254.169.254/\r\n")),
    "redirect to itself": raw(http(b"", status=b"307 Temporary Redirect", headers=b"Location: /v1/invoke/x.y\r\n")),
    "not modified": raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "status 700": raw(http(OK, status=b"700 Strange")),
    "status abc": raw(http(OK, status=b"abc OK")),
    "wrong chunk size": raw(CHUNKED + b"zz\r\nxx\r\n0\r\n\r\n"),
    "truncated chunk": raw(CHUNKED + b"ff\r\nxx"),
    "truncated body": raw(http(OK, length=500)),
    "two lengths": raw(http(OK, headers=JSON + b"Content-Length: 5\r\n")),
    "not http": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "binary": raw(bytes(range(256)) * 10),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: " + b"z" * 8000 + b"\r\n"),
    "one endless header": endless(b"HTTP/1.1 200 OK\r\nX: ", b"z" * 65536),
    "one endless header behind the body": endless(CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"z" * 65536),
    "endless headers behind the body": endless(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 1000),
    "ok contradicts the status": raw(http(OK, status=b"500 Oops")),
    "failure without a failing status": raw(http(b'{"ok":false,"error":"x"}')),
    "switching protocols": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
}
SLOW: dict[str, Answer] = {
    "no answer": raw(b"", then_close=False),
    "one byte now and then": endless(
        b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: 999\r\n\r\n", b"x", every_s=0.05
    ),
    "headers that never end": endless(b"HTTP/1.1 200 OK\r\n", b"A", every_s=0.05),
    "only interim answers": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n", every_s=0.02),
}


@asynccontextmanager
async def sidecar(answer: Answer) -> AsyncIterator[tuple[SidecarClient, list[bytes]]]:
    requests: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = SidecarClient(server.sockets[0].getsockname()[1], "token", SystemClock())
    try:
        yield client, requests
    finally:
        await client.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _call() -> Call:
    return make_call("x.y")


@pytest.mark.parametrize("mode", BAD)
async def test_nonsense_is_a_typed_error_long_before_the_time_is_up(mode: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with sidecar(BAD[mode]) as (client, requests):
        async with asyncio.timeout(10):
            error = await client.invoke(_call(), 60)
    assert isinstance(error, CallError)
    assert error.code == BAD_ANSWER
    assert error.ambiguous
    assert len(requests) == 1, "nothing was followed or repeated"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


@pytest.mark.parametrize("mode", SLOW)
async def test_an_answer_that_does_not_come_is_an_ambiguous_timeout(mode: str) -> None:
    async with sidecar(SLOW[mode]) as (client, _):
        async with asyncio.timeout(10):
            error = await client.invoke(_call(), 0.4)
    assert isinstance(error, CallError)
    assert error.ambiguous
    assert error.code in ("timeout", BAD_ANSWER)


async def test_the_html_error_page_of_an_original_plugin_is_a_refusal() -> None:
    page = b"<pre>SyntaxError: Unexpected token<br> at /app/index.js</pre>"
    async with sidecar(raw(http(page, status=b"400 Bad Request", headers=b"Content-Type: text/html\r\n"))) as (
        client,
        _,
    ):
        error = await client.invoke(_call(), 5)
    assert isinstance(error, CallError)
    assert (error.code, error.ambiguous) == (BAD_ANSWER, False)
    assert "index.js" not in error.message


async def test_what_an_interim_answer_or_a_trailer_says_is_not_said_of_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nContent-Type: text/html\r\n\r\n"
    async with sidecar(raw(interim + b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n" + OK)) as (client, _):
        assert await client.invoke(_call(), 5) == b"{}"
    chunk = b"%x\r\n%s\r\n" % (len(OK), OK)
    async with sidecar(raw(CHUNKED + chunk + b"0\r\nContent-Type: text/html\r\n\r\n")) as (client, _):
        assert await client.invoke(_call(), 5) == b"{}"


async def test_a_hang_up_after_the_request_is_ambiguous() -> None:
    async with sidecar(raw(b"")) as (client, _):
        error = await client.invoke(_call(), 5)
    assert isinstance(error, CallError)
    assert (error.code, error.ambiguous, error.retryable) == (DIED, True, False)


async def test_nobody_listening_is_safe_to_repeat() -> None:
    async with sidecar(raw(b"")) as (client, _):
        pass
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    client = SidecarClient(port, "token", SystemClock())
    error = await client.invoke(_call(), 5)
    await client.close()
    assert isinstance(error, CallError)
    assert (error.code, error.ambiguous, error.retryable) == (UNREACHABLE, False, True)


async def test_a_proper_answer_passes_and_the_request_is_signed() -> None:
    async with sidecar(raw(http(OK))) as (client, requests):
        assert await client.invoke(_call(), 5) == b"{}"
    head = requests[0].decode().lower()
    assert head.startswith("post /v1/invoke/x.y http/1.1")
    for header in (
        "x-internal-auth: token",
        "x-internal-signature: sha256=",
        "x-internal-nonce:",
        "idempotency-key: job-1",
    ):
        assert header in head


async def test_closing_the_client_ends_each_call_in_flight_once() -> None:
    async with sidecar(raw(b"", then_close=False)) as (client, requests):
        calls = [asyncio.create_task(client.invoke(_call(), 60)) for _ in range(5)]
        await until(lambda: len(requests) == 5)
        await client.close()
        errors = await asyncio.gather(*calls)
    assert all(isinstance(error, CallError) and error.ambiguous for error in errors)
