"""One call of a capability and what came of it: the types every adapter speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aisops_protocol.messages import LogLevel


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt to run a capability for a job.

    Attributes:
        job_id: The job this call belongs to.
        tenant_id: Tenant the job runs for.
        runner_id: This Runner.
        attempt: The job's attempt number, from 1.
        capability: What to run, for example `slack.send`.
        input: JSON, UTF-8.
        effect_key: Sent as Idempotency-Key; the same for every call of one job.
        timeout_s: Time left for this call, in seconds.
        execution_id: Workflow execution, when there is one.
        step_id: Workflow step, when there is one.
        traceparent: W3C trace context, when there is one.
    """

    job_id: str
    tenant_id: str
    runner_id: str
    attempt: int
    capability: str
    input: bytes
    effect_key: str
    timeout_s: float
    execution_id: str = ""
    step_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call failed.

    Attributes:
        code: Stable name of the fault.
        message: One line for people, without secrets.
        retryable: The same call may succeed later.
        ambiguous: The request may have had its outside effect; nobody knows.
        retry_after_s: Do not call again before this many seconds; 0: no wish.
        details: JSON array of {path, message}; empty when there are none.
    """

    code: str
    message: str
    retryable: bool = False
    ambiguous: bool = False
    retry_after_s: float = 0.0
    details: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: `output` (JSON) when `ok`, else `error`; and who did it (pid 0: built in)."""

    ok: bool
    output: bytes = b""
    error: CallError | None = None
    plugin: str = ""
    plugin_version: str = ""
    sidecar_pid: int = 0


Ended = Callable[[Sequence[tuple[str, Outcome | None]]], None]
"""Told what came of some calls, by job id; None for one that was cut off."""


@dataclass(frozen=True, slots=True)
class JobLog:
    """One log line that a sidecar wrote, for a job or (empty `job_id`) for itself. `source` is the plugin's name."""

    job_id: str
    level: LogLevel
    text: str
    time_unix_ms: int
    source: str


def refused(code: str, message: str, *, retryable: bool = False, retry_after_s: float = 0.0) -> Outcome:
    """An outcome of a call that never left the Runner."""
    return Outcome(ok=False, error=CallError(code, message, retryable=retryable, retry_after_s=retry_after_s))
