"""The one RPC, `Connect`, as a raw-bytes handler: authenticate, hand over to a `Stream`, end with a reason.

A `ServicerContext` is used inside its handler only and never stored: touching one after the handler returned kills the
process. Streams therefore get two functions, and the handler returns only after its stream's tasks have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
import structlog

from aisops_core.clock import Clock
from aisops_core.errors import CoreError, SessionRefused, Unauthenticated
from aisops_core.rpc.ending import Ending, from_error, unexpected
from aisops_core.rpc.flow import Flow, FlowTerms
from aisops_core.rpc.peer import Certificate, address_of, certificate_of, token_of
from aisops_core.rpc.ports import Credentials, PeerGone, Sessions
from aisops_core.rpc.stream import Stream
from aisops_core.rpc.timer import Timer
from aisops_core.tenants.principal import Principal
from aisops_protocol.codec import METHOD_PATH

log = structlog.get_logger("aisops_core.rpc")

ABORT_TIMEOUT_S = 5.0
HEAR_S = 1.0
"""So long a caller who will be refused may take to say something."""

Authenticate = Callable[[str], Awaitable[Principal]]
Context = grpc.aio.ServicerContext[Any, Any]


class Servicer(grpc.GenericRpcHandler):
    """Answers `Connect` and keeps the list of streams that are open."""

    def __init__(self, authenticate: Authenticate, credentials: Credentials, sessions: Sessions, clock: Clock) -> None:
        self._authenticate, self._credentials = authenticate, credentials
        self._sessions, self._clock = sessions, clock
        self._timer = Timer(clock)
        self._flow = Flow(FlowTerms(), self._pace_changed)
        self.streams: set[Stream] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self.streams_total = 0
        self.refused_total = 0
        self._handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._connect)

    @property
    def figures(self) -> Mapping[str, Callable[[], float]]:
        """Metric name to how its present value is read."""
        return {
            "runner_streams": lambda: len(self.streams),
            "runner_streams_begun_total": lambda: self.streams_total,
            "runner_streams_refused_total": lambda: self.refused_total,
            "ingest_held_bytes": lambda: self._flow.held_bytes,
            "ingest_pace": lambda: self._flow.look(self._clock.monotonic()),
            "ingest_slowdowns_total": lambda: self._flow.slowdowns,
        }

    def _pace_changed(self) -> None:
        """Every Runner learns its new window, also one that sends nothing now: it might send a whole window at once."""
        log.warning("Runners are held back" if self._flow.pace else "Runners may send freely again")
        for stream in self.streams:
            stream.regrant()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of `Connect`; gRPC answers UNIMPLEMENTED for everything else."""
        return self._handler if handler_call_details.method == METHOD_PATH else None

    async def _connect(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            why = await self._serve(context)
        except Exception as error:
            known = from_error(error)
            if known is None:
                log.exception("stream failed")
            why = known or unexpected()
            self.refused_total += 1
        log.info("stream ended", reason=why.code, orderly=why.orderly, peer=context.peer())
        await self._conclude(context, why)

    async def _serve(self, context: Context) -> Ending:
        certificate = certificate_of(context.auth_context())
        try:
            self._check(certificate)
            principal = await self._authenticate(token_of(_metadata(context)))
        except Exception:
            await _hear(context)
            raise
        stream = Stream(
            principal,
            self._sessions,
            read=_reader(context),
            write=_writer(context),
            timer=self._timer,
            clock=self._clock,
            flow=self._flow,
            peer=address_of(context.peer()),
        )
        log.info("stream begun", tenant_id=principal.tenant_id, runner_id=principal.subject_id, peer=context.peer())
        hold = self._credentials.hold(
            principal.token_id,
            _earliest(principal.expires_unix_ms, certificate.until_unix_ms if certificate else None),
            lambda: stream.refuse(self._what_was_lost(certificate)),
        )
        self.streams.add(stream)
        self.empty.clear()
        self.streams_total += 1
        try:
            return await stream.run()
        finally:
            self._credentials.release(hold)
            self.streams.discard(stream)
            if not self.streams:
                self.empty.set()

    def _check(self, certificate: Certificate | None) -> None:
        if certificate is not None:
            certificate.check(datetime.fromtimestamp(self._clock.unix_ms() / 1000, UTC))

    def _what_was_lost(self, certificate: Certificate | None) -> CoreError:
        try:
            self._check(certificate)
        except SessionRefused as error:
            return error
        return Unauthenticated()

    @staticmethod
    async def _conclude(context: Context, why: Ending) -> None:
        """End the RPC with its reason. A client that does not read may delay this for ever, hence the limit."""
        if context.done():
            return
        context.set_trailing_metadata(why.trailing_metadata())
        if why.orderly:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABORT_TIMEOUT_S):
                await context.abort(why.status, why.message)


async def _hear(context: Context) -> None:
    """Let a caller say something before it is refused: of an RPC ended before that, gRPC may lose the reason."""
    with contextlib.suppress(Exception):  # gone, or silent: it is refused all the same
        async with asyncio.timeout(HEAR_S):
            await context.read()


def _earliest(*moments: int | None) -> int | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _metadata(context: Context) -> list[tuple[str, str | bytes]]:
    return [(key, value) for key, value in context.invocation_metadata() or ()]


def _reader(context: Context) -> Callable[[], Awaitable[bytes | None]]:
    async def read() -> bytes | None:
        try:
            data = await context.read()
        except Exception as error:
            raise PeerGone from error
        return None if data is grpc.aio.EOF else data

    return read


def _writer(context: Context) -> Callable[[bytes], Awaitable[None]]:
    async def write(data: bytes) -> None:
        try:
            await context.write(data)
        except Exception as error:
            raise PeerGone from error

    return write
