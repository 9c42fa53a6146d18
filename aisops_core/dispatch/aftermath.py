"""What is kept beside an ended job: results that came too late to count, and what a person decided. The SQL of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select

from aisops_core.dispatch.job import RESULT_STATES, JobRecord, JobState
from aisops_core.dispatch.resolution import Resolution, Verdict
from aisops_core.storage.schema import job_resolutions, late_results
from aisops_protocol.messages import ResultStatus

LATE_LIMIT: Final = 20


@dataclass(frozen=True, slots=True)
class LateResult:
    """A result that a Runner brought after the job had ended or was given to another attempt."""

    received_unix_ms: int
    runner_id: str
    attempt: int
    state: JobState
    error_code: str | None
    error_message: str
    output: bytes | None


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Both, each oldest first."""

    late: tuple[LateResult, ...] = ()
    resolutions: tuple[Resolution, ...] = ()


NOTHING: Final = Aftermath()


def may_have_any(job: JobRecord) -> bool:
    """False for a job of which it is certain that nothing is kept beside it: it ended by its one attempt's result."""
    return job.attempt > 1 or (job.terminal and job.state is not JobState.SUCCEEDED) or _confirmed(job)


def _confirmed(job: JobRecord) -> bool:
    # Ended well, but not by a result: a result leaves its lease id behind.
    return job.state is JobState.SUCCEEDED and job.lease_id is None


def read(connection: Connection, tenant_id: str, job_id: str) -> Aftermath:
    """What is kept beside one job."""
    c = late_results.c
    query = (
        select(c.received_unix_ms, c.runner_id, c.attempt, c.status, c.error_code, c.error_message, c.output)
        .where(c.tenant_id == tenant_id, c.job_id == job_id)
        .order_by(c.received_unix_ms, c.lease_id)
        .limit(LATE_LIMIT)
    )
    late = [
        LateResult(at, runner, attempt, RESULT_STATES[ResultStatus(status)], code, message, output)
        for at, runner, attempt, status, code, message, output in connection.execute(query)
    ]
    return Aftermath(tuple(late), tuple(resolutions(connection, tenant_id, job_id)))


def resolutions(connection: Connection, tenant_id: str, job_id: str) -> list[Resolution]:
    """What was decided about a job, oldest first."""
    c = job_resolutions.c
    query = (
        select(c.tenant_id, c.job_id, c.attempt, c.verdict, c.actor, c.note, c.at_unix_ms)
        .where(c.tenant_id == tenant_id, c.job_id == job_id)
        .order_by(c.attempt)
    )
    return [
        Resolution(tenant, job, attempt, Verdict(verdict), *rest)
        for tenant, job, attempt, verdict, *rest in connection.execute(query)
    ]


def keep(connection: Connection, decision: Resolution) -> None:
    """Store a decision; there is one for an attempt."""
    connection.execute(
        insert(job_resolutions).values(
            tenant_id=decision.tenant_id,
            job_id=decision.job_id,
            attempt=decision.attempt,
            verdict=decision.verdict.value,
            actor=decision.actor,
            note=decision.note,
            at_unix_ms=decision.at_unix_ms,
        )
    )
