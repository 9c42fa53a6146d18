"""Opens one gRPC stream to Core: TLS, proxy, keepalive, credential; raw frames in and out.

Every dial makes its own channel and connection, so that a renewed certificate or a moved Core is taken up, and a
half-dead connection is never used again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import grpc
import grpc.aio

from aisops_plugin_sdk.addresses import is_loopback
from aisops_protocol.codec import METHOD_PATH
from aisops_protocol.errors import REASON_METADATA_KEY, RETRY_AFTER_METADATA_KEY
from aisops_protocol.limits import FRAME_BYTES, KEEPALIVE_ANSWER_S, KEEPALIVE_S
from aisops_runner.errors import ConfigInvalid, UplinkLost
from aisops_runner.identity.credentials import RunnerToken
from aisops_runner.uplink import reasons
from aisops_runner.uplink.proxy import proxy_for

CONNECT_TIMEOUT_S: Final = 20.0

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", round(KEEPALIVE_ANSWER_S * 1000)),
    ("grpc.http2.ping_timeout_ms", round(KEEPALIVE_ANSWER_S * 1000)),  # or a keepalive ping may take a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),  # or megabytes gather in front of a peer that does not read
    ("grpc.use_local_subchannel_pool", 1),  # or a new channel inherits the old connection
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", FRAME_BYTES),
    ("grpc.max_receive_message_length", FRAME_BYTES),
)


class Stream(Protocol):
    """One open stream of frames."""

    async def read(self) -> bytes | None:
        """The next frame; None when Core ended the stream in order.

        Raises:
            UplinkLost: The stream failed or was refused.
        """
        ...

    async def write(self, frame: bytes) -> None:
        """Hand a frame to the transport.

        Raises:
            UplinkLost: The stream is gone.
        """
        ...

    async def half_close(self) -> None:
        """Say that nothing more will be written."""
        ...

    async def close(self) -> None:
        """Drop the stream and its connection."""
        ...


Dial = Callable[[], Awaitable[Stream]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Core is and how to trust it.

    Attributes:
        host: Name or address, without brackets.
        port: TCP port.
        plaintext: Without TLS: on loopback only, unless `allow_plaintext`.
        allow_plaintext: The operator accepts that tokens and jobs can be read on the way.
        ca: PEM of the CAs to trust instead of the system's; empty: the system's.
        certificate: PEM chain of the client certificate; empty: none.
        key: PEM of its key.
        proxy: `http://[user:password@]host:port`; empty: direct. Never shown.
        no_proxy: Exceptions from the proxy.
    """

    host: str
    port: int
    plaintext: bool = False
    allow_plaintext: bool = False
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    proxy: str = ""
    no_proxy: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.url})"

    @property
    def target(self) -> str:
        """`host:port`, as gRPC wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """For people: scheme, host and port, no credentials."""
        return f"{'http' if self.plaintext else 'https'}://{self.target}"

    @property
    def way_out(self) -> str:
        """The proxy that this endpoint is reached through, credentials included; empty: none."""
        return proxy_for(self.host, self.port, self.proxy, self.no_proxy)

    @property
    def described(self) -> str:
        """The address for messages, with the proxy on the way but not its credentials."""
        if not self.way_out:
            return self.url
        proxy = urlsplit(self.way_out)
        return f"{self.url} through the proxy {proxy.hostname}:{proxy.port or 80}"


class GrpcDialer:
    """Dials Core, again and again.

    Args:
        endpoint: Where.
        token: Returns the runner token to present, or None; asked at every dial, so a renewed one is taken up.

    Raises:
        ConfigInvalid: Plaintext off loopback without being asked for by name.
    """

    def __init__(self, endpoint: Endpoint, token: Callable[[], RunnerToken | None]) -> None:
        if endpoint.plaintext and not endpoint.allow_plaintext and not is_loopback(endpoint.host):
            raise ConfigInvalid(
                f"{endpoint.host} is not this machine and the connection would be plaintext; use https://, or set "
                "allow_plaintext = true to accept that tokens and jobs can be read on the way",
                key="core_endpoint",
            )
        self._endpoint = endpoint
        self._token = token

    async def __call__(self) -> Stream:
        """Open a stream; at most CONNECT_TIMEOUT_S.

        Raises:
            UplinkLost: With the reason and what to do about it.
        """
        opened = await self._open()
        if isinstance(opened, UplinkLost):
            raise opened
        return opened

    async def _open(self) -> Stream | UplinkLost:
        """Open a stream, or return the failure.

        Raised from here, the failure would keep the call alive through its traceback, and a channel with a call goes on
        dialling at gRPC's own pace, beside our back-off.
        """
        token = self._token()
        metadata = (("authorization", f"Bearer {token.reveal()}"),) if token is not None else ()
        channel = self._channel()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connect: Any = channel.stream_stream(METHOD_PATH)
                call = connect(metadata=metadata)
                await call.wait_for_connection()
        except TimeoutError:
            failure = reasons.transport("DEADLINE_EXCEEDED", "timed out", self._endpoint.described)
        except grpc.aio.AioRpcError as error:
            failure = lost(error, self._endpoint.described)
        except BaseException:
            await channel.close()
            raise
        else:
            return _GrpcStream(channel, call, self._endpoint.url)
        await channel.close()
        return failure

    def _channel(self) -> grpc.aio.Channel:
        end = self._endpoint
        options: list[tuple[str, Any]] = list(_OPTIONS)
        proxy = end.way_out
        options.append(("grpc.enable_http_proxy", 1 if proxy else 0))
        if proxy:
            options.append(("grpc.http_proxy", proxy))
        if end.plaintext:
            return grpc.aio.insecure_channel(end.target, options=options)
        credentials = grpc.ssl_channel_credentials(end.ca or None, end.key or None, end.certificate or None)
        return grpc.aio.secure_channel(end.target, credentials, options=options)


class _GrpcStream:
    def __init__(self, channel: grpc.aio.Channel, call: Any, url: str) -> None:
        self._channel = channel
        self._call = call
        self._url = url

    async def read(self) -> bytes | None:
        try:
            frame = await self._call.read()
            if isinstance(frame, bytes):
                return frame
            status = await self._call.code()
            if status is grpc.StatusCode.OK:
                return None
            details, trailing = await self._call.details(), await self._call.trailing_metadata()
            raise _lost(status.name, details, trailing, self._url)
        except grpc.aio.AioRpcError as error:
            raise lost(error, self._url) from None

    async def write(self, frame: bytes) -> None:
        try:
            await self._call.write(frame)
        except grpc.aio.AioRpcError as error:
            raise lost(error, self._url) from None
        except asyncio.InvalidStateError:
            raise UplinkLost(f"the stream to {self._url} has ended", reason="closed") from None

    async def half_close(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.done_writing()

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close()


def lost(error: grpc.aio.AioRpcError, url: str) -> UplinkLost:
    """The typed reason behind a gRPC error."""
    return _lost(error.code().name, error.details() or "", error.trailing_metadata(), url)


def _lost(status: str, details: str, trailing: Any, url: str) -> UplinkLost:
    metadata = {key: value for key, value in (trailing or ()) if isinstance(value, str)}
    reason = metadata.get(REASON_METADATA_KEY, "")
    if reason:
        after = metadata.get(RETRY_AFTER_METADATA_KEY, "")
        return reasons.refusal(reason[:64], details[:512], int(after) if after.isdecimal() and len(after) < 10 else 0)
    return reasons.transport(status, details[:512], url)
