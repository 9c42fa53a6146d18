"""Jobs whose Runner goes on renewing the lease without ending them: found on a reader, taken back in a unit of work.

Looking reads the rows of active jobs only, through the index of leases, and never keeps the committer from its work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sqlalchemy import Connection, select

from aisops_core.dispatch import lease, store
from aisops_core.dispatch.job import JobRecord, JobState, Note
from aisops_core.storage.schema import jobs

LOOK_LIMIT: Final = 500
JobKey: TypeAlias = tuple[str, str]
"""Tenant id and job id."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """What a look found: jobs held too long, and those that somebody wants stopped (with their Runner and lease)."""

    overrun: Sequence[JobKey]
    unanswered: Sequence[tuple[str, str, str, bytes]]


@dataclass(slots=True)
class TakenBack:
    """What was changed. `lost` names (tenant, Runner, lease) of those who must let go."""

    ended: list[JobRecord] = field(default_factory=list)
    requeued: list[JobRecord] = field(default_factory=list)
    lost: list[tuple[str, str, bytes]] = field(default_factory=list)


def look(connection: Connection, now_ms: int) -> Suspects:
    """Which active jobs have outstayed their time, and which wait for the answer to a cancellation."""
    c = jobs.c
    alive = c.lease_until_unix_ms > now_ms
    overrun = select(c.tenant_id, c.job_id).where(alive, c.hold_until_unix_ms <= now_ms).limit(LOOK_LIMIT)
    unanswered = (
        select(c.tenant_id, c.job_id, c.runner_id, c.lease_id)
        .where(alive, c.cancel_requested_unix_ms.is_not(None))
        .limit(LOOK_LIMIT)
    )
    return Suspects(
        [(tenant_id, job_id) for tenant_id, job_id in connection.execute(overrun)],
        [(tenant, job, runner, bytes(token)) for tenant, job, runner, token in connection.execute(unanswered)],
    )


def take_back(connection: Connection, keys: Iterable[JobKey], now_ms: int) -> TakenBack:
    """End or requeue those of the jobs that still outstay their time."""
    taken = TakenBack()
    notes: list[Note] = []
    by_tenant: dict[str, list[str]] = {}
    for tenant_id, job_id in keys:
        by_tenant.setdefault(tenant_id, []).append(job_id)
    for tenant_id, job_ids in by_tenant.items():
        for job in store.load(connection, tenant_id, job_ids).values():
            if not lease.overrun(job, now_ms):
                continue
            taken.lost.append((job.tenant_id, job.runner_id or "", job.lease_id or b""))
            notes += lease.end_overrun(job, now_ms)
            (taken.requeued if job.state is JobState.QUEUED else taken.ended).append(job)
    changed = [*taken.ended, *taken.requeued]
    store.save(connection, changed)
    store.add_notes(connection, notes)
    store.drop_chunks(connection, changed)
    return taken
