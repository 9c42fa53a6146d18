"""The job's state machine: every step that is allowed, every one that is not, and what each leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import ACTIVE, TERMINAL, TRANSITIONS, Grant, JobEvent, JobRecord, JobState
from aisops_core.errors import IllegalTransition
from aisops_protocol.messages import (
    EffectClass,
    ExecutionInfo,
    JobError,
    JobResult,
    RejectReason,
    ResultStatus,
)

GRANT = Grant("runner-1", 3, b"j" * 16, b"l" * 16, 5_000, 60_000)
ALLOWED = {
    ("queued", "lease"): "leased",
    ("queued", "cancel"): "cancelled",
    ("queued", "time_out"): "timed_out",
    **{(state, "requeue"): "queued" for state in ("leased", "running")},
    **{(state, "accept"): "running" for state in ("leased", "running")},
    **{(state, "succeed"): "succeeded" for state in ("leased", "running")},
    **{(state, "fail"): "failed" for state in ("leased", "running")},
    **{(state, "time_out"): "timed_out" for state in ("leased", "running")},
    **{(state, "cancel"): "cancelled" for state in ("leased", "running")},
    **{(state, "doubt"): "uncertain" for state in ("leased", "running")},
    ("uncertain", "confirm"): "succeeded",
    ("uncertain", "deny"): "failed",
    ("uncertain", "retry"): "queued",
}


def a_job(state: str = "queued", **fields: Any) -> JobRecord:
    """A job in this state, as its columns would be."""
    job = JobRecord(
        **{
            "tenant_id": "t",
            "job_id": "job_1",
            "capability": "slack.send",
            "state": JobState.QUEUED,
            "attempt": 1,
            "priority": 0,
            "effect_class": EffectClass.IDEMPOTENT,
            "timeout_ms": 1500,
            "labels_json": '{"site":"seoul"}',
            "pinned_runner_id": None,
            "route": b"r" * 16,
            "runner_id": None,
            "lease_id": None,
            "lease_until_unix_ms": None,
            "session_epoch": None,
            "journal_id": None,
            "not_before_unix_ms": 0,
            "queue_expires_unix_ms": 90_000,
            "created_unix_ms": 1_000,
            "leased_unix_ms": None,
            "started_unix_ms": None,
            "finished_unix_ms": None,
            "cancel_requested_unix_ms": None,
            "idempotency_key": None,
            "request_digest": b"",
            "created_by": "api:operator-1",
            "execution_id": "",
            "step_id": "",
            "input_sha256": b"",
            **fields,
        }
    )
    if state != "queued":
        machine.lease(job, GRANT, 2_000)
    if state == "running":
        machine.accept(job, 3_000)
    elif state not in {"queued", "leased"}:
        machine.finish(job, a_result(ResultStatus[state.upper()]), 4_000)
    return job


def a_result(status: ResultStatus = ResultStatus.SUCCEEDED, **fields: Any) -> JobResult:
    return JobResult("job_1", b"l" * 16, 1, status, **fields)


STEPS: dict[str, Any] = {
    "lease": lambda job: machine.lease(job, GRANT, 9_000),
    "accept": lambda job: machine.accept(job, 9_000),
    "requeue": lambda job: machine.requeue(job, 9_000, "why"),
    "succeed": lambda job: machine.finish(job, a_result(), 9_000),
    "fail": lambda job: machine.fail(job, "code", "words", 9_000),
    "time_out": lambda job: (
        machine.expire_in_queue(job, 9_000)
        if job.state is JobState.QUEUED
        else machine.finish(job, a_result(ResultStatus.TIMED_OUT), 9_000)
    ),
    "cancel": lambda job: machine.cancel(job, 9_000),
    "doubt": lambda job: machine.doubt(job, "code", "words", 9_000),
    **{event: lambda job, event=event: machine.step(job, JobEvent(event)) for event in ("confirm", "deny", "retry")},
}


@pytest.mark.parametrize("state", [state.value for state in JobState])
@pytest.mark.parametrize("event", [event.value for event in JobEvent])
def test_each_step_is_allowed_exactly_where_the_table_says(state: str, event: str) -> None:
    job = a_job(state)
    before = JobRecord(**{name: getattr(job, name) for name in JobRecord.__dataclass_fields__})
    target = ALLOWED.get((state, event))
    assert TRANSITIONS[JobState(state)].get(JobEvent(event)) == target
    if target is None:
        with pytest.raises(IllegalTransition):
            STEPS[event](job)
        assert job == before, "a refused step changes nothing"
    else:
        STEPS[event](job)
        assert job.state == target


def test_every_state_is_waiting_active_or_ended() -> None:
    assert ACTIVE | TERMINAL | {JobState.QUEUED} == set(JobState)
    assert {state for state, steps in TRANSITIONS.items() if not steps} == TERMINAL - {JobState.UNCERTAIN}


@pytest.mark.parametrize("state", ["queued", "succeeded"])
def test_only_an_active_job_can_be_granted_again(state: str) -> None:
    with pytest.raises(IllegalTransition):
        machine.regrant(a_job(state), GRANT)


@pytest.mark.parametrize("state", ["leased", "running", "failed"])
def test_only_a_waiting_job_expires_in_the_queue(state: str) -> None:
    with pytest.raises(IllegalTransition):
        machine.expire_in_queue(a_job(state), 9_000)


@pytest.mark.parametrize("status", list(ResultStatus))
def test_each_result_has_its_state(status: ResultStatus) -> None:
    job = a_job("running")
    machine.finish(job, a_result(status), 9_000)
    assert job.state is machine.RESULT_STATES[status]
    assert (job.error is None) == (status is ResultStatus.SUCCEEDED), "every bad end has a code"
    assert (job.lease_id, job.lease_until_unix_ms, job.finished_unix_ms) == (b"l" * 16, None, 9_000)


def test_a_result_brings_output_error_and_execution() -> None:
    job = a_job("running")
    error = JobError("rate_limited", "later", retryable=True, ambiguous=True, details=b"[]")
    info = ExecutionInfo("slack", "2.1", 77, 3, 8_000, 900)
    machine.finish(job, a_result(ResultStatus.FAILED, output=b"{}", error=error, execution=info, truncated=True), 9_000)
    assert (job.error, job.execution, job.output, job.truncated) == (error, info, b"{}", True)


def test_what_core_ends_keeps_no_lease_so_that_a_late_result_is_told_apart() -> None:
    for end in (lambda job: machine.doubt(job, "c", "m", 9), lambda job: machine.fail(job, "c", "m", 9)):
        job = a_job("running")
        end(job)
        assert job.lease_id is None
        assert job.execution is None


def test_accepting_twice_keeps_the_first_moment() -> None:
    job = a_job("running")
    machine.accept(job, 8_888)
    assert job.started_unix_ms == 3_000


def test_taking_back_remembers_the_lost_attempt() -> None:
    job = a_job("running")
    notes = machine.requeue(job, 9_000, "lease expired", not_before_ms=9_500, new_attempt=True)
    assert [(n.kind, n.at_unix_ms, n.attempt, n.runner_id) for n in notes] == [
        ("leased", 2_000, 1, "runner-1"),
        ("running", 3_000, 1, "runner-1"),
        ("requeued", 9_000, 1, "runner-1"),
    ]
    assert (job.attempt, job.not_before_unix_ms, job.runner_id, job.lease_id) == (2, 9_500, None, None)
    assert (job.leased_unix_ms, job.started_unix_ms, job.journal_id) == (None, None, None)


def test_taking_back_a_job_that_was_to_be_cancelled_cancels_it() -> None:
    job = a_job("leased")
    assert machine.request_cancel(job, 8_000, 30_000)
    assert machine.requeue(job, 9_000, "x") == ()
    assert job.state is JobState.CANCELLED


def test_asking_to_cancel_ends_marks_or_leaves() -> None:
    waiting, active, ended = a_job(), a_job("running"), a_job("succeeded")
    assert machine.request_cancel(waiting, 5, 30_000)
    assert waiting.state is JobState.CANCELLED
    assert machine.request_cancel(active, 5, 30_000)
    assert not machine.request_cancel(active, 6, 30_000)
    assert (active.state, active.cancel_requested_unix_ms) == (JobState.RUNNING, 5)
    assert not machine.request_cancel(ended, 5, 30_000)
    assert not ended.cancel_requested


@pytest.mark.parametrize(
    ("reason", "another", "state", "code"),
    [
        (RejectReason.BUSY, False, "queued", None),
        (RejectReason.DRAINING, False, "queued", None),
        (RejectReason.STORAGE, False, "queued", None),
        (RejectReason.UNKNOWN_CAPABILITY, True, "queued", None),
        (RejectReason.UNKNOWN_CAPABILITY, False, "failed", "unknown_capability"),
        (RejectReason.POLICY, True, "failed", "policy"),
        (RejectReason.SCHEMA, True, "failed", "schema"),
        (RejectReason.UNSPECIFIED, True, "failed", "rejected"),
    ],
)
def test_each_refusal_has_its_answer(reason: RejectReason, another: bool, state: str, code: str | None) -> None:
    job = a_job("leased")
    notes = machine.reject(job, reason, "", 9_000, another_runner=another)
    assert (job.state, job.error_code, job.attempt) == (state, code, 1)
    assert notes
    waits = reason in {RejectReason.BUSY, RejectReason.DRAINING, RejectReason.STORAGE}
    assert (job.not_before_unix_ms > 9_000) == waits


def test_the_columns_tell_the_plain_timeline() -> None:
    job = a_job("running")
    machine.request_cancel(job, 3_500, 30_000)
    machine.finish(job, a_result(ResultStatus.CANCELLED), 4_000)
    told = [(entry.kind, entry.at_unix_ms) for entry in machine.told_by_columns(job)]
    assert told == [
        ("queued", 1_000),
        ("leased", 2_000),
        ("running", 3_000),
        ("cancel_requested", 3_500),
        ("cancelled", 4_000),
    ]


def test_a_record_reads_like_the_api_shows_it() -> None:
    job = a_job()
    assert (job.id, job.labels, job.timeout_s, job.terminal, job.execution, job.error) == (
        "job_1",
        {"site": "seoul"},
        1.5,
        False,
        None,
        None,
    )
