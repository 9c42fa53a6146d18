"""Errors of the Core-Runner contract, and the stable words that travel with them.

    ProtocolError
    ├── LocalProtocolError    our own side broke the rules: a bug here, never sent to the peer
    └── RemoteProtocolError   the peer broke the rules: close the stream, say the code, audit it

Any other exception out of this package is a bug. Imports nothing of ours.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "REASON_METADATA_KEY",
    "RETRY_AFTER_METADATA_KEY",
    "Code",
    "LocalProtocolError",
    "ProtocolError",
    "Refusal",
    "RemoteProtocolError",
]

REASON_METADATA_KEY = "aisops-reason"
"""Trailing metadata key that carries a `Refusal` when Core ends the RPC instead of saying Welcome."""

RETRY_AFTER_METADATA_KEY = "aisops-retry-after-ms"
"""Trailing metadata key: milliseconds the Runner must wait before it tries again (decimal)."""


class Code(StrEnum):
    """Why a session ended or a message was refused. Also the `code` of CoreGoodbye; values never change."""

    INVALID = "INVALID"
    TOO_LARGE = "TOO_LARGE"
    IDENTITY_MISMATCH = "IDENTITY_MISMATCH"
    UNEXPECTED_MESSAGE = "UNEXPECTED_MESSAGE"
    UNSUPPORTED = "UNSUPPORTED"
    PROTOCOL_UNSUPPORTED = "PROTOCOL_UNSUPPORTED"
    SEQ_GAP = "SEQ_GAP"
    ACK_AHEAD = "ACK_AHEAD"
    WINDOW_EXCEEDED = "WINDOW_EXCEEDED"
    HELLO_TIMEOUT = "HELLO_TIMEOUT"
    PEER_SILENT = "PEER_SILENT"


class Refusal(StrEnum):
    """Why Core will not open a session; the value of `aisops-reason`. Values never change."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    EXPIRED = "EXPIRED"
    NOT_ACTIVE = "NOT_ACTIVE"
    REVOKED = "REVOKED"
    BANNED = "BANNED"
    NOT_ENROLLED = "NOT_ENROLLED"
    GENERATION_STALE = "GENERATION_STALE"
    DUPLICATE_INSTANCE = "DUPLICATE_INSTANCE"
    TENANT_SUSPENDED = "TENANT_SUSPENDED"
    PROTOCOL_UNSUPPORTED = "PROTOCOL_UNSUPPORTED"
    CLOCK_SKEW = "CLOCK_SKEW"
    OVERLOADED = "OVERLOADED"


class ProtocolError(Exception):
    """The contract was broken.

    Attributes:
        code: One of `Code`, as text; stable across versions.
        message: What happened, for people. Never holds payload content or a secret.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = str(code)
        self.message = message

    def diagnostics(self) -> dict[str, str]:
        """The facts for a structured log line."""
        return {"error": type(self).__name__, "code": self.code, "message": self.message}


class LocalProtocolError(ProtocolError):
    """Our side tried to do what the contract forbids (wrong state, hole in the numbers, oversized message)."""


class RemoteProtocolError(ProtocolError):
    """The peer did what the contract forbids. The session is over; `code` is what it is told."""
