"""Everything that crosses the Core-Runner stream, as frozen dataclasses.

The rest of the product speaks these types; only `codec` knows their protobuf form. Units are in the field names
(`_ms` milliseconds, `_bytes` octets). Durations are durations: no absolute deadline crosses the wire, because clocks
differ; wall-clock fields (`*_unix_ms`) are for display only. JSON payloads are UTF-8 `bytes`, parsed once by whoever
needs them. Limits are in `limits`; `codec` enforces them on both sides of the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

# --- vocabulary -------------------------------------------------------------------------------------------------------


class EffectClass(IntEnum):
    """What running a job a second time may do outside. UNSPECIFIED is read as AT_MOST_ONCE (the careful one)."""

    UNSPECIFIED = 0
    IDEMPOTENT = 1
    AT_MOST_ONCE = 2


class JobPhase(IntEnum):
    """How far a Runner's journal has got with a job."""

    UNSPECIFIED = 0
    ACCEPTED = 1
    STARTED = 2
    DONE = 3


class ResultStatus(IntEnum):
    """How a job ended at the Runner."""

    UNSPECIFIED = 0
    SUCCEEDED = 1
    FAILED = 2
    TIMED_OUT = 3
    CANCELLED = 4
    UNCERTAIN = 5


class RejectReason(IntEnum):
    """Why a Runner will not take a job."""

    UNSPECIFIED = 0
    BUSY = 1
    POLICY = 2
    UNKNOWN_CAPABILITY = 3
    SCHEMA = 4
    DRAINING = 5
    STORAGE = 6


class Verdict(IntEnum):
    """Core's answer to one job a Runner names in its Hello."""

    UNSPECIFIED = 0
    KEEP = 1
    CANCEL = 2
    RESEND_RESULT = 3


class CancelMode(IntEnum):
    """REQUEST asks the capability to stop; KILL ends its sidecar process after the grace period."""

    UNSPECIFIED = 0
    REQUEST = 1
    KILL = 2


class CancelPhase(IntEnum):
    """Where a cancellation stands at the Runner."""

    UNSPECIFIED = 0
    REQUESTED = 1
    STOPPED = 2
    TOO_LATE = 3
    REMEMBERED = 4


class LogLevel(IntEnum):
    """Severity of a log line, as in Python's logging and OpenTelemetry's base levels."""

    UNSPECIFIED = 0
    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4


class MessageClass(IntEnum):
    """What the outbox may do with a message under pressure (highest value goes first)."""

    UNSPECIFIED = 0
    NEVER_DROPPED = 1
    COALESCED = 2
    DROPPABLE = 3


# --- parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability a Runner offers, with what Core needs to validate, match and explain."""

    name: str
    plugin: str
    plugin_version: str
    effect_class: EffectClass = EffectClass.AT_MOST_ONCE
    timeout_ms: int = 30_000
    input_schema: bytes = b"{}"
    description: str = ""


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job in the Runner's journal that Core has not acknowledged as finished."""

    job_id: str
    lease_id: bytes
    attempt: int
    phase: JobPhase


@dataclass(frozen=True, slots=True)
class EpochStart:
    """A queue epoch (16 random octets, one per opening of the outbox) and the first sequence number under it.

    Lists of them are oldest first.
    """

    epoch: bytes
    start_seq: int


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Depth of the Runner's outbox."""

    messages: int = 0
    bytes: int = 0
    dropped: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class JobVerdict:
    """Core's ruling on one `HeldJob`."""

    job_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job did not succeed. `details` is a JSON array of {path, message}; never holds a secret."""

    code: str
    message: str
    retryable: bool = False
    ambiguous: bool = False
    retry_after_ms: int = 0
    details: bytes = b""


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """Who did the work, for people: plugin, its version, its sidecar's process id (0: built in), calls made."""

    plugin: str = ""
    plugin_version: str = ""
    sidecar_pid: int = 0
    calls: int = 0
    started_unix_ms: int = 0
    duration_ms: int = 0


# --- Runner to Core ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a stream: who the Runner is and what it still holds."""

    protocol_min: int
    protocol_max: int
    instance_id: bytes
    boot_id: str
    agent_version: str
    os: str
    arch: str
    clock_unix_ms: int
    queue_epoch: bytes
    epoch_start_seq: int
    next_seq: int
    oldest_unacked_seq: int
    journal_id: bytes
    previous_epochs: tuple[EpochStart, ...] = ()
    last_core_epoch: bytes = b""
    credential_generation: int = 0
    cert_fingerprint: bytes = b""
    labels: tuple[tuple[str, str], ...] = ()
    capabilities: tuple[Capability, ...] = ()
    feature_bits: int = 0
    max_message_bytes: int = 4_194_304
    job_slots: int = 16
    held_jobs: tuple[HeldJob, ...] = ()
    queue_stats: QueueStats = field(default_factory=QueueStats)
    plugin_inventory_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Proof:
    """Answer to `Challenge`: signature by the Runner's certificate key."""

    signature: bytes


@dataclass(frozen=True, slots=True)
class JobAccept:
    """The job is in the Runner's journal (fsync done); the outside effect may happen from here on. Durable."""

    job_id: str
    lease_id: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class JobReject:
    """The Runner will not run the job. Durable; nothing was done outside."""

    job_id: str
    lease_id: bytes
    attempt: int
    reason: RejectReason
    message: str = ""


