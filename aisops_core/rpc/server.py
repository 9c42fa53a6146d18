"""The gRPC server: options that were measured to work, TLS from files, and an orderly stop."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog

from aisops_core.rpc.ending import SHUTDOWN
from aisops_core.rpc.servicer import Servicer
from aisops_protocol import limits

log = structlog.get_logger("aisops_core.rpc")

HOUR_MS = 3_600_000
DRAIN_REASON = "Core is stopping"
SPREAD_FLOOR_S = 1.0
SPREAD_PER_STREAM_S = 0.01
SPREAD_CEILING_S = 60.0

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", limits.FRAME_BYTES),
    ("grpc.max_send_message_length", limits.FRAME_BYTES),
    ("grpc.max_metadata_size", 4 * 1024),
    ("grpc.absolute_max_metadata_size", 8 * 1024),
    # Without this a Runner that does not read makes Core hold 4 MB for it instead of 50 kB.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.keepalive_time_ms", round(limits.KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", round(limits.KEEPALIVE_ANSWER_S * 1000)),
    # The one above alone is not kept: a ping then has a minute to be answered.
    ("grpc.http2.ping_timeout_ms", round(limits.KEEPALIVE_ANSWER_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The name with `min_recv_ping` in it is silently ignored.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 4 * HOUR_MS),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_concurrent_streams", 4),
    # Kept for every connection as long as it lives: 2 kB of buffer instead of 16, and no diary of its events.
    ("grpc.tsi.max_frame_size", 2048),
    ("grpc.enable_channelz", 0),
    # Two Cores on one port would silently share its Runners.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate chain, its key, and, for mutual TLS, the authority whose client certificates are admitted."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold now. Raises OSError."""
        roots = self.client_ca.read_bytes() if self.client_ca else None
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    def stamp(self) -> tuple[int, ...]:
        """Return the files' modification times (ns), which tell whether to read them again."""
        files = (self.certificate, self.key, self.client_ca)
        return tuple(file.stat().st_mtime_ns for file in files if file is not None)

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that take up renewed files with the next connection; open streams stay."""
        seen = self.stamp()

        def fetch() -> Any:  # None, which the stubs do not know, means unchanged
            nonlocal seen
            try:
                stamp = self.stamp()
                if stamp == seen:
                    return None
                renewed = self.read()
            except OSError as error:
                log.warning("certificate files cannot be read; the old ones stay", error=str(error))
                return None
            seen = stamp
            return renewed

        return grpc.dynamic_ssl_server_credentials(
            self.read(), fetch, require_client_authentication=self.client_ca is not None
        )


def spread_ms(streams: int, rng: random.Random) -> int:
    """Return how long one of `streams` Runners shall wait before it comes back, so that not all come at once."""
    widest_s = min(SPREAD_CEILING_S, SPREAD_FLOOR_S + streams * SPREAD_PER_STREAM_S)
    return round(rng.uniform(0, widest_s) * 1000)


class RpcServer:
    """Listens for Runners on one address."""

    def __init__(self, servicer: Servicer, address: str, tls: TlsFiles | None, rng: random.Random) -> None:
        self._servicer, self._address, self._tls, self._rng = servicer, address, tls, rng
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def listening(self) -> bool:
        """Whether Runners can connect."""
        return self._server is not None

    async def start(self) -> None:
        """Listen. Sets `port` to the real one. Raises OSError when the address or a TLS file cannot be had."""
        server = grpc.aio.server(handlers=[self._servicer], options=list(OPTIONS))
        try:
            if self._tls is None:
                self.port = server.add_insecure_port(self._address)
            else:
                self.port = server.add_secure_port(self._address, self._tls.credentials())
        except RuntimeError:
            raise OSError(
                f"cannot listen on {self._address} for gRPC: the address is in use or not this machine's"
            ) from None
        await server.start()
        self._server = server

    async def drain(self, patience_s: float) -> None:
        """Ask every Runner to finish and come back later; wait until all have gone, at most `patience_s` seconds."""
        streams = list(self._servicer.streams)
        for stream in streams:
            stream.drain(spread_ms(len(streams), self._rng), DRAIN_REASON)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._servicer.empty.wait()

    async def stop(self, grace_s: float) -> None:
        """Close what is still open, saying why, and stop listening; takes at most `grace_s` seconds."""
        server, self._server = self._server, None
        if server is None:
            return
        for stream in list(self._servicer.streams):
            stream.close(SHUTDOWN, DRAIN_REASON)
        await server.stop(grace_s)
