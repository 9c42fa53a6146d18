"""What the doors hand to dispatch and get back, beside the job itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from aisops_core.dispatch.job import JobState
from aisops_protocol.messages import LogLevel, Welcome
from aisops_protocol.records import record

Item = TypeVar("Item")
DAY_S: Final = 86_400.0
UNREAD: Final = object()


@record
class SubmitJob:
    """A request for one job.

    Attributes:
        capability: Which capability, for example `slack.send`.
        input: JSON, UTF-8, at most 1 MiB.
        labels: Labels the Runner must carry.
        runner_id: Only this Runner may have it; None: any that matches.
        timeout_s: Seconds one execution may take; None: the capability's own.
        queue_ttl_s: Seconds it may wait for a Runner.
        priority: Higher goes first, -100 to 100.
        execution_id: The workflow execution it belongs to, if any.
        step_id: The step of that execution, if any.
        document: What `input` says, from whoever has read it as strict JSON already; UNREAD: nobody has.
    """

    capability: str
    input: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    runner_id: str | None = None
    timeout_s: float | None = None
    queue_ttl_s: float = DAY_S
    priority: int = 0
    execution_id: str = ""
    step_id: str = ""
    document: object = UNREAD


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; None does not restrict. `runner_id` is the Runner that has or last had the job."""

    state: JobState | None = None
    capability: str | None = None
    runner_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list; `next_cursor` is None on the last."""

    items: tuple[Item, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log line of a job, in the order Core received them."""

    time_unix_ms: int
    level: LogLevel
    text: str
    source: str
    runner_id: str


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to a job."""

    at_unix_ms: int
    kind: str
    attempt: int
    runner_id: str
    message: str


@dataclass(frozen=True, slots=True)
class SessionRef:
    """Names one session. `session_epoch` is the fence: only the newest session of a Runner may write."""

    tenant_id: str
    runner_id: str
    session_id: bytes
    session_epoch: int


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that may begin: send `welcome` before anything else."""

    ref: SessionRef
    welcome: Welcome
