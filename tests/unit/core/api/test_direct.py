"""The direct lane over a transport that only remembers: what is served, what is handed over, and when it closes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aisops_core.api.direct import AHEAD_BYTES, DirectConnection, DirectLane, Targets
from aisops_core.api.documents import JobDocument, WhoAmI
from aisops_core.api.jobs import SubmitBody
from aisops_core.api.metrics import Metrics
from aisops_core.api.operation import Call, Operation, Reply
from aisops_core.errors import Unauthenticated
from aisops_core.tenants.principal import Principal

BODY = b'{"capability":"a.b","input":{}}'


class Remembering:
    """A transport without a wire."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.aborted = self.reading_paused = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Others:
    """What a connection is handed to."""

    def __init__(self) -> None:
        self.got = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data


class World:
    """A lane with one connection; `gate` holds handlers up until it is set."""

    def __init__(self) -> None:
        self.principal: Principal | None = Principal("api", "t", "me", "admin", "tok")
        self.trusted = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[Call[Any, Any]] = []
        self.fails: Exception | None = None
        submit = Operation("POST", "/jobs", "operator", "submit", "", JobDocument, body=SubmitBody, body_bytes=100_000)
        who = Operation("GET", "/jobs/{job_id}", "viewer", "show", "", WhoAmI)
        targets = Targets([(submit, self._handle), (who, self._handle)], "/api/v1")

        async def refresh() -> None: ...

        self.metrics = Metrics("1", {}, refresh)
        self.lane = DirectLane(targets, self._authenticate, lambda _: self.trusted, self.metrics, tls=True)
        self.transport, self.others = Remembering(), Others()
        self.connection = DirectConnection(self.lane, lambda: self.others)  # type: ignore[arg-type, return-value]
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    async def _authenticate(self, token: str) -> Principal:
        if self.principal is None:
            raise Unauthenticated
        return self.principal

    async def _handle(self, call: Call[Any, Any]) -> Reply:
        self.calls.append(call)
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return Reply(f'{{"n":{len(self.calls)}}}', 200, {"Location": "/x"})

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.data_received(part)
            await settle()

    def answers(self) -> list[tuple[int, Any]]:
        """Status and document of every answer so far."""
        found, rest = [], self.transport.written
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            size = int(headers["Content-Length"])
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Strict-Transport-Security"]
            assert len(headers["X-Trace-Id"]) == 32
            found.append((int(lines[0].split()[1]), json.loads(rest[:size])))
            rest = rest[size:]
        return found


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def post(body: bytes = BODY, *lines: str, path: str = "/api/v1/jobs") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", "Authorization: Bearer t", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


GET = b"GET /api/v1/jobs/job_1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    world = World()
    await world.say(post(), GET, post() + post() + GET)
    assert world.answers() == [(200, {"n": n}) for n in range(1, 6)]
    assert world.calls[1].path == {"job_id": "job_1"}
    assert world.others.transport is None
    assert b"Location: /x\r\n" in world.transport.written


async def test_a_body_may_come_in_pieces() -> None:
    world = World()
    octets = post()
    end = octets.index(b"\r\n\r\n") + 4
    await world.say(octets[:end], *[octets[at : at + 5] for at in range(end, len(octets), 5)])
    assert world.answers() == [(200, {"n": 1})]


async def test_one_request_at_a_time_and_what_is_ahead_is_bounded() -> None:
    world = World()
    world.gate.clear()
    await world.say(post(), post(), b" " * AHEAD_BYTES)
    assert len(world.calls) == 1
    assert world.transport.reading_paused
    world.gate.set()
    await settle()
    assert len(world.calls) == 2
    assert not world.transport.reading_paused


