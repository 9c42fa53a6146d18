"""What a Runner says to Core."""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from aisops_protocol.messages.parts import Capability, EpochStart, ExecutionInfo, HeldJob, JobError, QueueStats
from aisops_protocol.messages.vocabulary import CancelPhase, LogLevel, MessageClass, RejectReason, ResultStatus
from aisops_protocol.records import record


@record
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
    held_jobs_omitted: int = 0
    last_session_epoch: int = 0


@record
class Proof:
    """Answer to `Challenge`: signature by the Runner's certificate key."""

    signature: bytes


@record
class JobAccept:
    """The job is in the Runner's journal (fsync done); the outside effect may happen from here on. Durable."""

    job_id: str
    lease_id: bytes
    attempt: int


@record
class JobReject:
    """The Runner will not run the job. Durable; nothing was done outside."""

    job_id: str
    lease_id: bytes
    attempt: int
    reason: RejectReason
    message: str = ""


@record
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


@record
class ResultChunk:
    """One piece of an output above `RESULT_INLINE_BYTES`; the JobResult that follows carries the output's SHA-256."""

    job_id: str
    lease_id: bytes
    index: int
    count: int
    data: bytes
    sha256: bytes = b""


@record
class LogEvent:
    """One log line of a job (or of the Runner itself when `job_id` is empty). Durable, droppable under pressure."""

    level: LogLevel
    text: str
    time_unix_ms: int
    job_id: str = ""
    source: str = ""


@record
class Event:
    """Something that happened at the Runner (sidecar quarantined, policy refused…). Durable. `data` is JSON."""

    kind: str
    time_unix_ms: int
    data: bytes = b"{}"


@record
class CancelState:
    """What became of a JobCancel. Durable."""

    job_id: str
    lease_id: bytes
    phase: CancelPhase


@record
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


@record
class Skip:
    """Sequence numbers given up by the drop policy, so that the lane has no hole.

    Durable; occupies from..to, both included, and its envelope's `seq` is `to_seq`.
    """

    from_seq: int
    to_seq: int
    message_class: MessageClass
    count: int


@record
class GapReport:
    """Sequence numbers that can never be delivered (lost by damage or a rollback): shown to the operator. Durable."""

    from_seq: int
    to_seq: int
    reason: str


@record
class CredentialReply:
    """The Runner stored an offered credential (or says why not). Durable."""

    offer_id: str
    accepted: bool
    message: str = ""


@record
class RunnerGoodbye:
    """Last message of an orderly stop. Volatile."""

    reason: str
    unfinished: tuple[str, ...] = ()


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
