"""What Core says to a Runner."""

from __future__ import annotations

from typing import TypeAlias

from aisops_protocol.messages.parts import JobVerdict
from aisops_protocol.messages.vocabulary import CancelMode, EffectClass
from aisops_protocol.records import record


@record
class Challenge:
    """Asks for a signature over the nonce, the Hello and Core's name (token-only and proxied set-ups)."""

    nonce: bytes


@record
class CredentialOffer:
    """A new credential, to be stored, tried on a new stream and only then kept."""

    offer_id: str
    kind: str
    payload: bytes
    generation: int = 0


@record
class Ack:
    """Everything up to `seq` of `queue_epoch` is committed by Core; the Runner may delete it."""

    queue_epoch: bytes
    seq: int
    max_inflight_messages: int = 0
    max_inflight_bytes: int = 0


@record
class Welcome:
    """Core's answer to Hello: the session, where the durable lane resumes, and the limits both sides keep."""

    session_id: bytes
    session_epoch: int
    core_epoch: bytes
    core_replica: str
    protocol: int
    clock_unix_ms: int
    ack_watermark: Ack
    heartbeat_interval_ms: int = 15_000
    lease_ms: int = 60_000
    max_message_bytes: int = 4_194_304
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 1_048_576
    feature_bits: int = 0
    job_verdicts: tuple[JobVerdict, ...] = ()
    credential_offer: CredentialOffer | None = None
    trust_bundle_hash: bytes = b""
    plugin_inventory_wanted: bool = False


@record
class Job:
    """One unit of work for one Runner under one lease. `input` is JSON; `effect_key` is the Idempotency-Key."""

    job_id: str
    lease_id: bytes
    attempt: int
    capability: str
    input: bytes
    input_sha256: bytes
    effect_key: str
    effect_class: EffectClass
    timeout_ms: int
    lease_ms: int = 60_000
    start_by_ms: int = 0
    priority: int = 0
    execution_id: str = ""
    step_id: str = ""
    trace_context: tuple[tuple[str, str], ...] = ()


@record
class JobCancel:
    """Stop this job. May overtake the job it names; the Runner remembers it for ten minutes."""

    job_id: str
    lease_id: bytes
    mode: CancelMode = CancelMode.REQUEST
    grace_ms: int = 10_000


@record
class Pong:
    """Answer to every volatile Heartbeat: Core's clock, and the Heartbeat's own, for round trip and skew."""

    clock_unix_ms: int
    echo_clock_unix_ms: int


@record
class Ping:
    """Are you there? Answered by a Heartbeat at once (used to tell a clone from a half-open stream)."""

    nonce: int = 0


@record
class Rewind:
    """Core saw a gap: send again from this sequence number (once; a second gap closes the stream)."""

    queue_epoch: bytes
    from_seq: int


@record
class Slow:
    """Core is over its budget: pause the durable lane."""

    pause_ms: int


@record
class Drain:
    """Finish sends in flight, half-close, and connect again after the given pause."""

    reconnect_after_ms: int
    reason: str = ""


@record
class CoreGoodbye:
    """Why Core ends the stream, before it does."""

    code: str
    message: str = ""
    retry_after_ms: int = 0


CoreBody: TypeAlias = (
    Challenge | Welcome | Job | JobCancel | Ack | Pong | Ping | Rewind | Slow | Drain | CredentialOffer | CoreGoodbye
)
