"""What a session tells its driver. Frozen values; the driver acts on them, in order."""

from __future__ import annotations

from typing import TypeAlias

from aisops_protocol import messages as m
from aisops_protocol.records import record

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


@record
class Identity:
    """Whom a session is with: every frame of both directions must say the same."""

    tenant_id: str
    runner_id: str


@record
class Window:
    """How much durable may be sent now. `bytes` counts until the last message, which may overshoot."""

    messages: int
    bytes: int

    def __bool__(self) -> bool:
        return self.messages > 0 and self.bytes > 0


# --- at the Runner ----------------------------------------------------------------------------------------------------


@record
class Challenged:
    """Core wants a Proof: sign and `send_volatile(Proof(...))`."""

    challenge: m.Challenge


@record
class Welcomed:
    """The session is open: delete up to the watermark, apply the verdicts, send from the number after it."""

    welcome: m.Welcome


@record
class Acked:
    """Core has committed everything up to `seq` of the epoch: delete it."""

    queue_epoch: bytes
    seq: int


@record
class RewindTo:
    """Read the outbox again from `seq`, the next number to send."""

    seq: int


@record
class JobReceived:
    """Work. May be a repetition."""

    job: m.Job


@record
class CancelReceived:
    """Stop this job. May arrive before the job."""

    cancel: m.JobCancel


@record
class PongReceived:
    """A heartbeat came back: round trip, and Core's clock minus ours (positive: ours is slow). Seconds."""

    rtt_s: float
    skew_s: float


@record
class PingReceived:
    """Core asks for a heartbeat at once; `heartbeat_due` is true now."""

    nonce: int


@record
class DrainRequested:
    """Nothing durable may be sent any more: half-close when acknowledged, connect again after the pause."""

    drain: m.Drain


@record
class CredentialOffered:
    """A new credential to store and try."""

    offer: m.CredentialOffer


@record
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


@record
class HelloReceived:
    """A Runner introduces itself: check it, then `welcome` or `close`."""

    hello: m.Hello


@record
class ProofReceived:
    """The answer to a Challenge: verify, then `welcome` or `close`."""

    proof: m.Proof


@record
class Delivered:
    """New durable messages in order. Commit them together with the watermark `upto_seq`, then call `committed`.

    `envelopes` may be empty (messages of a newer version): the watermark must still be committed.
    """

    queue_epoch: bytes
    envelopes: tuple[m.RunnerEnvelope, ...]
    upto_seq: int


@record
class HeartbeatReceived:
    """The Runner lives: extend the leases it lists. The Pong is already queued."""

    heartbeat: m.Heartbeat


@record
class GoodbyeReceived:
    """The Runner stops in order."""

    goodbye: m.RunnerGoodbye


CoreEvent: TypeAlias = HelloReceived | ProofReceived | Delivered | HeartbeatReceived | GoodbyeReceived
