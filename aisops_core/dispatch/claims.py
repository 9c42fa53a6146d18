"""Giving queued jobs to connected Runners: many in one unit of work, each lease committed before its Job is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, bindparam, select

from aisops_core.dispatch import job as machine
from aisops_core.dispatch import store
from aisops_core.dispatch.job import Grant, JobRecord
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.matching import Demand, Offer, assign, refusal
from aisops_core.dispatch.records import SessionRef
from aisops_core.storage.hot import HotLookup
from aisops_core.storage.schema import runners
from aisops_protocol.messages import EffectClass, Job

CLAIM_LIMIT: Final = 256
_EPOCHS: Final = HotLookup(
    lambda keys: (
        select(runners.c.runner_id, runners.c.session_epoch)
        .where(runners.c.tenant_id == bindparam("b_tenant_id"), runners.c.runner_id.in_(keys))
        .with_for_update(read=True)
    ),
    ("b_tenant_id",),
)
LEASE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Capacity:
    """A session with room, as it stood when the claim was made."""

    ref: SessionRef
    offer: Offer
    journal_id: bytes
    effects: Mapping[str, EffectClass]


@dataclass(frozen=True, slots=True)
class Market:
    """One tenant's side of a claim: sessions with room, and the routes on which jobs may wait."""

    tenant_id: str
    capacities: Sequence[Capacity]
    routes: Mapping[bytes, Demand]


@dataclass(slots=True)
class Claims:
    """What a claim did: jobs given to sessions, routes found empty, sessions found fenced off."""

    given: list[tuple[JobRecord, SessionRef]] = field(default_factory=list)
    emptied: list[tuple[str, bytes]] = field(default_factory=list)
    fenced: list[SessionRef] = field(default_factory=list)


def claim(connection: Connection, markets: Sequence[Market], lessor: Lessor) -> Claims:
    """Lease waiting jobs to the sessions that may have them."""
    claims = Claims()
    for market in markets:
        live = _unfenced(connection, market, claims)
        if not live:
            continue
        waiting, exhausted = _waiting(connection, market, live, lessor.now_ms)
        given = lessor.give(claims, market, live, waiting)
        left = {job.route for job in waiting if job.job_id not in given}
        claims.emptied += [(market.tenant_id, route) for route in exhausted - left]
    store.save(connection, [job for job, _ in claims.given])
    return claims


def lease_new(connection: Connection, markets: Sequence[Market], jobs: Sequence[JobRecord], lessor: Lessor) -> Claims:
    """Lease jobs that are about to be stored for the first time, so that they need not be stored as waiting before.

    Jobs that wait on the same route already go first: then the new ones are left to wait behind them.
    """
    claims = Claims()
    for market in markets:
        live = _unfenced(connection, market, claims)
        if not live:
            continue
        open_routes = {
            route for route in market.routes if not store.more_queued_on(connection, market.tenant_id, route, 0)
        }
        mine = [job for job in jobs if job.tenant_id == market.tenant_id and job.route in open_routes]
        mine.sort(key=_turn)
        lessor.give(claims, market, live, mine)
    return claims


@dataclass(frozen=True, slots=True)
class Lessor:
    """Draws up leases: their terms, and the moment they begin (wall clock, ms)."""

    terms: LeaseTerms
    now_ms: int
    random_bytes: Callable[[int], bytes]

    def give(
        self, claims: Claims, market: Market, live: Mapping[str, Capacity], waiting: Sequence[JobRecord]
    ) -> set[str]:
        """Lease jobs, in the order given, to sessions that may have them; returns the ids of those leased."""
        wanted = [(job, market.routes[job.route]) for job in waiting]
        pairs = assign(wanted, [capacity.offer for capacity in live.values()])
        drawn, until = self.random_bytes(LEASE_BYTES * len(pairs)), self.terms.until(self.now_ms)
        patience_ms = self.terms.patience_ms
        for at, (job, runner_id) in enumerate(pairs):
            capacity = live[runner_id]
            lease_id = drawn[at * LEASE_BYTES : (at + 1) * LEASE_BYTES]
            grant = Grant(runner_id, capacity.ref.session_epoch, capacity.journal_id, lease_id, until, patience_ms)
            machine.lease(job, grant, self.now_ms)
            if capacity.effects.get(job.capability) is not EffectClass.IDEMPOTENT:
                job.effect_class = EffectClass.AT_MOST_ONCE  # the more careful of the two descriptions counts
            claims.given.append((job, capacity.ref))
        return {job.job_id for job, _ in pairs}


def _turn(job: JobRecord) -> tuple[int, str]:
    """Order among waiting jobs: highest priority, then oldest."""
    return -job.priority, job.job_id


def _unfenced(connection: Connection, market: Market, claims: Claims) -> dict[str, Capacity]:
    """The sessions that still are the newest of their Runner; the rows stay locked until the leases are stored."""
    names = [capacity.ref.runner_id for capacity in market.capacities]
    rows = _EPOCHS.rows(connection, names, market.tenant_id)
    epochs = {str(runner_id): int(epoch) for runner_id, epoch in rows}
    live: dict[str, Capacity] = {}
    for capacity in market.capacities:
        if epochs.get(capacity.ref.runner_id) == capacity.ref.session_epoch:
            live[capacity.ref.runner_id] = capacity
        else:
            claims.fenced.append(capacity.ref)
    return live


def _waiting(
    connection: Connection, market: Market, live: Mapping[str, Capacity], now_ms: int
) -> tuple[list[JobRecord], set[bytes]]:
    """Candidates of every route that has a Runner, best first; and the routes on which nothing else waits."""
    found: list[JobRecord] = []
    exhausted: set[bytes] = set()
    for route, demand in market.routes.items():
        offers = [capacity.offer for capacity in live.values() if refusal(demand, capacity.offer) is None]
        room = min(CLAIM_LIMIT, sum(offer.free_slots for offer in offers))
        if room == 0:
            continue
        ready = store.queued_on(connection, market.tenant_id, route, now_ms, room)
        # Jobs whose time has not come, and those another process has locked, count as waiting too.
        if len(ready) < room and not store.more_queued_on(connection, market.tenant_id, route, len(ready)):
            exhausted.add(route)
        found += ready
    found.sort(key=_turn)
    return found[:CLAIM_LIMIT], exhausted


def message(job: JobRecord, terms: LeaseTerms) -> Job:
    """The Job to send for a leased record that was read with its input.

    Raises:
        ValueError: The record has no lease.
    """
    if job.lease_id is None:
        raise ValueError("a job without a lease cannot be sent")
    return Job(
        job_id=job.job_id,
        lease_id=job.lease_id,
        attempt=job.attempt,
        capability=job.capability,
        input=job.input,
        input_sha256=job.input_sha256,
        effect_key=job.job_id,
        effect_class=job.effect_class,
        timeout_ms=job.timeout_ms,
        lease_ms=terms.lease_ms,
        start_by_ms=terms.start_ms,
        priority=job.priority,
        execution_id=job.execution_id,
        step_id=job.step_id,
    )
