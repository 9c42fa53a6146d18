"""How jobs, Runners and capabilities look to HTTP callers. Field names are public contract: add, never change."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import Field

from aisops_core.api.operation import Document
from aisops_core.api.problems import ProblemDocument
from aisops_core.dispatch.job import JobState
from aisops_core.dispatch.records import LogLine, TimelineEntry
from aisops_core.runners.record import CapabilityRecord, RunnerEvent, RunnerRecord
from aisops_protocol.skew import ClockLevel


def timestamp(unix_ms: int) -> str:
    """Return wall-clock milliseconds as RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03d}Z"


def optional_timestamp(unix_ms: int | None) -> str | None:
    """As `timestamp`, for moments that may not have come (None or 0)."""
    return timestamp(unix_ms) if unix_ms else None


def json_value(data: bytes | None) -> Any:
    """Return the value of stored JSON; None when there is none."""
    return json.loads(data) if data else None


class JobErrorDocument(Document):
    """Why a job did not succeed. `ambiguous`: the outside effect may have happened all the same."""

    code: str
    message: str
    retryable: bool
    ambiguous: bool
    details: Any = None


class ExecutionDocument(Document):
    """Who did the work. `sidecar_pid` 0: built into the Runner."""

    plugin: str
    plugin_version: str
    sidecar_pid: int
    calls: int
    duration_ms: int


class LateResultDocument(Document):
    """A result that came after the job had ended or was given to another attempt: kept, and counted for nothing."""

    received_at: str
    runner_id: str
    attempt: int
    state: JobState = Field(description="What the job would have been.")
    output: Any = None
    error_code: str | None
    error_message: str


class ResolutionDocument(Document):
    """What a person decided about an uncertain attempt."""

    at: str
    attempt: int
    verdict: str
    by: str
    note: str


class JobDocument(Document):
    """One job. Times are RFC 3339 UTC with milliseconds, null until they happen."""

    # Written by `job_json`, field by field in this order.

    id: str
    capability: str
    state: JobState
    input: Any = None
    labels: dict[str, str]
    runner_id: str | None
    attempt: int
    effect_class: str
    timeout_s: float
    priority: int
    created_at: str
    leased_at: str | None
    started_at: str | None
    finished_at: str | None
    output: Any = None
    output_truncated: bool = False
    output_left_out: bool = Field(
        False, description="The answer holds too many outputs for this one; `GET /jobs/{id}` has it."
    )
    error: JobErrorDocument | None
    execution: ExecutionDocument | None
    cancel_requested: bool
    idempotency_key: str | None
    late_results: list[LateResultDocument] = Field(default_factory=list, description="Oldest first; not in lists.")
    resolutions: list[ResolutionDocument] = Field(default_factory=list, description="Oldest first; not in lists.")


class JobPage(Document):
    """One page of jobs, newest first; jobs in lists carry no input and no output."""

    items: list[JobDocument]
    next_cursor: str | None


class BatchItemDocument(Document):
    """What became of one job of a batch: the job, or the problem it was refused with."""

    job: JobDocument | None
    created: bool = Field(description="False: refused, or an earlier request of this idempotency key made the job.")
    problem: ProblemDocument | None


class BatchDocument(Document):
    """What became of each job of a batch, in the order sent."""

    items: list[BatchItemDocument]


class LogDocument(Document):
    """One log line of a job."""

    time: str
    level: str
    text: str
    source: str
    runner_id: str

    @classmethod
    def of(cls, line: LogLine) -> LogDocument:
        """Return the document of a log line."""
        level = line.level.name.lower()
        return cls(
            time=timestamp(line.time_unix_ms), level=level, text=line.text, source=line.source, runner_id=line.runner_id
        )


class LogPage(Document):
    """One page of log lines, oldest first. `next_cursor` also marks where newer lines will follow."""

    items: list[LogDocument]
    next_cursor: str | None


class TimelineDocument(Document):
    """One thing that happened to a job."""

    time: str
    kind: str
    attempt: int
    runner_id: str
    message: str

    @classmethod
    def of(cls, entry: TimelineEntry) -> TimelineDocument:
        """Return the document of a timeline entry."""
        return cls(
            time=timestamp(entry.at_unix_ms),
            kind=entry.kind,
            attempt=entry.attempt,
            runner_id=entry.runner_id,
            message=entry.message,
        )


class TimelinePage(Document):
    """Everything that happened to a job, oldest first."""

    items: list[TimelineDocument]
    next_cursor: str | None


