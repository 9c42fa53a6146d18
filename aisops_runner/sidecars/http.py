"""A lean HTTP/1.1 client: one request at a time on a kept connection, its answer told by callbacks.

It does what a sidecar needs and no more: no redirects, no cookies, no proxy, no compression, no pipelining. Whoever
answers is foreign code, so headers are bounded here, and bodies by the `Reply` that takes them.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import httptools

CONNECT_S: Final = 2.0
IDLE_S: Final = 4.0
"""A kept connection is not used after so long: Node ends its own after five seconds."""
HEAD_BYTES: Final = 32 * 1024
"""So much may come without a part of the body: headers, and what may follow the last chunk."""
INTERIM_ANSWERS: Final = 8
CONNECTING: Final = 32
"""Connections opened at the same time: a listener's queue is short, and what it drops comes back after a second."""


class NotHttp(Exception):
    """The answer breaks HTTP, or is larger than agreed. `status` is 0 while it is not known."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class EndedEarly(NotHttp):
    """The connection ended within the answer."""


class Reply(ABC):
    """Takes one answer. Subclasses say what becomes of it; `done` is called once, last, unless it was abandoned.

    Attributes:
        sent: The request has been handed to a connection: it may have been carried out.
        status: HTTP status, once the head has come.
        content_type: The media type without parameters, in lower case.
        encoding: The content coding, in lower case; empty: none.
        length: Content-Length; None: not said.
    """

    def __init__(self) -> None:
        self.sent = False
        self.length: int | None = None
        self.forget_head()
        self.connection: Connection | None = None
        self.ended = False

    def forget_head(self) -> None:
        """An answer begins: what an interim one said is not said of it."""
        self.status = 0
        self.content_type = ""
        self.encoding = ""
        self.length = None

    @abstractmethod
    def headed(self) -> None:
        """The head has come.

        Raises:
            NotHttp: The answer is not wanted.
        """

    @abstractmethod
    def body(self, part: bytes) -> None:
        """A part of the body.

        Raises:
            NotHttp: The answer is not wanted.
        """

    @abstractmethod
    def done(self, failure: Exception | None) -> None:
        """The answer is complete (None), or will not be: NotHttp, or OSError when the connection failed or ended."""

    def abandon(self) -> None:
        """Nobody waits any more: the connection is dropped and nothing more is told."""
        self.ended = True
        if self.connection is not None:
            self.connection.drop()

    def finish(self, failure: Exception | None) -> None:
        """Tell `done`, once."""
        if not self.ended:
            self.ended = True
            self.done(failure)


class Connections:
    """The connections to one place; `close` ends every request under way.

    Args:
        port: Its TCP port.
        host: Its name or address; this machine by default.
        tls: How it is made sure that it is the right one; None: plain HTTP.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._port, self._host, self._tls = port, host, tls
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening: dict[asyncio.Task[None], Reply] = {}
        self._turns = asyncio.Semaphore(CONNECTING)
        self._sweep: asyncio.TimerHandle | None = None
        self.closed = False

    def send(self, request: bytes, reply: Reply) -> None:
        """Send a request on a kept connection, or on a new one; returns at once."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(self._loop.time() - IDLE_S):
                connection.start(request, reply)
                return
            connection.drop()
        task = self._loop.create_task(self._connect(request, reply))
        self._opening[task] = reply
        task.add_done_callback(self._opened)

    def close(self) -> None:
        """Close all connections; requests under way end at once."""
        self.closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for task, reply in list(self._opening.items()):
            task.cancel()
            reply.finish(ConnectionAbortedError("closed"))
        for connection in list(self._open):
            connection.drop(ConnectionAbortedError("closed"))

    def kept(self, connection: Connection) -> None:
        """A connection is free again."""
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_S, self._drop_old)

    def made(self, connection: Connection) -> None:
        """A connection was opened."""
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self, request: bytes, reply: Reply) -> None:
        async with self._turns:
            if reply.ended:
                return
            if self._idle:
                self.send(request, reply)
            else:
                await self._open_one(request, reply)

    async def _open_one(self, request: bytes, reply: Reply) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self), self._host, self._port, ssl=self._tls
                )
        except TimeoutError:
            reply.finish(ConnectionRefusedError("no connection in time"))
        except OSError as error:
            reply.finish(error)
        else:
            if reply.ended or self.closed:
                connection.drop()
            else:
                connection.start(request, reply)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def _drop_old(self) -> None:
        self._sweep = None
        oldest = self._loop.time() - IDLE_S
        for connection in [one for one in self._idle if not one.usable(oldest)]:
            self._idle.remove(connection)
            connection.drop()
        if self._idle:
            self._sweep = self._loop.call_later(IDLE_S, self._drop_old)


class Connection(asyncio.Protocol):
    """One connection; carries one request at a time."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool
        self._transport: Any = None
        self._parser: Any = None
        self._reply: Reply | None = None
        self._free_at = 0.0
        self._beside = 0
        self._interim = 0
        self._headed = False
        self._to_the_end = False
        self._complete = False
        self._keep = False
        self._failure: NotHttp | None = None

    # --- what the pool asks -------------------------------------------------------------------------------------------

    def usable(self, not_before: float) -> bool:
        """Whether another request may go: open, and free since `not_before` (the loop's time)."""
        return self._free_at >= not_before and not self._transport.is_closing()

    def start(self, request: bytes, reply: Reply) -> None:
        """Send a request."""
        self._reply = reply
        reply.connection = self
        self._parser = httptools.HttpResponseParser(self)
        self._beside = self._interim = 0
        self._headed = self._to_the_end = self._complete = False
        self._failure = None
        reply.sent = True
        self._transport.write(request)

    def drop(self, reason: Exception | None = None) -> None:
        """Close at once; a request under way ends with `reason`, when there is one."""
        reply, self._reply = self._reply, None
        if self._transport is not None:
            self._transport.abort()
        self._pool.lost(self)
        if reply is not None and reason is not None:
            reply.finish(reason)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport
        self._pool.made(self)

    def data_received(self, data: bytes) -> None:
        """Read a part of the answer; what nobody asked for ends the connection."""
        if self._reply is None:
            self.drop()
            return
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(NotHttp("it switches the protocol", 101))
        except httptools.HttpParserError as error:
            self._fail(self._failure or NotHttp(f"not HTTP ({type(error).__name__})"))
        else:
            self._look()

    def eof_received(self) -> None:
        """The peer writes no more: the end of an answer without a length."""
        if self._headed and self._to_the_end and self._failure is None:
            self._complete = True
            self._finish(keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, and with it what was under way."""
        self._pool.lost(self)
        reply, self._reply = self._reply, None
        if reply is None:
            return
        if self._headed:
            reply.finish(EndedEarly("it ended early", reply.status))
        else:
            reply.finish(exc if isinstance(exc, OSError) else ConnectionResetError("closed by the sidecar"))

    # --- what the parser says -----------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the headers that say how the body is to be read; what comes behind the body says nothing of it."""
        reply = self._reply
        if reply is None or self._headed:
            return
        lower = name.lower()
        if lower == b"content-type":
            reply.content_type = value.split(b";", 1)[0].strip().lower().decode("latin-1")
        elif lower == b"content-encoding":
            reply.encoding = value.strip().lower().decode("latin-1")
        elif lower == b"content-length":
            reply.length = int(value) if value.isdigit() and len(value) < 16 else -1
        elif lower == b"transfer-encoding":
            self._to_the_end = False

    def on_message_begin(self) -> None:
        """Another answer after the first is nothing anybody asked for, unless the first was an interim one."""
        if self._complete:
            self._failure = self._failure or NotHttp("more than one answer")
        elif self._reply is not None:
            self._reply.forget_head()
        self._to_the_end = True

    def on_headers_complete(self) -> None:
        """The head has come: an interim answer is passed over, any other told."""
        reply = self._reply
        if reply is None:
            return
        reply.status = self._parser.get_status_code()
        if 100 <= reply.status < 200 and reply.status != 101:
            self._interim += 1
            if self._interim > INTERIM_ANSWERS:
                self._failure = NotHttp("too many interim answers", reply.status)
            return
        self._headed = True
        self._to_the_end = self._to_the_end and reply.length is None
        self._guard(reply.headed)

    def on_body(self, part: bytes) -> None:
        """Hand a part of the body on."""
        self._beside = 0
        if self._reply is not None and self._failure is None:
            reply = self._reply
            self._guard(lambda: reply.body(part))

    def on_message_complete(self) -> None:
        """The answer is whole. Only now does the parser know whether the connection stays."""
        if self._headed:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _guard(self, step: Callable[[], None]) -> None:
        """Run a step of the reply; raised through the parser, its refusal would lose its kind."""
        try:
            step()
        except NotHttp as error:
            self._failure = self._failure or error

    def _look(self) -> None:
        """See how far the answer has come."""
        if self._failure is not None:
            self._fail(self._failure)
        elif self._complete:
            self._finish(keep=self._keep)
        elif self._beside > HEAD_BYTES:
            self._fail(NotHttp(f"more than {HEAD_BYTES} bytes of headers"))

    def _finish(self, *, keep: bool) -> None:
        reply, self._reply = self._reply, None
        if keep and not self._transport.is_closing() and not self._transport.get_write_buffer_size():
            self._free_at = asyncio.get_running_loop().time()
            self._pool.kept(self)
        else:
            self.drop()
        if reply is not None:
            reply.connection = None
            reply.finish(None)

    def _fail(self, error: NotHttp) -> None:
        if not error.status and self._reply is not None:
            error.status = self._reply.status
        self.drop(error)
