"""The conversation of Core and Runner without I/O: frames and time in, events and frames out.

    driver ── receive(frame, now) ──▶ session ── events ──▶ driver
    driver ── send…(), committed() ─▶ session ── frames() ─▶ driver writes
    driver ── tick(now) at next_deadline() ─▶ session

`states` holds the one transition table of both roles, `runner` and `core` the two ends, `events` what they tell.
A breach by the caller raises LocalProtocolError and changes nothing; a breach by the peer raises RemoteProtocolError
and ends the session. Any other exception is a bug.
"""

from __future__ import annotations

from aisops_protocol.session.core import CoreSession
from aisops_protocol.session.events import (
    Acked,
    CancelReceived,
    Challenged,
    CoreEvent,
    CredentialOffered,
    Delivered,
    DrainRequested,
    GoodbyeReceived,
    HeartbeatReceived,
    HelloReceived,
    Identity,
    JobReceived,
    PeerClosed,
    PingReceived,
    PongReceived,
    ProofReceived,
    RewindTo,
    RunnerEvent,
    Welcomed,
    Window,
)
from aisops_protocol.session.runner import RunnerSession
from aisops_protocol.session.states import TRANSITIONS, State, Step, diagram

__all__ = [
    "CoreSession",
    "RunnerSession",
    "Identity",
    "Window",
    "State",
    "Step",
    "TRANSITIONS",
    "diagram",
    # at the Runner
    "RunnerEvent",
    "Challenged",
    "Welcomed",
    "Acked",
    "RewindTo",
    "JobReceived",
    "CancelReceived",
    "PongReceived",
    "PingReceived",
    "DrainRequested",
    "CredentialOffered",
    "PeerClosed",
    # at Core
    "CoreEvent",
    "HelloReceived",
    "ProofReceived",
    "Delivered",
    "HeartbeatReceived",
    "GoodbyeReceived",
]
