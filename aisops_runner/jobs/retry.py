"""What a finished call means for its job: the end, or another call later. Pure: chance and time are passed in."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from aisops_protocol.messages import EffectClass, ResultStatus
from aisops_protocol.records import record
from aisops_runner.adapters.calls import CallError, Outcome
from aisops_runner.backoff import full_jitter_s

MAX_CALLS = 5
FIRST_S = 0.5
CAP_S = 30.0
TIMEOUT_CODE = "timeout"
CANCELLED_CODE = "cancelled"
UNTAKEABLE_CODES = frozenset({"invalid_result", "result_too_large"})
"""The plugin ran and its answer breaks the contract: another call would have the same answer refused again."""


class StopReason(Enum):
    """Why the Runner itself ended a call."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"


@record
class Again:
    """Call again after `delay_s` seconds, under the same effect key."""

    delay_s: float


@record
class Ended:
    """The job is over."""

    status: ResultStatus
    error: CallError | None = None


def is_idempotent(effect: EffectClass) -> bool:
    """True when a second call does no harm; what is not said is taken for the careful class."""
    return effect is EffectClass.IDEMPOTENT


def judge(
    outcome: Outcome | None,
    *,
    effect: EffectClass,
    calls: int,
    remaining_s: float,
    stop: StopReason | None,
    draw: float,
) -> Again | Ended:
    """Rule on a call that ended.

    A call that succeeded counts, whatever was asked meanwhile: the effect is there. A call that may have had its effect
    is never made again when the capability is at-most-once; the job then ends UNCERTAIN for a person to decide.

    Args:
        outcome: What came of the call; None when the Runner cut it off.
        effect: The job's effect class.
        calls: Calls made so far, this one included.
        remaining_s: Seconds left of the job's timeout.
        stop: Why the Runner ended the call, if it did.
        draw: A random number in [0, 1).
    """
    if outcome is not None and outcome.ok:
        return Ended(ResultStatus.SUCCEEDED)
    error = _error_of(outcome, stop)
    may_have_happened = outcome is None or error.ambiguous
    unknown = may_have_happened and not is_idempotent(effect)
    if stop is StopReason.CANCEL:
        return Ended(ResultStatus.CANCELLED, _cancelled(error, ambiguous=unknown))
    if stop is StopReason.TIMEOUT or error.code == TIMEOUT_CODE or (remaining_s <= 0 and error.ambiguous):
        return _timed_out(error, unknown=unknown)
    if unknown:
        return Ended(ResultStatus.UNCERTAIN, error)
    if not _worth_another(error) or calls >= MAX_CALLS:
        return Ended(ResultStatus.FAILED, error)
    delay_s = max(error.retry_after_s, full_jitter_s(calls - 1, draw, first_s=FIRST_S, cap_s=CAP_S))
    if delay_s >= remaining_s:
        return Ended(ResultStatus.FAILED, error)
    return Again(delay_s)


def interrupted() -> Ended:
    """The end of an at-most-once job that was running when the Runner died."""
    return Ended(
        ResultStatus.UNCERTAIN,
        CallError(
            "interrupted", "the Runner was stopped while the call was under way; its effect is unknown", ambiguous=True
        ),
    )


def cancelled_before_call() -> Ended:
    """The end of a job cancelled before anything left the Runner."""
    return Ended(ResultStatus.CANCELLED, CallError(CANCELLED_CODE, "cancelled before any call was made"))


def start_expired() -> Ended:
    """The end of a job that found no free slot in the time it was given to start."""
    return Ended(ResultStatus.TIMED_OUT, CallError("start_expired", "no slot became free before the job had to start"))


def wait_expired() -> Ended:
    """The end of a job whose time ran out while it waited for a slot to be called again."""
    return Ended(
        ResultStatus.TIMED_OUT, CallError(TIMEOUT_CODE, "the job's time ran out before it could be called again")
    )


def _worth_another(error: CallError) -> bool:
    return (error.retryable or error.ambiguous) and error.code not in UNTAKEABLE_CODES


def _error_of(outcome: Outcome | None, stop: StopReason | None) -> CallError:
    if outcome is not None and outcome.error is not None:
        return outcome.error
    if outcome is not None:
        return CallError("adapter_failed", "the adapter reported a failure without a reason", ambiguous=True)
    if stop is StopReason.TIMEOUT:
        return CallError(TIMEOUT_CODE, "the call did not end within the job's timeout", ambiguous=True)
    return CallError(CANCELLED_CODE, "the call was cut off", ambiguous=True)


def _cancelled(error: CallError, *, ambiguous: bool) -> CallError:
    message = "cancelled while the call was under way"
    if ambiguous:
        message += "; its effect is unknown"
    elif error.code != CANCELLED_CODE:
        message += f"; it ended with {error.code}"
    return CallError(CANCELLED_CODE, message, ambiguous=ambiguous)


def _timed_out(error: CallError, *, unknown: bool) -> Ended:
    status = ResultStatus.UNCERTAIN if unknown else ResultStatus.TIMED_OUT
    return Ended(status, replace(error, code=TIMEOUT_CODE, ambiguous=unknown, retryable=False))
