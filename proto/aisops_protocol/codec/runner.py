"""Field rules of what a Runner sends. One entry per arm of RunnerEnvelope.body; the keys are the arm names."""

from __future__ import annotations

from typing import Any, Final

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.codec.fields import (
    Invalid,
    Shape,
    choice,
    count,
    flag,
    ident,
    idents,
    many,
    octets,
    one,
    optional,
    pairs,
    text,
    token,
    tokens,
)
from aisops_protocol.codec.parts import CAPABILITY, EPOCH_START, EXECUTION_INFO, HELD_JOB, JOB_ERROR, QUEUE_STATS

__all__ = ["RUNNER_ARMS"]


def _numbers_fit(hello: m.Hello) -> None:
    """The sequence numbers of a Hello must be in order, or resuming would be guesswork."""
    if hello.protocol_max < hello.protocol_min:
        raise Invalid("is below protocol_min").under("protocol_max")
    if hello.next_seq < hello.epoch_start_seq:
        raise Invalid("is below epoch_start_seq").under("next_seq")
    if hello.oldest_unacked_seq > hello.next_seq:
        raise Invalid("is above next_seq").under("oldest_unacked_seq")
    starts = [epoch.start_seq for epoch in hello.previous_epochs]
    if sorted(starts) != starts or (starts and starts[-1] > hello.epoch_start_seq):
        raise Invalid("is not oldest first, up to epoch_start_seq").under("previous_epochs")
    if len({hello.queue_epoch, *(epoch.epoch for epoch in hello.previous_epochs)}) <= len(starts):
        raise Invalid("names an epoch twice").under("previous_epochs")


def _range_fits(message: m.Skip | m.GapReport) -> None:
    if message.to_seq < message.from_seq:
        raise Invalid("is below from_seq").under("to_seq")


def _piece_fits(chunk: m.ResultChunk) -> None:
    if chunk.index >= chunk.count:
        raise Invalid("is not below count").under("index")


RUNNER_ARMS: Final[dict[str, Shape[Any]]] = {
    "hello": Shape(
        m.Hello,
        count("protocol_min", limits.SEQ, least=1),
        count("protocol_max", limits.SEQ, least=1),
        token("instance_id"),
        text("boot_id", limits.NAME_BYTES),
        text("agent_version", limits.NAME_BYTES),
        text("os", limits.NAME_BYTES),
        text("arch", limits.NAME_BYTES),
        count("clock_unix_ms", limits.UNIX_MS),
        token("queue_epoch"),
        count("epoch_start_seq", limits.SEQ, least=1),
        count("next_seq", limits.SEQ, least=1),
        count("oldest_unacked_seq", limits.SEQ, least=1),
        token("journal_id"),
        many("previous_epochs", EPOCH_START, limits.PREVIOUS_EPOCHS),
        token("last_core_epoch", optional=True),
        count("credential_generation", limits.SEQ),
        token("cert_fingerprint", limits.HASH_BYTES, optional=True),
        pairs("labels", limits.LABELS),
        many("capabilities", CAPABILITY, limits.CAPABILITIES),
        count("feature_bits", limits.SEQ),
        count("max_message_bytes", limits.SEQ, least=limits.FRAME_BYTES_MIN),
        count("job_slots", limits.JOB_SLOTS),
        many("held_jobs", HELD_JOB, limits.HELD_JOBS),
        one("queue_stats", QUEUE_STATS),
        token("plugin_inventory_hash", limits.HASH_BYTES, optional=True),
        count("held_jobs_omitted", limits.SEQ),
        count("last_session_epoch", limits.SEQ),
        whole=_numbers_fit,
    ),
    "proof": Shape(m.Proof, octets("signature", limits.SIGNATURE_BYTES, least=1)),
    "job_accept": Shape(m.JobAccept, ident("job_id"), token("lease_id"), count("attempt", limits.ATTEMPTS, least=1)),
    "job_reject": Shape(
        m.JobReject,
        ident("job_id"),
        token("lease_id"),
        count("attempt", limits.ATTEMPTS, least=1),
        choice("reason", m.RejectReason),
        text("message", limits.ERROR_MESSAGE_BYTES),
    ),
    "job_result": Shape(
        m.JobResult,
        ident("job_id"),
        token("lease_id"),
        count("attempt", limits.ATTEMPTS, least=1),
        choice("status", m.ResultStatus),
        octets("output", limits.RESULT_INLINE_BYTES),
        optional("error", JOB_ERROR),
        one("execution", EXECUTION_INFO),
        flag("truncated"),
    ),
    "result_chunk": Shape(
        m.ResultChunk,
        ident("job_id"),
        token("lease_id"),
        count("index", limits.RESULT_CHUNKS - 1),
        count("count", limits.RESULT_CHUNKS, least=1),
        octets("data", limits.RESULT_CHUNK_BYTES, least=1),
        token("sha256", limits.HASH_BYTES, optional=True),
        whole=_piece_fits,
    ),
    "log_event": Shape(
        m.LogEvent,
        choice("level", m.LogLevel),
        text("text", limits.LOG_TEXT_BYTES),
        count("time_unix_ms", limits.UNIX_MS),
        ident("job_id", optional=True),
        text("source", limits.NAME_BYTES),
    ),
    "event": Shape(
        m.Event, ident("kind"), count("time_unix_ms", limits.UNIX_MS), octets("data", limits.EVENT_DATA_BYTES)
    ),
    "cancel_state": Shape(m.CancelState, ident("job_id"), token("lease_id"), choice("phase", m.CancelPhase)),
    "heartbeat": Shape(
        m.Heartbeat,
        count("clock_unix_ms", limits.UNIX_MS),
        count("core_ack", limits.SEQ),
        tokens("leases", limits.LEASES),
        count("free_slots", limits.JOB_SLOTS),
        one("queue_stats", QUEUE_STATS),
        count("offline_beats", limits.SEQ),
        count("offline_ms", limits.SEQ),
        flag("draining"),
        count("ping_nonce", limits.SEQ),
    ),
    "skip": Shape(
        m.Skip,
        count("from_seq", limits.SEQ, least=1),
        count("to_seq", limits.SEQ, least=1),
        choice("message_class", m.MessageClass),
        count("count", limits.SEQ),
        whole=_range_fits,
    ),
    "gap_report": Shape(
        m.GapReport,
        count("from_seq", limits.SEQ, least=1),
        count("to_seq", limits.SEQ, least=1),
        text("reason", limits.REASON_BYTES),
        whole=_range_fits,
    ),
    "credential_reply": Shape(
        m.CredentialReply, ident("offer_id"), flag("accepted"), text("message", limits.REASON_BYTES)
    ),
    "runner_goodbye": Shape(
        m.RunnerGoodbye, text("reason", limits.REASON_BYTES), idents("unfinished", limits.HELD_JOBS)
    ),
}
