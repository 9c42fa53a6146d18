"""The reader of plain heads: what it takes it reads as aiohttp does, and everything odd is left to aiohttp."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.http import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.api.direct import HEADER_BYTES
from aisops_core.api.plain import read_head

GOOD = (
    b"POST /api/v1/jobs HTTP/1.1\r\nHost: core:8080\r\nAuthorization: Bearer t\r\n"
    b"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"
)


def with_line(line: bytes) -> bytes:
    return GOOD[:-2] + line + b"\r\n\r\n"


def test_a_plain_post_is_read() -> None:
    head = read_head(with_line(b"Prefer:  wait=30 "[:-1]))
    assert head is not None
    assert (head.method, head.path, head.length) == ("POST", "/api/v1/jobs", 12)
    assert (head.header("PREFER"), head.header("none")) == (("wait=30",), ())


def test_a_plain_get_is_read_with_its_query() -> None:
    head = read_head(b"GET /api/v1/jobs/job_1?wait=5&a=&b HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n")
    assert head is not None
    assert (head.length, head.pairs()) == (0, [("wait", "5"), ("a", ""), ("b", "")])


ODD = [
    b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: h2c", b"Connection: close",
    b"Connection: keep-alive, Upgrade", b"Content-Length: 12", b"Content-Length: 13", b"content-length: 12",
    b"HOST: other", b"X: a\r\n b", b"X: \x80", b"X: a\0b", b"X : a", b"X\t: a", b": a", b"X", b"X: a\rb", b"X: a\nY: b",
    b"X: a\tb", b"X: " + b"a" * 1100, b"X_Y: a", b"Content-Encoding: gzip", b"X: a ", b"Trailer: x",
]  # fmt: skip


@pytest.mark.parametrize("line", ODD)
def test_odd_headers_are_not_plain(line: bytes) -> None:
    assert read_head(with_line(line)) is None


@pytest.mark.parametrize(
    "change",
    [
        (b"HTTP/1.1", b"HTTP/1.0"), (b"HTTP/1.1", b"HTTP/2.0"), (b"POST ", b"PUT "), (b"POST ", b"POST  "),
        (b"/api/v1/jobs", b"/api/v1/jobs%2e"), (b"/api/v1/jobs", b"http://x/api/v1/jobs"),
        (b"Content-Length: 12\r\n", b""),
        (b"Content-Length: 12", b"Content-Length: +12"), (b"Content-Length: 12", b"Content-Length: 0x12"),
        (b"Content-Length: 12", b"Content-Length: 012"), (b"Content-Length: 12", b"Content-Length: 1_2"),
        (b"Content-Length: 12", b"Content-Length: -1"), (b"Content-Length: 12", b"Content-Length: 99999999999"),
        (b"application/json", b"text/plain"), (b"Host: core:8080\r\n", b""), (b"\r\n", b"\n"),
        (b" HTTP", b"?a=b%20c HTTP"),
    ],
)  # fmt: skip
def test_odd_requests_are_not_plain(change: tuple[bytes, bytes]) -> None:
    assert change[0] in GOOD
    assert read_head(GOOD.replace(*change)) is None


class NoTransport:
    """What aiohttp's parser needs of a connection."""

    _reading_paused = False
    transport = None

    def pause_reading(self) -> None: ...

    def resume_reading(self, **_: object) -> None: ...


def parsed(octets: bytes) -> Any:
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(
            NoTransport(),
            loop,
            2**16,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,  # type: ignore[arg-type]
        )
        messages, upgraded, _tail = parser.feed_data(octets)
        assert not upgraded
        return messages[0][0]
    finally:
        loop.close()


LINES = st.sampled_from([*ODD, b"Prefer: wait=1", b"X-A:b", b"X-A: b", b"x-a:    c d  e", b"X:", b"Accept: */*"])


@given(
    st.sampled_from([b"POST", b"GET", b"HEAD"]),
    st.from_regex(rb"/[A-Za-z0-9._:/%-]{0,20}(\?[A-Za-z0-9=&%+-]{1,10})?", fullmatch=True),
    st.lists(LINES, max_size=4),
    st.binary(max_size=6),
)
def test_what_is_plain_is_read_as_aiohttp_reads_it(
    method: bytes, target: bytes, lines: list[bytes], noise: bytes
) -> None:
    octets = GOOD if method == b"POST" else b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    _, _, rest = octets.partition(b" HTTP")
    head_lines = b"".join(line + b"\r\n" for line in lines) + (b"X-Noise: " + noise + b"\r\n" if noise else b"")
    octets = method + b" " + target + b" HTTP" + rest[:-2] + head_lines + b"\r\n"
    head = read_head(octets)
    if head is None:
        return
    message = parsed(octets + b" " * head.length)
    assert (message.method, message.path) == (head.method, head.path + (f"?{head.query}" if head.query else ""))
    assert {name.lower(): value for name, value in message.headers.items()} == head.headers
    assert not message.chunked
    assert not message.should_close
    assert int(message.headers.get("Content-Length", 0)) == head.length


@given(st.binary(max_size=300))
def test_no_octets_make_the_reader_fail(octets: bytes) -> None:
    read_head(octets + b"\r\n\r\n")
    read_head(GOOD[:-2] + octets + b"\r\n\r\n")
