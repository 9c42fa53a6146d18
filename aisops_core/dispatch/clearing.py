"""Finds and deletes what has been kept long enough: the SQL, in units small enough for nobody to notice.

Ids of jobs sort by the time they were made, so that what is due is found at the low end of the primary key, without an
index of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, ScalarSelect, Table, delete, func, select

from aisops_core.dispatch.admission import first_id_at
from aisops_core.dispatch.job import TERMINAL, JobState
from aisops_core.dispatch.retention import Mark, RetentionTerms, pack, unpack
from aisops_core.storage.meta import move_mark, read_mark
from aisops_core.storage.schema import (
    capabilities,
    input_schemas,
    job_logs,
    job_notes,
    job_resolutions,
    jobs,
    late_results,
    result_chunks,
    runner_events,
    tenants,
)

PAGE: Final = 1_000
UNIT_JOBS: Final = 25
UNIT_ROWS: Final = 250
MARKS_KEY: Final = "retention_marks"
_BESIDE: Final = (job_notes, late_results, job_resolutions, result_chunks)
_ENDED: Final = {state.value: state for state in TERMINAL}


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a look for jobs: those that are due, and where the next page begins (None: there is none)."""

    job_ids: Sequence[str]
    next_after: str | None


def tenants_of(connection: Connection) -> list[str]:
    """Every tenant."""
    return list(connection.execute(select(tenants.c.tenant_id)).scalars())


def look(connection: Connection, tenant_id: str, after_id: str, terms: RetentionTerms, now_ms: int) -> Found:
    """Which of a tenant's oldest jobs are due."""
    c = jobs.c
    query = (
        select(c.job_id, c.state, c.finished_unix_ms)
        .where(
            c.tenant_id == tenant_id,
            c.job_id > after_id,
            c.job_id < first_id_at(terms.earliest_cutoff_ms(now_ms)),
        )
        .order_by(c.job_id)
        .limit(PAGE)
    )
    rows = connection.execute(query).all()
    due = [job_id for job_id, state, ended in rows if _is_due(state, ended, terms, now_ms)]
    return Found(due, rows[-1].job_id if len(rows) == PAGE else None)


def _is_due(state: str, ended_ms: int | None, terms: RetentionTerms, now_ms: int) -> bool:
    known: JobState | None = _ENDED.get(state)
    return known is not None and ended_ms is not None and ended_ms < terms.cutoff_ms(known, now_ms)


def delete_jobs(
    connection: Connection, tenant_id: str, job_ids: Sequence[str], terms: RetentionTerms, now_ms: int
) -> int:
    """Delete those of the jobs that are still due, with everything kept beside them; returns how many."""
    c = jobs.c
    query = (
        select(c.job_id, c.state, c.finished_unix_ms)
        .where(c.tenant_id == tenant_id, c.job_id.in_(list(job_ids)))
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(query).all()
    due = [job_id for job_id, state, ended in rows if _is_due(state, ended, terms, now_ms)]
    if due:
        mine = (job_logs.c.tenant_id == tenant_id) & job_logs.c.job_id.in_(due)
        connection.execute(delete(job_logs).where(mine, job_logs.c.id < _newest(job_logs)))
        for table in (*_BESIDE, jobs):
            connection.execute(delete(table).where(table.c.tenant_id == tenant_id, table.c.job_id.in_(due)))
    return len(due)


def delete_stray(connection: Connection, terms: RetentionTerms, now_ms: int) -> int:
    """Delete late results of jobs that this Core never knew or no longer has; returns how many."""
    c = late_results.c
    nobody = ~select(jobs.c.job_id).where(jobs.c.tenant_id == c.tenant_id, jobs.c.job_id == c.job_id).exists()
    old = c.received_unix_ms < terms.cutoff_ms(JobState.SUCCEEDED, now_ms)
    return connection.execute(delete(late_results).where(old, nobody)).rowcount


def unused_schemas(connection: Connection, tenant_id: str) -> list[bytes]:
    """Digests of the input schemas that no Runner's offer of a tenant refers to; jobs refer to none."""
    kept = select(input_schemas.c.digest).where(input_schemas.c.tenant_id == tenant_id)
    used = select(capabilities.c.schema_digest).where(capabilities.c.tenant_id == tenant_id)
    return [bytes(digest) for (digest,) in connection.execute(kept.except_(used))]


def delete_schemas(connection: Connection, tenant_id: str, digests: Sequence[bytes]) -> int:
    """Delete those of the input schemas that are still unused; returns how many.

    They are locked first and looked at again in a second statement: a Runner whose opening had one of them locked
    before has committed its offers by then, and one that comes later finds the schema gone and stores it again.
    """
    c, o = input_schemas.c, capabilities.c
    mine = (c.tenant_id == tenant_id) & c.digest.in_(list(digests))
    locked = list(connection.execute(select(c.digest).where(mine).with_for_update(skip_locked=True)).scalars())
    used = select(o.schema_digest).where(o.tenant_id == tenant_id, o.schema_digest.in_(locked))
    gone = delete(input_schemas).where(c.tenant_id == tenant_id, c.digest.in_(locked), c.digest.not_in(used))
    return connection.execute(gone).rowcount


def delete_logs(connection: Connection, upto_id: int) -> int:
    """Delete some log lines, oldest first, up to a number; returns how many."""
    return _delete_some(connection, job_logs, upto_id)


def delete_events(connection: Connection, upto_id: int) -> int:
    """Delete some events of Runners, oldest first, up to a number; returns how many."""
    return _delete_some(connection, runner_events, upto_id)


def _delete_some(connection: Connection, table: Table, upto_id: int) -> int:
    first = connection.execute(select(func.min(table.c.id))).scalar()
    if first is None or first > upto_id:
        return 0
    last = min(upto_id, int(first) + UNIT_ROWS - 1)
    return connection.execute(delete(table).where(table.c.id <= last, table.c.id < _newest(table))).rowcount


def _newest(table: Table) -> ScalarSelect[int]:
    """The highest number given. Its row always stays, or SQLite would give the numbers again, and marks would lie."""
    return select(func.max(table.c.id)).scalar_subquery()


def marks(connection: Connection) -> list[Mark]:
    """The marks noted so far."""
    return unpack(read_mark(connection, MARKS_KEY))


def mark_now(connection: Connection, now_ms: int) -> Mark:
    """What a mark of this moment says."""
    log_id = connection.execute(select(func.max(job_logs.c.id))).scalar()
    event_id = connection.execute(select(func.max(runner_events.c.id))).scalar()
    return Mark(now_ms, log_id or 0, event_id or 0)


def keep_marks(connection: Connection, kept: Sequence[Mark]) -> None:
    """Store the marks."""
    move_mark(connection, MARKS_KEY, pack(kept))
