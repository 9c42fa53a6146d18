"""The direct lane: plain requests to described operations, served without a framework between socket and operation.

Two thirds of what a small job cost in Core was aiohttp's request, routing and response machinery. A connection begins
here; as long as its requests are plain (see `plain`) and name an operation, they are served here. At the first one
that does not, the connection is handed to aiohttp for good, with every octet of that request, so that all else of HTTP
has one implementation. What a request means is decided by `exchange` for both.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, cast

import structlog

from aisops_core.api.exchange import (
    BODY_TIMEOUT_S,
    HSTS,
    JSON,
    SECURITY_HEADERS,
    Authenticate,
    Incoming,
    Outgoing,
    body_too_late,
    new_trace_id,
    perform,
    problem_of,
    refuse,
    token_of,
    trace_id_of,
)
from aisops_core.api.metrics import Metrics
from aisops_core.api.operation import BODY_BYTES, Handler, Operation
from aisops_core.api.plain import Head, read_head
from aisops_core.errors import Unauthenticated

HEADER_BYTES: Final = 8_190
KEEPALIVE_S: Final = 75.0
AHEAD_BYTES: Final = 256 * 1024
"""So much may arrive behind a request that is being served before its connection is not read any more."""
ACCESS: Final = "aisops_core.api.access"
log = structlog.get_logger(ACCESS)
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_END: Final = {False: "\r\n", True: "Connection: close\r\n\r\n"}
_ODD: Final = frozenset({"", ".", ".."})

Recognise = Callable[[str], bool]
"""Whether a token was found good a moment ago, without waiting."""


class Target:
    """An operation at its address."""

    __slots__ = ("handler", "operation", "route")

    def __init__(self, operation: Operation, handler: Handler, route: str) -> None:
        self.operation, self.handler, self.route = operation, handler, route


class Targets:
    """Finds the operation of a method and a path, as aiohttp's router would."""

    def __init__(self, routes: Sequence[tuple[Operation, Handler]], root: str) -> None:
        self._exact: dict[tuple[str, str], Target] = {}
        self._patterns: dict[tuple[str, int], list[tuple[list[str], Target]]] = {}
        for operation, handler in routes:
            route = root + operation.path
            target = Target(operation, handler, route)
            if "{" in route:
                parts = route.split("/")
                self._patterns.setdefault((operation.method, len(parts)), []).append((parts, target))
            else:
                self._exact[operation.method, route] = target

    def find(self, method: str, path: str) -> tuple[Target, Mapping[str, str]] | None:
        """Return the operation and the values of its path's `{name}` parts; None when there is none."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, {}
        parts = path.split("/")
        if not _ODD.isdisjoint(parts[1:]):
            return None
        for pattern, target in self._patterns.get((method, len(parts)), ()):
            named = {name[1:-1]: part for name, part in zip(pattern, parts, strict=True) if name[:1] == "{"}
            if all(name[:1] == "{" or name == part for name, part in zip(pattern, parts, strict=True)):
                return target, named
        return None


class DirectLane:
    """What every connection of the lane shares: targets, authentication, figures, and the server behind it.

    Args:
        targets: The operations served here.
        authenticate: Proves a token.
        recognise: Whether a token was found good a moment ago.
        metrics: Counts requests.
        keepalive_s: So long an idle connection stays open.
        tls: Whether answers say that TLS is to be insisted on.
    """

    def __init__(
        self,
        targets: Targets,
        authenticate: Authenticate,
        recognise: Recognise,
        metrics: Metrics,
        *,
        tls: bool,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        self.targets, self.authenticate, self.recognise = targets, authenticate, recognise
        self.metrics, self.keepalive_s = metrics, keepalive_s
        self.connections: set[DirectConnection] = set()
        self.stopping = False
        self._empty = asyncio.Event()
        shared = {**SECURITY_HEADERS, **({"Strict-Transport-Security": HSTS} if tls else {})}
        self._shared = "".join([f"{name}: {value}\r\n" for name, value in shared.items()])

    def octets(self, answer: Outgoing, trace_id: str, *, last: bool) -> bytes:
        """Return an answer as it goes over the wire.

        Raises:
            ValueError: A header holds a line break, which must never come out of an operation.
        """
        own = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
        if own.count("\n") != len(answer.headers) or own.count("\r") != len(answer.headers):
            raise ValueError("a header holds a line break")
        head = (
            f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nX-Trace-Id: {trace_id}\r\nDate: {_date(int(time.time()))}\r\n"
            f"{self._shared}{own}{_END[last]}"
        )
        return head.encode("latin-1") + answer.body

    def gone(self, connection: DirectConnection) -> None:
        """A connection has ended or was handed over."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def stop(self, patience_s: float) -> None:
        """Close idle connections, let requests in progress be answered for so many seconds, then cut."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.close_when_idle()
        if self.connections:
            self._empty.clear()
            try:
                async with asyncio.timeout(patience_s):
                    await self._empty.wait()
            except TimeoutError:
                for connection in tuple(self.connections):
                    connection.cut()


class DirectConnection(asyncio.Protocol):
    """One connection, one request at a time. `others` makes the handler it is handed to when it leaves the lane."""

    def __init__(self, lane: DirectLane, others: Callable[[], asyncio.Protocol]) -> None:
        self._lane, self._others = lane, others
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._head: tuple[Head, Target, Mapping[str, str]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._busy_at = self._loop.time()
        self._held_up = self._paused = self._said_all = False

    # --- the transport's side ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; a connection that never says anything is closed like an idle one."""
        self._transport = cast("asyncio.Transport", transport)
        self._lane.connections.add(self)
        self._idle_timer = self._loop.call_later(self._lane.keepalive_s, self._look_idle)

    def data_received(self, data: bytes) -> None:
        """Take octets in; serve what is whole."""
        self._got += data
        if self._task is None:
            self._advance()
        elif len(self._got) > AHEAD_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone. A request that is being served goes on; nobody hears its answer."""
        self._transport = None
        self._forget()

    def eof_received(self) -> bool:
        """The caller says no more, but may still listen: what it has asked is answered, and that is the end.

        TLS knows no such state: there it means that the caller has gone.
        """
        self._said_all = True
        plain = self._transport is not None and self._transport.get_extra_info("sslcontext") is None
        return plain and (self._task is not None or self._held_up)

    def pause_writing(self) -> None:
        """The caller does not read its answers: nothing more is served until it does."""
        self._held_up = True

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._held_up = False
        if self._task is None:
            self._advance()
            self._end_when_all_is_said()

    # --- serving ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Serve the next request if it is whole, wait for its rest, or hand the connection over."""
        transport = self._transport
        if not self._got or transport is None or transport.is_closing() or self._held_up:
            return
        if self._head is None and not self._begin():
            self._hand_over(transport)
        elif self._head is not None and len(self._got) >= self._head[0].length:
            head, target, path = self._head
            body = bytes(self._got[: head.length])
            del self._got[: head.length]
            self._head = None
            self._stop_body_timer()
            if self._paused:
                self._paused = False
                transport.resume_reading()
            self._task = self._loop.create_task(self._serve(head, target, path, body))

    def _begin(self) -> bool:
        """Read a head; false when the request is not one for this lane. Takes the head's octets only when it is."""
        end = self._got.find(b"\r\n\r\n", 0, HEADER_BYTES) + 4
        head = read_head(self._got[:end]) if end > 3 else None
        found = None if head is None else self._lane.targets.find(head.method, head.path)
        # A large body is left unread until there is room for it, which is for the other server to see to.
        if head is None or found is None or head.length > min(found[0].operation.body_bytes, BODY_BYTES):
            return False
        if len(self._got) < end + head.length:
            # Only who has shown a good token just now may have a large body waited for without being asked first.
            if not self._trusted(head):
                return False
            self._body_timer = self._loop.call_later(BODY_TIMEOUT_S, self._body_is_late)
        del self._got[:end]
        self._head = (head, *found)
        return True

    def _trusted(self, head: Head) -> bool:
        try:
            return self._lane.recognise(token_of(head.header("authorization")))
        except Unauthenticated:
            return False

    async def _serve(self, head: Head, target: Target, path: Mapping[str, str], body: bytes) -> None:
        begun = time.perf_counter()
        trace_id = trace_id_of(head.headers.get("traceparent", ""))

        async def whole(_most: int) -> bytes:
            return body

        incoming = Incoming(path, head.pairs(), JSON, head.header, whole)
        try:
            answer = await perform(incoming, target.operation, target.handler, self._lane.authenticate)
            octets = self._lane.octets(answer, trace_id, last=self._lane.stopping)
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it may reach the caller
            answer = refuse(problem_of(error, trace_id, head.method, target.route), trace_id)
            octets = self._lane.octets(answer, trace_id, last=self._lane.stopping)
        self._task = None
        self._told(octets)
        took = time.perf_counter() - begun
        self._lane.metrics.request(head.method, target.route, answer.status, took)
        if logging.getLogger(ACCESS).isEnabledFor(logging.DEBUG):
            log.debug(
                "request",
                method=head.method,
                route=target.route,
                status=answer.status,
                duration_ms=round(took * 1000, 1),
                trace_id=trace_id,
            )
        self._advance()
        self._end_when_all_is_said()

    def _end_when_all_is_said(self) -> None:
        if self._said_all and self._task is None and not self._held_up and self._transport is not None:
            self._transport.close()

    def _told(self, octets: bytes, *, last: bool = False) -> None:
        self._busy_at = self._loop.time()
        if self._transport is None:
            return
        self._transport.write(octets)
        if last or self._lane.stopping:
            self._transport.close()

    def _hand_over(self, transport: asyncio.Transport) -> None:
        """Give the connection to aiohttp with everything that has not been served."""
        got, self._got, self._transport = bytes(self._got), bytearray(), None
        self._forget()
        handler = self._others()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        if self._paused:
            transport.resume_reading()
        if self._held_up:
            handler.pause_writing()
        handler.data_received(got)

    # --- time and the end -------------------------------------------------------------------------------------------

    def _body_is_late(self) -> None:
        trace_id = new_trace_id()
        self._told(self._lane.octets(refuse(body_too_late(), trace_id), trace_id, last=True), last=True)

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _look_idle(self) -> None:
        left = self._busy_at + self._lane.keepalive_s - self._loop.time()
        if self._task is None and self._head is None and left <= 0:
            self.close_when_idle()
        else:
            self._idle_timer = self._loop.call_later(max(left, 1.0), self._look_idle)

    def close_when_idle(self) -> None:
        """Close now unless a request is being served; then its answer is the last."""
        if self._task is None and self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """End at once, whatever is under way."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self._stop_body_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._lane.gone(self)


@lru_cache(maxsize=4)
def _date(unix_s: int) -> str:
    return formatdate(unix_s, usegmt=True)
