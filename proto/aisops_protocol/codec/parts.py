"""Field rules of the messages that are parts of others, and of those both directions share."""

from __future__ import annotations

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.codec.fields import Shape, choice, count, flag, ident, octets, text, token

__all__ = [
    "ACK",
    "CAPABILITY",
    "CREDENTIAL_OFFER",
    "EPOCH_START",
    "EXECUTION_INFO",
    "HELD_JOB",
    "JOB_ERROR",
    "JOB_VERDICT",
    "QUEUE_STATS",
]

CAPABILITY = Shape(
    m.Capability,
    ident("name"),
    ident("plugin"),
    text("plugin_version", limits.NAME_BYTES),
    choice("effect_class", m.EffectClass),
    count("timeout_ms", limits.DURATION_MS, least=1),
    octets("input_schema", limits.SCHEMA_BYTES),
    text("description", limits.DESCRIPTION_BYTES),
)
HELD_JOB = Shape(
    m.HeldJob,
    ident("job_id"),
    token("lease_id"),
    count("attempt", limits.ATTEMPTS, least=1),
    choice("phase", m.JobPhase),
)
EPOCH_START = Shape(m.EpochStart, token("epoch"), count("start_seq", limits.SEQ, least=1))
QUEUE_STATS = Shape(
    m.QueueStats,
    count("messages", limits.SEQ),
    count("bytes", limits.SEQ),
    count("dropped", limits.SEQ),
    count("quarantined", limits.SEQ),
)
JOB_VERDICT = Shape(m.JobVerdict, ident("job_id"), choice("verdict", m.Verdict))
JOB_ERROR = Shape(
    m.JobError,
    text("code", limits.NAME_BYTES, least=1),
    text("message", limits.ERROR_MESSAGE_BYTES),
    flag("retryable"),
    flag("ambiguous"),
    count("retry_after_ms", limits.DURATION_MS),
    octets("details", limits.ERROR_DETAILS_BYTES),
)
EXECUTION_INFO = Shape(
    m.ExecutionInfo,
    ident("plugin", optional=True),
    text("plugin_version", limits.NAME_BYTES),
    count("sidecar_pid", limits.SEQ),
    count("calls", limits.SEQ),
    count("started_unix_ms", limits.UNIX_MS),
    count("duration_ms", limits.SEQ),
)
ACK = Shape(
    m.Ack,
    token("queue_epoch"),
    count("seq", limits.SEQ),
    count("max_inflight_messages", limits.WINDOW_MESSAGES),
    count("max_inflight_bytes", limits.WINDOW_BYTES),
)
CREDENTIAL_OFFER = Shape(
    m.CredentialOffer,
    ident("offer_id"),
    ident("kind"),
    octets("payload", limits.CREDENTIAL_BYTES, least=1),
    count("generation", limits.SEQ),
)
