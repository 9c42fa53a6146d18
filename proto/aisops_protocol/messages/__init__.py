"""Everything that crosses the Core-Runner stream, as records: nobody changes them.

The rest of the product speaks these types; only `codec` knows their protobuf form. Units are in the field names
(`_ms` milliseconds, `_bytes` octets). Durations are durations: no absolute deadline crosses the wire, because clocks
differ; wall-clock fields (`*_unix_ms`) are for display only. JSON payloads are UTF-8 `bytes`, parsed once by whoever
needs them. Limits are in `limits`; `codec` enforces them on both sides of the wire.
"""

from __future__ import annotations

from aisops_protocol.messages.core import (
    Ack,
    Challenge,
    CoreBody,
    CoreGoodbye,
    CredentialOffer,
    Drain,
    Job,
    JobCancel,
    Ping,
    Pong,
    Rewind,
    Slow,
    Welcome,
)
from aisops_protocol.messages.frames import CoreEnvelope, CoreFrame, RunnerEnvelope, RunnerFrame
from aisops_protocol.messages.parts import (
    Capability,
    EpochStart,
    ExecutionInfo,
    HeldJob,
    JobError,
    JobVerdict,
    QueueStats,
)
from aisops_protocol.messages.runner import (
    CancelState,
    CredentialReply,
    Event,
    GapReport,
    Heartbeat,
    Hello,
    JobAccept,
    JobReject,
    JobResult,
    LogEvent,
    Proof,
    ResultChunk,
    RunnerBody,
    RunnerGoodbye,
    Skip,
)
from aisops_protocol.messages.vocabulary import (
    CancelMode,
    CancelPhase,
    EffectClass,
    JobPhase,
    LogLevel,
    MessageClass,
    RejectReason,
    ResultStatus,
    Verdict,
)

__all__ = [
    "EffectClass",
    "JobPhase",
    "ResultStatus",
    "RejectReason",
    "Verdict",
    "CancelMode",
    "CancelPhase",
    "LogLevel",
    "MessageClass",
    "Capability",
    "HeldJob",
    "EpochStart",
    "QueueStats",
    "JobVerdict",
    "JobError",
    "ExecutionInfo",
    "Hello",
    "Proof",
    "JobAccept",
    "JobReject",
    "JobResult",
    "ResultChunk",
    "LogEvent",
    "Event",
    "CancelState",
    "Heartbeat",
    "Skip",
    "GapReport",
    "CredentialReply",
    "RunnerGoodbye",
    "RunnerBody",
    "Challenge",
    "CredentialOffer",
    "Ack",
    "Welcome",
    "Job",
    "JobCancel",
    "Pong",
    "Ping",
    "Rewind",
    "Slow",
    "Drain",
    "CoreGoodbye",
    "CoreBody",
    "RunnerEnvelope",
    "CoreEnvelope",
    "RunnerFrame",
    "CoreFrame",
]
