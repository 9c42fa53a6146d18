"""A Core that listens: a real gRPC server whose streams are `Line`s. The only module here that knows gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from aisops_protocol import limits
from aisops_protocol.codec import METHOD, SERVICE_NAME
from aisops_protocol.conformance.ledger import Ledger
from aisops_protocol.conformance.line import CUT, End, Line
from aisops_protocol.conformance.pulse import Pulse
from aisops_protocol.conformance.referee import TWO_SESSIONS, Breach
from aisops_protocol.session import Identity

__all__ = ["Core", "Tls"]

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", limits.FRAME_BYTES),
    ("grpc.max_send_message_length", limits.FRAME_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
_OVERLAP_S = 2.0
"""A runner's old stream may take so long to be seen as ended when its new one comes."""
_HEAR_S = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for a listener with TLS: certificate chain and key; with `client_ca`, runners must show a certificate."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """What gRPC needs. Raises OSError when a file cannot be read."""
        roots = self.client_ca.read_bytes() if self.client_ca else None
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], roots, require_client_auth=self.client_ca is not None)


class Core:
    """Listens on one address and keeps every stream that came.

    Attributes:
        lines: Every stream, in order.
        ledger: What was committed.
        refusal: How the next streams are refused before their Hello; None: they are not.
        epoch: Its core epoch; a check that restores it from a backup changes it.
        port: Where it listens.
        calls: When streams were opened, in monotonic seconds, refused ones included.
    """

    def __init__(self, identity: Identity, pulse: Pulse, *, address: str, tls: Tls | None = None) -> None:
        self.identity = identity
        self.lines: list[Line] = []
        self.ledger = Ledger()
        self.refusal: End | None = None
        self.epoch = hashlib.sha256(b"core").digest()[:16]
        self.port = 0
        self.calls: list[float] = []
        self._pulse, self._address, self._tls = pulse, address, tls
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen. Sets `port`. Raises OSError when the address or a TLS file cannot be had."""
        server = grpc.aio.server(options=list(_OPTIONS))
        handler: Any = grpc.stream_stream_rpc_method_handler(self._connect)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, {METHOD: handler}),))
        host, _, port = self._address.rpartition(":")
        address = f"{host}:{self.port or port}"
        try:
            if self._tls is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self._tls.credentials())
        except RuntimeError:
            raise OSError(f"cannot listen on {address}: it is in use, or not this machine's") from None
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Cut every stream and stop listening; `start` listens on the same port again."""
        for line in self.lines:
            line.end(CUT)
        if self._server is not None:
            await self._server.stop(0.2)
            self._server = None

    async def _connect(self, _requests: object, context: Context) -> None:
        self.calls.append(time.monotonic())
        if self.refusal is not None:
            refusal = self.refusal
            self._pulse.beat()
            await _hear(context)
            await _conclude(context, refusal)
            return
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        line = Line(self.identity, self._pulse, self.ledger, metadata)
        if not await self._pulse.until(self._alone, _OVERLAP_S):
            line.breaches.append(Breach(TWO_SESSIONS, "a second stream while the first is open"))
        self.lines.append(line)
        self._pulse.beat()
        try:
            await _conclude(context, await self._carry(line, context))
        finally:
            line.closed()

    def _alone(self) -> bool:
        """Whether every stream so far has ended; that the runner has left one may take a moment to be seen."""
        return all(line.over_at for line in self.lines)

    @staticmethod
    async def _carry(line: Line, context: Context) -> End:
        async def read() -> bytes | None:
            data = await context.read()
            if data is grpc.aio.EOF:
                if context.cancelled():
                    raise ConnectionError
                return None
            return bytes(data)

        return await line.carry(read, context.write)


async def _hear(context: Context) -> None:
    """Let a runner say something before it is refused: of an RPC ended before that, gRPC may lose the reason."""
    with contextlib.suppress(Exception):  # gone, or silent: it is refused all the same
        async with asyncio.timeout(_HEAR_S):
            await context.read()


async def _conclude(context: Context, end: End) -> None:
    context.set_trailing_metadata(end.trailing)
    if end.status != "OK" and not context.done():
        await context.abort(grpc.StatusCode[end.status], end.text, end.trailing)
