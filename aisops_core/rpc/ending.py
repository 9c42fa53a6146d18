"""Why a stream ends, and how that looks on the wire: the one table from error to gRPC status and `aisops-reason`.

No text of an unexpected exception ever leaves: the Runner is told INTERNAL, the cause is in Core's log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grpc import StatusCode

from aisops_core import errors
from aisops_protocol.errors import REASON_METADATA_KEY, RETRY_AFTER_METADATA_KEY, Code, ProtocolError, Refusal

INTERNAL = "INTERNAL"
STUCK = "STUCK"
FENCED = "FENCED"
STORAGE = "STORAGE_UNAVAILABLE"
SHUTDOWN = "SHUTDOWN"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ends. `code` is what CoreGoodbye and the trailing metadata say; `retry_after_ms` 0: no wish."""

    status: StatusCode
    code: str
    message: str
    retry_after_ms: int = 0

    @property
    def orderly(self) -> bool:
        """Whether both sides meant it to end."""
        return self.status is StatusCode.OK

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the machine-readable reason for the end of the RPC."""
        if self.orderly:
            return ()
        pause = ((RETRY_AFTER_METADATA_KEY, str(self.retry_after_ms)),) if self.retry_after_ms else ()
        return ((REASON_METADATA_KEY, self.code), *pause)


ORDERLY = Ending(StatusCode.OK, "GOODBYE", "The Runner ended the stream.")
GONE = Ending(StatusCode.UNAVAILABLE, "GONE", "The connection is gone.")

STATUS: Mapping[str, StatusCode] = {
    Code.INVALID: StatusCode.INVALID_ARGUMENT,
    Code.TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    Code.IDENTITY_MISMATCH: StatusCode.PERMISSION_DENIED,
    Code.UNEXPECTED_MESSAGE: StatusCode.INVALID_ARGUMENT,
    Code.UNSUPPORTED: StatusCode.UNIMPLEMENTED,
    Code.PROTOCOL_UNSUPPORTED: StatusCode.FAILED_PRECONDITION,
    Code.SEQ_GAP: StatusCode.ABORTED,
    Code.ACK_AHEAD: StatusCode.INVALID_ARGUMENT,
    Code.WINDOW_EXCEEDED: StatusCode.RESOURCE_EXHAUSTED,
    Code.HELLO_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    Code.PEER_SILENT: StatusCode.UNAVAILABLE,
    Refusal.UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
    Refusal.EXPIRED: StatusCode.UNAUTHENTICATED,
    Refusal.NOT_ACTIVE: StatusCode.UNAUTHENTICATED,
    Refusal.REVOKED: StatusCode.PERMISSION_DENIED,
    Refusal.BANNED: StatusCode.PERMISSION_DENIED,
    Refusal.NOT_ENROLLED: StatusCode.PERMISSION_DENIED,
    Refusal.GENERATION_STALE: StatusCode.PERMISSION_DENIED,
    Refusal.DUPLICATE_INSTANCE: StatusCode.ALREADY_EXISTS,
    Refusal.TENANT_SUSPENDED: StatusCode.PERMISSION_DENIED,
    Refusal.CLOCK_SKEW: StatusCode.FAILED_PRECONDITION,
    Refusal.OVERLOADED: StatusCode.UNAVAILABLE,
    FENCED: StatusCode.ABORTED,
    STORAGE: StatusCode.UNAVAILABLE,
    SHUTDOWN: StatusCode.UNAVAILABLE,
    STUCK: StatusCode.UNAVAILABLE,
    "DRAINING": StatusCode.UNAVAILABLE,
}


def ending(code: str, message: str, retry_after_ms: int = 0) -> Ending:
    """Return the ending for a code; a code without an entry ends ABORTED."""
    return Ending(STATUS.get(code, StatusCode.ABORTED), str(code), message, retry_after_ms)


def from_error(error: BaseException) -> Ending | None:
    """Return the ending for an expected error, or None for one nobody foresaw."""
    match error:
        case ProtocolError():
            return ending(error.code, error.message)
        case errors.SessionRefused():
            return ending(error.reason, error.message, error.retry_after_ms)
        case errors.Denied():
            return ending(Refusal.UNAUTHENTICATED, error.message)
        case errors.Fenced():
            return ending(FENCED, error.message)
        case errors.Unavailable():
            return ending(STORAGE, error.message, 1000)
        case errors.NotFound():
            return ending(Refusal.NOT_ENROLLED, error.message)
        case _:
            return None


def unexpected() -> Ending:
    """Return the ending for a bug: no cause is told."""
    return Ending(StatusCode.INTERNAL, INTERNAL, "Core failed; the cause is in its log.", 1000)