@dataclass(frozen=True, slots=True)
class JobResult:
    """How the job ended. Durable, never dropped. `output` is JSON, at most `RESULT_INLINE_BYTES`."""

    job_id: str
    lease_id: bytes
    attempt: int
    status: ResultStatus
    output: bytes = b""
    error: JobError | None = None
    execution: ExecutionInfo = field(default_factory=ExecutionInfo)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class ResultChunk:
    """One piece of an output above `RESULT_INLINE_BYTES`; the JobResult that follows carries the output's SHA-256."""

    job_id: str
    lease_id: bytes
    index: int
    count: int
    data: bytes
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One log line of a job (or of the Runner itself when `job_id` is empty). Durable, droppable under pressure."""

    level: LogLevel
    text: str
    time_unix_ms: int
    job_id: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at the Runner (sidecar quarantined, policy refused…). Durable. `data` is JSON."""

    kind: str
    time_unix_ms: int
    data: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class CancelState:
    """What became of a JobCancel. Durable."""

    job_id: str
    lease_id: bytes
    phase: CancelPhase


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Proof of life and lease renewal. Volatile on the stream; while offline one coalesced row waits in the outbox.

    `offline_beats` > 0 marks that replayed row: so many beats could not be sent over `offline_ms`.
    The session fills `core_ack` and `ping_nonce` itself.
    """

    clock_unix_ms: int
    core_ack: int = 0
    leases: tuple[bytes, ...] = ()
    free_slots: int = 0
    queue_stats: QueueStats = field(default_factory=QueueStats)
    offline_beats: int = 0
    offline_ms: int = 0
    draining: bool = False
    ping_nonce: int = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """Sequence numbers given up by the drop policy, so that the lane has no hole.

    Durable; occupies from..to, both included, and its envelope's `seq` is `to_seq`.
    """

    from_seq: int
    to_seq: int
    message_class: MessageClass
    count: int


@dataclass(frozen=True, slots=True)
class GapReport:
    """Sequence numbers that can never be delivered (lost by damage or a rollback): shown to the operator. Durable."""

    from_seq: int
    to_seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class CredentialReply:
    """The Runner stored an offered credential (or says why not). Durable."""

    offer_id: str
    accepted: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunnerGoodbye:
    """Last message of an orderly stop. Volatile."""

    reason: str
    unfinished: tuple[str, ...] = ()


# --- Core to Runner ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Challenge:
    """Asks for a signature over the nonce, the Hello and Core's name (token-only and proxied set-ups)."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class CredentialOffer:
    """A new credential, to be stored, tried on a new stream and only then kept."""

    offer_id: str
    kind: str
    payload: bytes
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `seq` of `queue_epoch` is committed by Core; the Runner may delete it."""

    queue_epoch: bytes
    seq: int
    max_inflight_messages: int = 0
    max_inflight_bytes: int = 0


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class JobCancel:
    """Stop this job. May overtake the job it names; the Runner remembers it for ten minutes."""

    job_id: str
    lease_id: bytes
    mode: CancelMode = CancelMode.REQUEST
    grace_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to every volatile Heartbeat: Core's clock, and the Heartbeat's own, for round trip and skew."""

    clock_unix_ms: int
    echo_clock_unix_ms: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered by a Heartbeat at once (used to tell a clone from a half-open stream)."""

    nonce: int = 0


@dataclass(frozen=True, slots=True)
class Rewind:
    """Core saw a gap: send again from this sequence number (once; a second gap closes the stream)."""

    queue_epoch: bytes
    from_seq: int


@dataclass(frozen=True, slots=True)
class Slow:
    """Core is over its budget: pause the durable lane."""

    pause_ms: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish sends in flight, half-close, and connect again after the given pause."""

    reconnect_after_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CoreGoodbye:
    """Why Core ends the stream, before it does."""

    code: str
    message: str = ""
    retry_after_ms: int = 0


RunnerBody: TypeAlias = (
    Hello
    | Proof
    | JobAccept
    | JobReject
    | JobResult
    | ResultChunk
    | LogEvent
    | Event
    | CancelState
    | Heartbeat
    | Skip
    | GapReport
    | CredentialReply
    | RunnerGoodbye
)
CoreBody: TypeAlias = (
    Challenge | Welcome | Job | JobCancel | Ack | Pong | Ping | Rewind | Slow | Drain | CredentialOffer | CoreGoodbye
)

# --- frames -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunnerEnvelope:
    """One message in a frame. `seq` 0 is the volatile lane; above 0 the durable lane of the session's queue epoch.

    `body` is None for an arm this version does not know: count it and, unless `critical`, ignore it.
    `sealed` is the body in wire form when it is at hand (an outbox row, from `codec.encode_runner_body`): the codec
    then sends those octets as they are and `body` may be None. A Skip is never sealed: the session must see its range.
    """

    body: RunnerBody | None
    seq: int = 0
    message_id: bytes = b""
    critical: bool = False
    sealed: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class CoreEnvelope:
    """One message in a frame. `core_seq` counts from 1 (the Welcome) within the session; 0 before it."""

    body: CoreBody | None
    core_seq: int = 0
    critical: bool = False


@dataclass(frozen=True, slots=True)
class RunnerFrame:
    """One gRPC message from Runner to Core. Both ids are in every frame and are checked against the credential."""

    tenant_id: str
    runner_id: str
    envelopes: tuple[RunnerEnvelope, ...]
    session_id: bytes = b""


@dataclass(frozen=True, slots=True)
class CoreFrame:
    """One gRPC message from Core to Runner."""

    tenant_id: str
    runner_id: str
    envelopes: tuple[CoreEnvelope, ...]
    session_id: bytes = b""
