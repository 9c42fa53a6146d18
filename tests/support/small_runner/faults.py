"""The promises that the small runner can be told to break, one by one."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """What is wrong with it; NONE is a runner that keeps its promises."""

    NONE = "none"
    ACKS_IGNORED = "acks-ignored"
    CANCEL_FORGOTTEN = "cancel-forgotten"
    CRITICAL_IGNORED = "critical-ignored"
    DRAIN_IGNORED = "drain-ignored"
    DUPLICATE_RUNS = "duplicate-runs"
    EARLY_ROWS = "early-rows"
    EFFECT_FIRST = "effect-first"
    EPOCH_REUSED = "epoch-reused"
    FOREIGN_NAME = "foreign-name"
    HASH_MISSING = "hash-missing"
    KEY_PER_ATTEMPT = "key-per-attempt"
    LEFT_OUT_FORGOTTEN = "left-out-forgotten"
    LEFT_OUT_OVERCOUNTED = "left-out-overcounted"
    LEFT_OUT_UNCOUNTED = "left-out-uncounted"
    LISTED_BY_AGE = "listed-by-age"
    NO_UNCERTAIN = "no-uncertain"
    NUMBERS_RESTART = "numbers-restart"
    NUMBER_LEFT_OUT = "number-left-out"
    OLD_LEASE = "old-lease"
    OUTBOX_LOST = "outbox-lost"
    PING_IGNORED = "ping-ignored"
    RENAMED = "renamed"
    RESEND_IGNORED = "resend-ignored"
    RETRY_AFTER_IGNORED = "retry-after-ignored"
    REWIND_IGNORED = "rewind-ignored"
    SESSION_INVENTED = "session-invented"
    SESSION_LATE = "session-late"
    SESSION_UNNAMED = "session-unnamed"
    SILENT_END = "silent-end"
    TWO_STREAMS = "two-streams"
    VERDICT_IGNORED = "verdict-ignored"
    WINDOW_IGNORED = "window-ignored"
