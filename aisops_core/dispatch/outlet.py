"""How dispatch speaks to a connected Runner without knowing the transport: the stream's driver implements this."""

from __future__ import annotations

from typing import Protocol

from aisops_protocol.messages import CoreBody


class Outlet(Protocol):
    """The sending side of one session. Both methods return at once and never raise for a stream that has ended."""

    def send(self, *bodies: CoreBody) -> None:
        """Queue messages for the Runner, in order."""
        ...

    def close(self, code: str, message: str) -> None:
        """End the stream after what is queued, telling the Runner why."""
        ...
