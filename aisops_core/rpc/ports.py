"""What a stream needs of its neighbours: the wire below it, identity, and the dispatcher behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.records import OpenedSession, SessionRef
from aisops_core.identity.holds import Hold
from aisops_core.tenants.principal import Principal
from aisops_protocol.messages import Heartbeat, Hello, RunnerEnvelope

Read = Callable[[], Awaitable[bytes | None]]
"""Returns the next gRPC message, None at the end; raises PeerGone."""
Write = Callable[[bytes], Awaitable[None]]
"""Sends one gRPC message; raises PeerGone."""


class PeerGone(Exception):
    """The connection ended without a word."""


class Credentials(Protocol):
    """What the door needs of identity once a stream is open."""

    def hold(self, token_id: str, until_unix_ms: int | None, lost: Callable[[], None]) -> Hold:
        """Call `lost`, once, when the token is revoked or this moment (wall clock, ms) has come."""
        ...

    def release(self, hold: Hold) -> None:
        """The stream has ended."""
        ...


class Sessions(Protocol):
    """What a stream needs of the dispatcher."""

    async def open_session(self, principal: Principal, hello: Hello, outlet: Outlet) -> OpenedSession:
        """Admit a Runner or raise SessionRefused."""
        ...

    async def deliver(
        self, ref: SessionRef, queue_epoch: bytes, envelopes: Sequence[RunnerEnvelope], upto_seq: int
    ) -> None:
        """Commit durable messages together with their watermark, or raise Fenced."""
        ...

    def heartbeat(self, ref: SessionRef, heartbeat: Heartbeat) -> None:
        """Renew leases and presence soon, or raise Fenced."""
        ...

    async def close_session(self, ref: SessionRef, reason: str) -> None:
        """Forget a session."""
        ...