@pytest.mark.parametrize(
    "octets",
    [
        post().replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(BODY, "Transfer-Encoding: chunked"),
        post(BODY, "Expect: 100-continue"),
        post(path="/api/v1/none"),
        post(path="/api/v1/jobs/job_1"),
        post(path="/api/v1//jobs"),
        GET.replace(b"job_1", b".."),
        GET.replace(b"/job_1", b"/job_1/"),
        b"GARBAGE\r\n\r\n",
        post()[:40],
        post(b"x" * 100_001)[:300],
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_whatever_else_is_handed_over_whole(octets: bytes) -> None:
    world = World()
    await world.say(post(), octets)
    assert world.answers() == [(200, {"n": 1})]
    assert world.others.got == octets
    assert world.transport.protocol is world.others
    assert not world.lane.connections


async def test_only_who_was_recognised_may_have_a_body_waited_for() -> None:
    world = World()
    world.trusted = False
    await world.say(post())
    assert world.answers() == [(200, {"n": 1})], "a whole request needs no trust"
    part = post()[:-5]
    await world.say(part)
    assert world.others.got == part


async def test_errors_are_problem_documents_and_the_connection_goes_on() -> None:
    world = World()
    await world.say(post(b"{"), post(b"[]"), GET.replace(b"job_1", b"a:b") + GET.replace(b"/job_1", b"/job_1?x=1"))
    assert [(status, body.get("code")) for status, body in world.answers()] == [
        (400, "malformed_json"), (422, "invalid_request"), (200, None), (400, "unknown_parameter"),
    ]  # fmt: skip
    world.fails = RuntimeError("s3cret")
    await world.say(post())
    assert world.answers()[-1][1]["code"] == "internal_error"
    assert b"s3cret" not in world.transport.written
    world.principal = None
    world.fails = None
    await world.say(post())
    assert world.answers()[-1][0] == 401
    assert not world.transport.closed


async def test_a_header_with_a_line_break_never_leaves() -> None:
    world = World()

    async def handle(call: Call[Any, Any]) -> Reply:
        return Reply("{}", 200, {"Location": "/x\r\nSet-Cookie: a=b"})

    handler: Callable[[Call[Any, Any]], Awaitable[Reply]] = handle
    for _, target in world.lane.targets._patterns["GET", 5]:
        target.handler = handler
    await world.say(GET)
    assert world.answers()[0][0] == 500
    assert b"Set-Cookie" not in world.transport.written


async def test_a_late_body_is_answered_and_the_connection_closed() -> None:
    world = World()
    await world.say(post()[:-5])
    assert not world.answers()
    world.connection._body_is_late()
    assert world.answers()[0][1]["code"] == "body_timeout"
    assert world.transport.closed
    assert b"Connection: close" in world.transport.written


async def test_a_caller_who_does_not_read_is_served_no_more_until_it_does() -> None:
    world = World()
    world.connection.pause_writing()
    await world.say(post())
    assert not world.calls
    world.connection.resume_writing()
    await settle()
    assert len(world.calls) == 1


async def test_a_caller_who_went_away_is_told_nothing() -> None:
    world = World()
    world.gate.clear()
    await world.say(post())
    world.connection.connection_lost(None)
    world.gate.set()
    await settle()
    assert not world.transport.written
    assert not world.lane.connections


async def test_stopping_answers_what_is_under_way_and_closes() -> None:
    world = World()
    world.gate.clear()
    await world.say(post())
    stopping = asyncio.create_task(world.lane.stop(3600))
    await settle()
    assert not world.transport.closed
    world.gate.set()
    await settle()
    assert b"Connection: close" in world.transport.written
    assert world.transport.closed
    world.connection.connection_lost(None)
    await stopping


async def test_stopping_closes_the_idle_and_cuts_the_stuck() -> None:
    idle = World()
    await idle.say(post())
    stopping = asyncio.create_task(idle.lane.stop(3600))
    await settle()
    assert idle.transport.closed
    idle.connection.connection_lost(None)
    await stopping
    stuck = World()
    stuck.gate.clear()
    await stuck.say(post())
    await stuck.lane.stop(0)
    assert stuck.transport.aborted


async def test_requests_are_counted_by_route() -> None:
    world = World()
    await world.say(post(), GET, GET)
    text = (await world.metrics.exposition())[0].decode()
    assert 'aisops_core_http_requests_total{method="GET",route="/api/v1/jobs/{job_id}",status="200"} 2.0' in text
