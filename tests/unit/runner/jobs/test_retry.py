"""What a finished call means for its job."""

from __future__ import annotations

import pytest

from aisops_protocol.messages import EffectClass, ResultStatus
from aisops_runner.adapters.calls import CallError, Outcome
from aisops_runner.jobs.retry import Again, Ended, StopReason, judge

IDEMPOTENT, ONCE = EffectClass.IDEMPOTENT, EffectClass.AT_MOST_ONCE


def failed(**fields) -> Outcome:
    return Outcome(ok=False, error=CallError("busy", "try later", **fields))


def rule(outcome, *, effect=IDEMPOTENT, calls=1, remaining_s=30.0, stop=None, draw=0.5):
    return judge(outcome, effect=effect, calls=calls, remaining_s=remaining_s, stop=stop, draw=draw)


@pytest.mark.parametrize("stop", [None, StopReason.CANCEL, StopReason.TIMEOUT])
def test_a_call_that_succeeded_counts_whatever_was_asked_meanwhile(stop):
    assert rule(Outcome(ok=True), stop=stop) == Ended(ResultStatus.SUCCEEDED)


def test_a_plain_failure_is_final():
    assert rule(failed()) == Ended(ResultStatus.FAILED, failed().error)


def test_a_retryable_failure_is_called_again_after_a_jittered_wait():
    assert rule(failed(retryable=True), calls=2, draw=0.5) == Again(0.5)


def test_the_providers_wish_to_wait_is_honoured():
    assert rule(failed(retryable=True, retry_after_s=7.0)) == Again(7.0)


def test_a_wish_longer_than_the_time_left_fails_with_the_providers_code():
    verdict = rule(failed(retryable=True, retry_after_s=60.0), remaining_s=30.0)

    assert verdict == Ended(ResultStatus.FAILED, failed(retryable=True, retry_after_s=60.0).error)


def test_the_fifth_call_is_the_last():
    assert isinstance(rule(failed(retryable=True), calls=4), Again)
    assert isinstance(rule(failed(retryable=True), calls=5), Ended)


def test_an_ambiguous_failure_is_called_again_only_when_that_does_no_harm():
    assert isinstance(rule(failed(ambiguous=True), effect=IDEMPOTENT), Again)
    assert rule(failed(ambiguous=True, retryable=True), effect=ONCE).status is ResultStatus.UNCERTAIN
    assert rule(failed(ambiguous=True), effect=EffectClass.UNSPECIFIED).status is ResultStatus.UNCERTAIN


@pytest.mark.parametrize("code", ["invalid_result", "result_too_large"])
def test_an_answer_that_can_never_be_taken_is_not_asked_for_again(code):
    error = CallError(code, "the plugin ran; its answer is refused", ambiguous=True, retryable=True)

    assert rule(Outcome(ok=False, error=error), effect=IDEMPOTENT) == Ended(ResultStatus.FAILED, error)
    assert rule(Outcome(ok=False, error=error), effect=ONCE) == Ended(ResultStatus.UNCERTAIN, error)


@pytest.mark.parametrize(
    ("outcome", "effect", "status"),
    [
        (None, IDEMPOTENT, ResultStatus.TIMED_OUT),
        (None, ONCE, ResultStatus.UNCERTAIN),
        (failed(ambiguous=True), ONCE, ResultStatus.UNCERTAIN),
        (failed(), ONCE, ResultStatus.TIMED_OUT),
    ],
)
def test_the_jobs_timeout_is_uncertain_only_when_the_effect_may_have_happened(outcome, effect, status):
    verdict = rule(outcome, effect=effect, stop=StopReason.TIMEOUT, remaining_s=0.0)

    assert isinstance(verdict, Ended)
    assert verdict.status is status
    assert verdict.error is not None
    assert verdict.error.code == "timeout"
    assert verdict.error.ambiguous is (status is ResultStatus.UNCERTAIN)


def test_a_timeout_told_by_the_adapter_is_the_jobs_timeout():
    outcome = Outcome(ok=False, error=CallError("timeout", "no answer", ambiguous=True))

    assert rule(outcome, effect=ONCE).status is ResultStatus.UNCERTAIN
    assert rule(outcome, effect=IDEMPOTENT).status is ResultStatus.TIMED_OUT


def test_a_cancelled_call_says_when_its_effect_is_unknown():
    cut, refused = rule(None, effect=ONCE, stop=StopReason.CANCEL), rule(failed(), effect=ONCE, stop=StopReason.CANCEL)

    assert (cut.status, cut.error.ambiguous) == (ResultStatus.CANCELLED, True)
    assert (refused.status, refused.error.ambiguous) == (ResultStatus.CANCELLED, False)
