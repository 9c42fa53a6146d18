"""Every number of the Core-Runner contract: sizes, counts and liveness times. Sizes are octets, times seconds.

`codec` refuses what is above a limit on both sides of the wire, so that an oversized message is found when it is
made (a 4 MiB gRPC message would kill the stream, again on every reconnect). Raising a limit is a compatible change
only behind a feature bit; lowering one is not compatible.
"""

from __future__ import annotations

from typing import Final

# --- version ----------------------------------------------------------------------------------------------------------

PROTOCOL_MIN: Final = 1
"""Oldest protocol version this code speaks."""
PROTOCOL_MAX: Final = 1
"""Newest protocol version this code speaks."""

FEATURE_SESSION_EPOCH: Final = 1
"""Feature bit of a Runner: each session epoch is on its disk before it says anything in that session."""

# --- frames -----------------------------------------------------------------------------------------------------------

FRAME_BYTES: Final = 4 * 1024 * 1024
"""One gRPC message: set explicitly as maximum send and receive size on both ends."""
ENVELOPE_BYTES: Final = 7 * 512 * 1024
"""One message with its envelope (3.5 MiB): checked when it is enqueued; the rest of the frame is head-room."""
FRAME_BYTES_MIN: Final = 64 * 1024
"""A peer may lower the frame size it takes (`max_message_bytes`), but not below this."""
FRAME_ENVELOPES: Final = 4096
"""Messages in one frame."""

# --- identifiers ------------------------------------------------------------------------------------------------------

ID_CHARS: Final = 128
ID_PATTERN: Final = r"[A-Za-z0-9._:-]{1,128}"
"""Tenant, runner, job, execution and step ids, capability and plugin names."""
TOKEN_BYTES: Final = 16
"""Lease, session, epoch, instance, journal and message ids: random octets."""
HASH_BYTES: Final = 32
"""SHA-256."""
EFFECT_KEY_CHARS: Final = 255
"""Visible ASCII, because it travels on as the HTTP header Idempotency-Key."""

# --- payloads ---------------------------------------------------------------------------------------------------------

JOB_INPUT_BYTES: Final = 1024 * 1024
RESULT_INLINE_BYTES: Final = 256 * 1024
"""Output inside a JobResult; more goes ahead of it in ResultChunks."""
RESULT_CHUNK_BYTES: Final = 256 * 1024
RESULT_CHUNKS: Final = 64
"""So an output is at most 16 MiB; above that it is truncated and marked."""
LOG_TEXT_BYTES: Final = 16 * 1024
EVENT_DATA_BYTES: Final = 64 * 1024
ERROR_MESSAGE_BYTES: Final = 16 * 1024
ERROR_DETAILS_BYTES: Final = 64 * 1024
SCHEMA_BYTES: Final = 64 * 1024
CREDENTIAL_BYTES: Final = 256 * 1024
SIGNATURE_BYTES: Final = 1024
NONCE_BYTES: Final = 32
DESCRIPTION_BYTES: Final = 4096
REASON_BYTES: Final = 1024
NAME_BYTES: Final = 256
"""Short free text: versions, operating system, source of a log line, error code, replica name."""
LABEL_BYTES: Final = 256
"""Key or value of a label or trace header."""

# --- counts -----------------------------------------------------------------------------------------------------------

LABELS: Final = 64
TRACE_HEADERS: Final = 8
CAPABILITIES: Final = 512
HELD_JOBS: Final = 8192
LEASES: Final = 8192
PREVIOUS_EPOCHS: Final = 16
"""Queue epochs Core remembers per Runner and a Runner names in its Hello."""
JOB_SLOTS: Final = 8192
ATTEMPTS: Final = 1_000_000
PRIORITY: Final = 1000
"""Job priority lies in -1000..1000; higher goes first."""
WINDOW_MESSAGES: Final = 65_536
WINDOW_BYTES: Final = 64 * 1024 * 1024
SEQ: Final = 2**63 - 1
"""Largest sequence number, epoch and counter: a signed 64-bit database column holds it."""
DURATION_MS: Final = 30 * 24 * 3600 * 1000
"""Longest duration anybody may ask for (30 days)."""
UNIX_MS: Final = 253_402_300_799_999
"""Largest wall-clock time (end of the year 9999), so that every date library can show it."""

# --- time -------------------------------------------------------------------------------------------------------------

HELLO_TIMEOUT_S: Final = 10.0
"""Each step of the handshake."""
SILENCE_S: Final = 45.0
"""Without any message for so long the peer is gone: three heartbeats."""
HEARTBEAT_S: Final = 15.0
HEARTBEAT_JITTER: Final = 0.2
"""Each Runner's interval is off by at most this fraction, so that thousands do not beat together."""
KEEPALIVE_S: Final = 18.0
"""A connection on which nothing was read for so long is asked by an HTTP/2 ping whether it still is one. Longer than a
heartbeat's usual interval, so that a healthy one is hardly ever asked."""
KEEPALIVE_ANSWER_S: Final = 10.0
"""So long the answer may take. Both together: a half-open connection is found within 28 s, at each end."""
SKEW_WARNING_S: Final = 60.0
SKEW_ERROR_S: Final = 300.0
"""Clocks further apart than this are reported, at both ends. Work goes on: nothing is timed by the other's clock."""
REWIND_S: Final = 10.0
"""A Runner asked to rewind must be back at the wanted number within this time."""
