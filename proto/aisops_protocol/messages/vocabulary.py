"""The words both ends choose from: effect classes, phases, results, reasons, verdicts, levels."""

from __future__ import annotations

from enum import IntEnum


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
