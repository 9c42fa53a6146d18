"""A plugin that runs elsewhere and is reached by its URL: nothing is started or ended, it only answers or does not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aisops_runner.clock import Clock
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.calling import SignedHttp, object_of
from aisops_runner.sidecars.http import Connections


class Elsewhere:
    """Stands where the process would."""

    pid = 0

    def __init__(self) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def exit_reason(self) -> str:
        """Never asked: it does not exit."""
        return ""

    async def wait_exit(self, timeout_s: float) -> None:
        """It does not exit."""

    def tell_dropped(self) -> None:
        """It writes no logs here."""

    async def stop(self, shutdown: Callable[[], Awaitable[bool]], *, drain_s: float) -> None:
        """Let the calls under way end."""
        await shutdown()

    async def kill(self) -> None:
        """It is not ours to end."""


def open_http(url: str, token: str, clock: Clock) -> tuple[SignedHttp, str]:
    """The way to a plugin, and what stands before every path there.

    Args:
        url: `https://host:port/prefix` or `http://…`; certificates are checked against the system's authorities
            (`SSL_CERT_FILE` is honoured).
        token: Signs every call.
        clock: For timestamps.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    connections = Connections(port, host, ssl.create_default_context() if secure else None)
    return SignedHttp(connections, parts.netloc.rpartition("@")[2], token, clock), parts.path.rstrip("/")


async def probe(http: SignedHttp, prefix: str, url: str) -> dict[str, Any]:
    """Ask a plugin who it is.

    Raises:
        SidecarStartFailed: It cannot be reached, or does not answer as a plugin does.
    """
    reply, failure = await http.exchange("POST", f"{prefix}/probe", signed=False)
    if failure is not None:
        raise SidecarStartFailed(f"does not answer at {url}: {_why(failure)}")
    document = object_of(reply.content)
    if document is None or document.get("ok") is not True:
        text = f"what answers at {url} is no plugin: POST /probe gave HTTP {reply.status}, and no JSON with ok"
        raise SidecarStartFailed(text)
    return document


def _why(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({failure.verify_message}); name its authority in SSL_CERT_FILE"
    if isinstance(failure, ssl.SSLError):
        return f"no TLS there ({failure.reason})"
    return str(getattr(failure, "strerror", None) or failure)[:200]
