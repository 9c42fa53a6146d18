"""Reads the facts that `explain` puts into words: the job, its place in the queue, and every Runner beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, and_, func, literal_column, or_, select

from aisops_core.dispatch import aftermath, store
from aisops_core.dispatch.explain import Place, Standing
from aisops_core.dispatch.job import ACTIVE, JobRecord, JobState
from aisops_core.dispatch.matching import Offer
from aisops_core.runners.store import LOST_MS
from aisops_core.storage.schema import capabilities, jobs, runners

COUNTED: Final = 10_000
"""So many jobs ahead are counted; beyond that nobody needs the number, and counting would take long."""


def read(connection: Connection, tenant_id: str, job_id: str, now_ms: int, live: Mapping[str, Offer]) -> Standing:
    """The facts about one job.

    Args:
        connection: A reader's.
        tenant_id: Whose job.
        job_id: Which.
        now_ms: Wall clock, ms.
        live: Offers of the tenant's Runners that are connected to this process: newer than the database.

    Raises:
        JobNotFound: This tenant has no such job.
    """
    job = store.get(connection, tenant_id, job_id)
    beside = aftermath.read(connection, tenant_id, job_id)
    if job.state is JobState.QUEUED:
        offers = [offer for offer, _ in _offers(connection, job, now_ms, live)]
        return Standing(job, now_ms, offers, _place(connection, job, now_ms), aftermath=beside)
    if job.state in ACTIVE:
        holder, heard = next(iter(_offers(connection, job, now_ms, live, job.runner_id)), (None, 0))
        return Standing(job, now_ms, holder=holder, heard_unix_ms=heard, aftermath=beside)
    return Standing(job, now_ms, aftermath=beside)


def _place(connection: Connection, job: JobRecord, now_ms: int) -> Place:
    c = jobs.c
    before = or_(c.priority > job.priority, and_(c.priority == job.priority, c.job_id < job.job_id))
    ahead = (
        select(c.job_id)
        .where(
            c.tenant_id == job.tenant_id,
            c.route == job.route,
            c.state == literal_column("'queued'"),
            c.not_before_unix_ms <= now_ms,
            before,
        )
        .limit(COUNTED)
        .subquery()
    )
    count = int(connection.execute(select(func.count()).select_from(ahead)).scalar_one())
    return Place(count, more=count == COUNTED)


def _offers(
    connection: Connection, job: JobRecord, now_ms: int, live: Mapping[str, Offer], runner_id: str | None = None
) -> Sequence[tuple[Offer, int]]:
    """The tenant's Runners (or the one), and when each was last heard of."""
    r, c = runners.c, capabilities.c
    able = {
        name
        for (name,) in connection.execute(
            select(c.runner_id).where(c.tenant_id == job.tenant_id, c.name == job.capability)
        )
    }
    query = select(r.runner_id, r.labels_json, r.free_slots, r.draining, r.connected, r.last_seen_unix_ms).where(
        r.tenant_id == job.tenant_id
    )
    if runner_id is not None:
        query = query.where(r.runner_id == runner_id)
    found = []
    for name, labels, free_slots, draining, connected, seen in connection.execute(query.order_by(r.runner_id)):
        known = Offer(
            name,
            (job.capability,) if name in able else (),
            json.loads(labels),
            free_slots,
            bool(draining),
            bool(connected) and now_ms - seen < LOST_MS,
        )
        found.append((live.get(name, known), seen))
    return found
