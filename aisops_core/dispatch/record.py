"""A job as the database holds it, and the notes that complete its timeline: plain values, no rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aisops_protocol.messages import EffectClass, ExecutionInfo, JobError


class JobState(StrEnum):
    """Where a job stands at Core."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UNCERTAIN = "uncertain"


ACTIVE: Final = frozenset({JobState.LEASED, JobState.RUNNING})
TERMINAL: Final = frozenset(JobState) - ACTIVE - {JobState.QUEUED}


@dataclass(slots=True)
class JobRecord:
    """One job as the database holds it; fields are in the order of the table's columns.

    `runner_id` is the Runner that has or last had it. `attempt` counts from 1. Times are wall-clock milliseconds, None
    until they happen; `hold_until_unix_ms` is when a job is taken back from a Runner that goes on renewing its lease.
    `input` is b"" in records that were read without it.
    """

    tenant_id: str
    job_id: str
    capability: str
    state: JobState
    attempt: int
    priority: int
    effect_class: EffectClass
    timeout_ms: int
    labels_json: str
    pinned_runner_id: str | None
    route: bytes
    runner_id: str | None
    lease_id: bytes | None
    lease_until_unix_ms: int | None
    session_epoch: int | None
    journal_id: bytes | None
    not_before_unix_ms: int
    queue_expires_unix_ms: int
    created_unix_ms: int
    leased_unix_ms: int | None
    started_unix_ms: int | None
    finished_unix_ms: int | None
    cancel_requested_unix_ms: int | None
    idempotency_key: str | None
    request_digest: bytes
    created_by: str
    execution_id: str
    step_id: str
    input_sha256: bytes
    hold_until_unix_ms: int | None = None
    error_code: str | None = None
    error_message: str = ""
    error_retryable: bool = False
    error_ambiguous: bool = False
    error_details: bytes = b""
    plugin: str = ""
    plugin_version: str = ""
    sidecar_pid: int = 0
    calls: int = 0
    exec_started_unix_ms: int = 0
    duration_ms: int = 0
    truncated: bool = False
    output: bytes | None = None
    input: bytes = b""

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job_id

    @property
    def labels(self) -> dict[str, str]:
        """Labels a Runner must carry to get this job."""
        labels: dict[str, str] = json.loads(self.labels_json)
        return labels

    @property
    def terminal(self) -> bool:
        """True when the job has ended for good."""
        return self.state in TERMINAL

    @property
    def cancel_requested(self) -> bool:
        """True from the moment somebody asked to cancel."""
        return self.cancel_requested_unix_ms is not None

    @property
    def timeout_s(self) -> float:
        """How long one execution may take, in seconds."""
        return self.timeout_ms / 1000

    @property
    def error(self) -> JobError | None:
        """Why the job did not succeed, or None."""
        if self.error_code is None:
            return None
        return JobError(
            code=self.error_code,
            message=self.error_message,
            retryable=self.error_retryable,
            ambiguous=self.error_ambiguous,
            details=self.error_details,
        )

    @property
    def execution(self) -> ExecutionInfo | None:
        """Who did the work; None until a Runner has reported a result."""
        if self.finished_unix_ms is None or not (self.plugin or self.calls or self.exec_started_unix_ms):
            return None
        return ExecutionInfo(
            plugin=self.plugin,
            plugin_version=self.plugin_version,
            sidecar_pid=self.sidecar_pid,
            calls=self.calls,
            started_unix_ms=self.exec_started_unix_ms,
            duration_ms=self.duration_ms,
        )


@dataclass(frozen=True, slots=True)
class Note:
    """A timeline entry that a job's columns cannot tell: an earlier attempt, a refusal, a late result."""

    tenant_id: str
    job_id: str
    at_unix_ms: int
    kind: str
    attempt: int
    runner_id: str
    message: str = ""
