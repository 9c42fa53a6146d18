"""What time does to jobs: leases renewed and lapsed, queue times over, and when to look again.

Sweeps look at every tenant's rows; each row found is then handled under its own tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, literal_column, select, update

from aisops_core.dispatch import fence, lease, store
from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import JobRecord, JobState, Note
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.matching import Demand, demand_of
from aisops_core.dispatch.records import SessionRef
from aisops_core.storage.schema import jobs
from aisops_protocol.messages import Heartbeat

SWEEP_LIMIT: Final = 500
_QUEUED: Final = jobs.c.state == literal_column("'queued'")


@dataclass(slots=True)
class Swept:
    """What a sweep changed, and when the next one is due (wall clock, ms; None: nothing waits for time)."""

    ended: list[JobRecord] = field(default_factory=list)
    requeued: list[JobRecord] = field(default_factory=list)
    lost: list[tuple[str, str, bytes]] = field(default_factory=list)
    next_due_unix_ms: int | None = None


def renew(
    connection: Connection,
    ref: SessionRef,
    heartbeat: Heartbeat,
    leases: Sequence[bytes],
    *,
    until_ms: int,
    now_ms: int,
) -> None:
    """Record a heartbeat: the Runner was seen, and the leases it lists live on.

    Raises:
        Fenced: A newer session has taken over.
    """
    stats = heartbeat.queue_stats
    fence.touch(
        connection,
        ref,
        connected=True,
        last_seen_unix_ms=now_ms,
        free_slots=heartbeat.free_slots,
        draining=heartbeat.draining,
        queue_messages=stats.messages,
        queue_bytes=stats.bytes,
        queue_dropped=stats.dropped,
        queue_quarantined=stats.quarantined,
    )
    if leases:
        connection.execute(
            update(jobs)
            .where(
                jobs.c.tenant_id == ref.tenant_id,
                jobs.c.runner_id == ref.runner_id,
                jobs.c.session_epoch == ref.session_epoch,
                jobs.c.lease_until_unix_ms.is_not(None),
                jobs.c.lease_id.in_(list(leases)),
            )
            .values(lease_until_unix_ms=until_ms)
        )


def lease_again(connection: Connection, until_ms: int) -> int:
    """Let every lease last at least until then: after a start or a jump of the clock none has aged fairly."""
    statement = (
        update(jobs)
        .where(jobs.c.lease_until_unix_ms.is_not(None), jobs.c.lease_until_unix_ms < until_ms)
        .values(lease_until_unix_ms=until_ms)
    )
    return connection.execute(statement).rowcount


def sweep(connection: Connection, now_ms: int, terms: LeaseTerms) -> Swept:
    """Take back jobs whose lease and grace are over, end those whose queue time is."""
    swept = Swept()
    notes: list[Note] = []
    changed: list[JobRecord] = []
    lapsed = _due(connection, jobs.c.lease_until_unix_ms, now_ms - terms.grace_ms)
    for job in lapsed:
        if job.lease_until_unix_ms is None or not lease.lapsed(job.lease_until_unix_ms, now_ms, terms):
            continue
        swept.lost.append((job.tenant_id, job.runner_id or "", job.lease_id or b""))
        notes += lease.expire(job, now_ms)
        changed.append(job)
        (swept.requeued if job.state is JobState.QUEUED else swept.ended).append(job)
    for job in _due(connection, jobs.c.queue_expires_unix_ms, now_ms, _QUEUED):
        if job.state is JobState.QUEUED:
            machine.expire_in_queue(job, now_ms)
            changed.append(job)
            swept.ended.append(job)
    store.save(connection, changed)
    store.add_notes(connection, notes)
    store.drop_chunks(connection, changed)
    swept.next_due_unix_ms = _next_due(connection, now_ms, terms)
    return swept


def _due(connection: Connection, column: Any, until_ms: int, *conditions: ColumnElement[bool]) -> list[JobRecord]:
    query = select(jobs.c.tenant_id, jobs.c.job_id).where(column <= until_ms, *conditions).limit(SWEEP_LIMIT)
    by_tenant: dict[str, list[str]] = {}
    for tenant_id, job_id in connection.execute(query):
        by_tenant.setdefault(tenant_id, []).append(job_id)
    return [job for tenant_id, ids in by_tenant.items() for job in store.load(connection, tenant_id, ids).values()]


def _next_due(connection: Connection, now_ms: int, terms: LeaseTerms) -> int | None:
    lease_end = connection.execute(
        select(func.min(jobs.c.lease_until_unix_ms)).where(jobs.c.lease_until_unix_ms.is_not(None))
    ).scalar()
    queue_end = connection.execute(select(func.min(jobs.c.queue_expires_unix_ms)).where(_QUEUED)).scalar()
    not_before = connection.execute(
        select(func.min(jobs.c.not_before_unix_ms)).where(_QUEUED, jobs.c.not_before_unix_ms > now_ms)
    ).scalar()
    moments = [None if lease_end is None else int(lease_end) + terms.grace_ms, queue_end, not_before]
    return min((int(moment) for moment in moments if moment is not None), default=None)


def waiting_routes(connection: Connection) -> list[tuple[str, Demand]]:
    """Every tenant's routes on which jobs wait; read once, at the start."""
    query = select(jobs.c.tenant_id, jobs.c.capability, jobs.c.labels_json, jobs.c.pinned_runner_id).where(_QUEUED)
    return [
        (tenant_id, demand_of(capability, labels_json, pinned))
        for tenant_id, capability, labels_json, pinned in connection.execute(query.distinct())
    ]
