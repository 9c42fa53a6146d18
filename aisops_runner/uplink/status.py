"""The connection to Core as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from aisops_protocol.skew import ClockLevel


class UplinkState(Enum):
    """Where the connection to Core stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    REFUSED = "refused"
    STOPPED = "stopped"


@dataclass(slots=True)
class UplinkStatus:
    """The connection as people see it.

    `since_unix_ms` is when `state` began; `skew_ms` is how far Core's clock is ahead of this machine's, and `clock` how
    bad that is: ok, warning or error.
    """

    endpoint: str
    state: UplinkState = UplinkState.CONNECTING
    since_unix_ms: int = 0
    session_id: str = ""
    rtt_ms: float = 0.0
    skew_ms: float = 0.0
    clock: str = "ok"
    reconnects: int = 0
    last_error: str = ""

    def measured(self, rtt_s: float, skew_s: float, clock: ClockLevel) -> None:
        """A heartbeat came back."""
        self.rtt_ms, self.skew_ms = round(rtt_s * 1000, 3), round(skew_s * 1000, 3)
        self.clock = clock.name.lower()
