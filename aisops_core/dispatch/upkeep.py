"""What time does to jobs: leases renewed and lapsed, queue times over, and when to look again.

Sweeps look at every tenant's rows; each row found is then handled under its own tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select, true, update

from aisops_core.dispatch import fence, lease, store
from aisops_core.dispatch import job as machine
from aisops_core.dispatch.job import JobRecord, JobState, Note
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.matching import Demand, demand_of
from aisops_core.dispatch.records import SessionRef
from aisops_core.runners.store import INSERT_EVENT
from aisops_core.storage.hot import HotStatement, Row
from aisops_core.storage.schema import jobs, runners
from aisops_protocol.messages import Heartbeat
from aisops_protocol.skew import ClockLevel

SWEEP_LIMIT: Final = 500
_QUEUED: Final = jobs.c.state == literal_column("'queued'")
_SEEN_COLUMNS: Final = (
    "last_seen_unix_ms",
    "free_slots",
    "draining",
    "queue_messages",
    "queue_bytes",
    "queue_dropped",
    "queue_quarantined",
    "clock_skew_ms",
    "clock_level",
    "confirmed_epoch",
)
_SEEN: Final = HotStatement(
    update(runners)
    .where(fence.NEWEST)
    .values(connected=true(), **{name: bindparam(f"b_{name}") for name in _SEEN_COLUMNS}),
    (*(f"b_{name}" for name in _SEEN_COLUMNS), *fence.NEWEST_NAMES),
)
_RENEW: Final = HotStatement(
    update(jobs)
    .where(
        jobs.c.tenant_id == bindparam("b_tenant_id"),
        jobs.c.job_id == bindparam("b_job_id"),
        jobs.c.lease_id == bindparam("b_lease_id"),
        jobs.c.session_epoch == bindparam("b_session_epoch"),
        jobs.c.lease_until_unix_ms.is_not(None),
    )
    .values(lease_until_unix_ms=bindparam("b_until_ms")),
    ("b_until_ms", "b_tenant_id", "b_job_id", "b_lease_id", "b_session_epoch"),
)


@dataclass(slots=True)
class Swept:
    """What a sweep changed, and when the next one is due (wall clock, ms; None: nothing waits for time)."""

    ended: list[JobRecord] = field(default_factory=list)
    requeued: list[JobRecord] = field(default_factory=list)
    lost: list[tuple[str, str, bytes]] = field(default_factory=list)
    next_due_unix_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """One heartbeat to record: the Runner lives, and these leases (of job id, lease id) live on.

    `skew_ms` is its clock less Core's, and `clock_level` how bad that is. `confirmed_epoch` is the newest session
    that the Runner's disk certainly knows of.
    """

    ref: SessionRef
    heartbeat: Heartbeat
    leases: Sequence[tuple[str, bytes]]
    skew_ms: int = 0
    clock_level: ClockLevel = ClockLevel.OK
    confirmed_epoch: int = 0


def renew(
    connection: Connection, renewals: Sequence[Renewal], until_ms: int, now_ms: int, told: Sequence[Row] = ()
) -> list[SessionRef]:
    """Record heartbeats of different Runners in two statements.

    Args:
        connection: The unit of work.
        renewals: One a Runner.
        until_ms: New end of the leases, by the clock as it is when this is queued: one that was set while beats were
            gathered must not give leases that have ended already.
        now_ms: When the Runners were seen.
        told: Rows of `runner_events` that go with them, in the order of `EVENT_NAMES`.

    Returns:
        Sessions that a newer one has taken over: of these nothing was recorded.
    """
    ordered = sorted(renewals, key=_of_runner)  # one order for all, so that two Cores never wait for each other
    seen = _SEEN.many(connection, [_row_seen(renewal, now_ms) for renewal in ordered])
    fenced = [] if seen == len(ordered) else [r.ref for r in ordered if not fence.holds(connection, r.ref)]
    lost = {(ref.tenant_id, ref.runner_id) for ref in fenced}
    INSERT_EVENT.many(connection, told)
    _RENEW.many(
        connection,
        [
            (until_ms, renewal.ref.tenant_id, job_id, lease_id, renewal.ref.session_epoch)
            for renewal in ordered
            if _of_runner(renewal) not in lost
            for job_id, lease_id in sorted(renewal.leases)
        ],
    )
    return fenced


def _of_runner(renewal: Renewal) -> tuple[str, str]:
    return renewal.ref.tenant_id, renewal.ref.runner_id


def _row_seen(renewal: Renewal, now_ms: int) -> Row:
    beat, ref = renewal.heartbeat, renewal.ref
    stats = beat.queue_stats
    queue = (stats.messages, stats.bytes, stats.dropped, stats.quarantined)
    known = (renewal.skew_ms, int(renewal.clock_level), renewal.confirmed_epoch)
    return (now_ms, beat.free_slots, beat.draining, *queue, *known, ref.tenant_id, ref.runner_id, ref.session_epoch)


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
