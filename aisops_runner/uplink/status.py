"""The connection to Core as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class UplinkState(Enum):
    """Where the connection to Core stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    REFUSED = "refused"
    STOPPED = "stopped"


@dataclass(slots=True)
class UplinkStatus:
    """The connection as people see it. `since_unix_ms` is when `state` began."""

    endpoint: str
    state: UplinkState = UplinkState.CONNECTING
    since_unix_ms: int = 0
    session_id: str = ""
    rtt_ms: float = 0.0
    skew_ms: float = 0.0
    reconnects: int = 0
    last_error: str = ""