class CapabilityDocument(Document):
    """One capability on offer. `input_schema` is JSON Schema; `runners` names who offers it."""

    name: str
    plugin: str
    plugin_version: str
    effect_class: str
    timeout_s: float
    description: str
    input_schema: Any
    runners: list[str]

    @classmethod
    def of(cls, record: CapabilityRecord, runners: list[str]) -> CapabilityDocument:
        """Return the document of a capability that `runners` offer."""
        return cls(
            name=record.name,
            plugin=record.plugin,
            plugin_version=record.plugin_version,
            effect_class=record.effect_class.name.lower(),
            timeout_s=record.timeout_ms / 1000,
            description=record.description,
            input_schema=json_value(record.input_schema),
            runners=runners,
        )


class CapabilityPage(Document):
    """Capabilities of the tenant's Runners, by name."""

    items: list[CapabilityDocument]
    next_cursor: str | None


class OutboxDocument(Document):
    """Depth of a Runner's outbox, as it last reported."""

    messages: int
    bytes: int
    dropped: int
    quarantined: int


class ClockDocument(Document):
    """How far a Runner's clock is off. Nothing is timed by it; times that the Runner tells are as wrong as it is."""

    level: Literal["ok", "warning", "error"] = Field(description="`warning` from a minute on, `error` from five.")
    skew_s: float = Field(description="The Runner's clock less Core's, in seconds, when it was last heard.")


class RunnerDocument(Document):
    """One Runner, as its last heartbeat left it."""

    id: str
    connected: bool
    draining: bool
    last_seen_at: str | None
    created_at: str
    labels: dict[str, str]
    version: str
    os: str
    arch: str
    job_slots: int
    free_slots: int
    outbox: OutboxDocument
    clock: ClockDocument | None = Field(description="Null until it has been compared with Core's.")
    clone_refused_at: str | None = Field(
        description="When its events last told of a second machine with its identity (`clone_refused`); null: never."
    )
    capabilities: list[str] = Field(description="Names; /api/v1/capabilities has the details.")

    @classmethod
    def of(cls, record: RunnerRecord) -> RunnerDocument:
        """Return the document of a Runner record."""
        queue = record.queue_stats
        return cls(
            id=record.runner_id,
            connected=record.connected,
            draining=record.draining,
            last_seen_at=optional_timestamp(record.last_seen_unix_ms),
            created_at=timestamp(record.created_unix_ms),
            labels=record.labels,
            version=record.agent_version,
            os=record.os,
            arch=record.arch,
            job_slots=record.job_slots,
            free_slots=record.free_slots,
            outbox=OutboxDocument(
                messages=queue.messages, bytes=queue.bytes, dropped=queue.dropped, quarantined=queue.quarantined
            ),
            clock=_clock(record),
            clone_refused_at=optional_timestamp(record.clone_refused_unix_ms),
            capabilities=sorted(capability.name for capability in record.capabilities),
        )


_CLOCK_LEVELS: Final[dict[ClockLevel, Literal["ok", "warning", "error"]]] = {
    ClockLevel.OK: "ok",
    ClockLevel.WARNING: "warning",
    ClockLevel.ERROR: "error",
}


def _clock(record: RunnerRecord) -> ClockDocument | None:
    if record.clock_skew_ms is None:
        return None
    return ClockDocument(level=_CLOCK_LEVELS[record.clock_level], skew_s=record.clock_skew_ms / 1000)


class RunnerEventDocument(Document):
    """Something a Runner told of itself, or Core noticed (`was_offline`, `gap`, `skipped`, `clone_refused`, …)."""

    time: str
    kind: str
    data: Any = Field(description="What belongs to this kind; text when it is not JSON.")

    @classmethod
    def of(cls, event: RunnerEvent) -> RunnerEventDocument:
        """Return the document of a Runner's event."""
        try:
            data = json.loads(event.data)
        except ValueError:
            data = event.data
        return cls(time=timestamp(event.at_unix_ms), kind=event.kind, data=data)


class RunnerEventPage(Document):
    """The newest events of a Runner, newest first."""

    items: list[RunnerEventDocument]
    next_cursor: str | None


class RunnerPage(Document):
    """The tenant's Runners, by id."""

    items: list[RunnerDocument]
    next_cursor: str | None


class RunnerCreated(Document):
    """A new Runner with its token, which is shown this once only."""

    id: str
    runner: RunnerDocument
    token: str


class RunnerToken(Document):
    """A further token of a Runner, shown this once only."""

    id: str
    token: str


class WhoAmI(Document):
    """The caller, as Core sees it."""

    tenant_id: str
    name: str
    role: str
    token_id: str
