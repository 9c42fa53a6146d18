"""What a session tells its driver. Frozen values; the driver acts on them, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from aisops_protocol import messages as m

__all__ = [
    "Acked",
    "CancelReceived",
    "Challenged",
    "CoreEvent",
    "CredentialOffered",
    "Delivered",
    "DrainRequested",
    "GoodbyeReceived",
    "HeartbeatReceived",
    "HelloReceived",
    "Identity",
    "JobReceived",
    "PeerClosed",
    "PingReceived",
    "PongReceived",
    "ProofReceived",
    "RewindTo",
    "RunnerEvent",
    "Welcomed",
    "Window",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a session is with: every frame of both directions must say the same."""

    tenant_id: str
    runner_id: str


@dataclass(frozen=True, slots=True)
class Window:
    """How much durable may be sent now. `bytes` counts until the last message, which may overshoot."""

    messages: int
    bytes: int

    def __bool__(self) -> bool:
        return self.messages > 0 and self.bytes > 0


# --- at the Runner ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Challenged:
    """Core wants a Proof: sign and `send_volatile(Proof(...))`."""

    challenge: m.Challenge


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The session is open: delete up to the watermark, apply the verdicts, send from the number after it."""

    welcome: m.Welcome


@dataclass(frozen=True, slots=True)
class Acked:
    """Core has committed everything up to `seq` of the epoch: delete it."""

    queue_epoch: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class RewindTo:
    """Read the outbox again from `seq`, the next number to send."""

    seq: int


@dataclass(frozen=True, slots=True)
class JobReceived:
    """Work. May be a repetition."""

    job: m.Job


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """Stop this job. May arrive before the job."""

    cancel: m.JobCancel


@dataclass(frozen=True, slots=True)
class PongReceived:
    """A heartbeat came back: round trip, and Core's clock minus ours (positive: ours is slow). Seconds."""

    rtt_s: float
    skew_s: float


@dataclass(frozen=True, slots=True)
class PingReceived:
    """Core asks for a heartbeat at once; `heartbeat_due` is true now."""

    nonce: int


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Nothing durable may be sent any more: half-close when acknowledged, connect again after the pause."""

    drain: m.Drain


@dataclass(frozen=True, slots=True)
class CredentialOffered:
    """A new credential to store and try."""

    offer: m.CredentialOffer


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """Core ends the session and says why; wait `retry_after_ms` (0: the usual back-off) before connecting."""

    code: str
    message: str
    retry_after_ms: int


RunnerEvent: TypeAlias = (
    Challenged
    | Welcomed
    | Acked
    | RewindTo
    | JobReceived
    | CancelReceived
    | PongReceived
    | PingReceived
    | DrainRequested
    | CredentialOffered
    | PeerClosed
)

# --- at Core ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """A Runner introduces itself: check it, then `welcome` or `close`."""

    hello: m.Hello


@dataclass(frozen=True, slots=True)
class ProofReceived:
    """The answer to a Challenge: verify, then `welcome` or `close`."""

    proof: m.Proof


@dataclass(frozen=True, slots=True)
class Delivered:
    """New durable messages in order. Commit them together with the watermark `upto_seq`, then call `committed`.

    `envelopes` may be empty (messages of a newer version): the watermark must still be committed.
    """

    queue_epoch: bytes
    envelopes: tuple[m.RunnerEnvelope, ...]
    upto_seq: int


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """The Runner lives: extend the leases it lists. The Pong is already queued."""

    heartbeat: m.Heartbeat


@dataclass(frozen=True, slots=True)
class GoodbyeReceived:
    """The Runner stops in order."""

    goodbye: m.RunnerGoodbye


CoreEvent: TypeAlias = HelloReceived | ProofReceived | Delivered | HeartbeatReceived | GoodbyeReceived
