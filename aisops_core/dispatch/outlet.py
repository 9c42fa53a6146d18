"""How dispatch speaks to a connected Runner without knowing the transport: the stream's driver implements this."""

from __future__ import annotations

from typing import Protocol

from aisops_protocol.messages import CoreBody


class Outlet(Protocol):
    """The sending side of one session. The methods return at once and never raise for a stream that has ended."""

    @property
    def behind(self) -> bool:
        """Whether the Runner has not taken for a while what is being written for it."""
        ...

    @property
    def peer(self) -> str:
        """The address that the Runner calls from, as Core sees it; a proxy's where one is between. Empty: unknown."""
        ...

    def send(self, *bodies: CoreBody) -> None:
        """Queue messages for the Runner, in order."""
        ...

    def close(self, code: str, message: str) -> None:
        """End the stream after what is queued, telling the Runner why."""
        ...
