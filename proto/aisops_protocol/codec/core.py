"""Field rules of what Core sends. One entry per arm of CoreEnvelope.body; the keys are the arm names."""

from __future__ import annotations

from typing import Any, Final

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.codec.fields import (
    Shape,
    choice,
    count,
    flag,
    ident,
    key,
    many,
    octets,
    one,
    optional,
    pairs,
    signed,
    text,
    token,
)
from aisops_protocol.codec.parts import ACK, CREDENTIAL_OFFER, JOB_VERDICT

__all__ = ["CORE_ARMS"]

CORE_ARMS: Final[dict[str, Shape[Any]]] = {
    "challenge": Shape(m.Challenge, token("nonce", limits.NONCE_BYTES)),
    "welcome": Shape(
        m.Welcome,
        token("session_id"),
        count("session_epoch", limits.SEQ, least=1),
        token("core_epoch"),
        text("core_replica", limits.NAME_BYTES),
        count("protocol", limits.SEQ, least=1),
        count("clock_unix_ms", limits.UNIX_MS),
        one("ack_watermark", ACK),
        count("heartbeat_interval_ms", limits.DURATION_MS, least=1),
        count("lease_ms", limits.DURATION_MS, least=1),
        count("max_message_bytes", limits.SEQ, least=limits.FRAME_BYTES_MIN),
        count("max_inflight_messages", limits.WINDOW_MESSAGES, least=1),
        count("max_inflight_bytes", limits.WINDOW_BYTES, least=1),
        count("feature_bits", limits.SEQ),
        many("job_verdicts", JOB_VERDICT, limits.HELD_JOBS),
        optional("credential_offer", CREDENTIAL_OFFER),
        token("trust_bundle_hash", limits.HASH_BYTES, optional=True),
        flag("plugin_inventory_wanted"),
    ),
    "job": Shape(
        m.Job,
        ident("job_id"),
        token("lease_id"),
        count("attempt", limits.ATTEMPTS, least=1),
        ident("capability"),
        octets("input", limits.JOB_INPUT_BYTES),
        token("input_sha256", limits.HASH_BYTES),
        key("effect_key"),
        choice("effect_class", m.EffectClass),
        count("timeout_ms", limits.DURATION_MS, least=1),
        count("lease_ms", limits.DURATION_MS, least=1),
        count("start_by_ms", limits.DURATION_MS),
        signed("priority", limits.PRIORITY),
        ident("execution_id", optional=True),
        ident("step_id", optional=True),
        pairs("trace_context", limits.TRACE_HEADERS),
    ),
    "job_cancel": Shape(
        m.JobCancel,
        ident("job_id"),
        token("lease_id"),
        choice("mode", m.CancelMode),
        count("grace_ms", limits.DURATION_MS),
    ),
    "ack": ACK,
    "pong": Shape(m.Pong, count("clock_unix_ms", limits.UNIX_MS), count("echo_clock_unix_ms", limits.UNIX_MS)),
    "ping": Shape(m.Ping, count("nonce", limits.SEQ)),
    "rewind": Shape(m.Rewind, token("queue_epoch"), count("from_seq", limits.SEQ, least=1)),
    "slow": Shape(m.Slow, count("pause_ms", limits.DURATION_MS)),
    "drain": Shape(m.Drain, count("reconnect_after_ms", limits.DURATION_MS), text("reason", limits.REASON_BYTES)),
    "credential_offer": CREDENTIAL_OFFER,
    "core_goodbye": Shape(
        m.CoreGoodbye, ident("code"), text("message", limits.REASON_BYTES), count("retry_after_ms", limits.DURATION_MS)
    ),
}
