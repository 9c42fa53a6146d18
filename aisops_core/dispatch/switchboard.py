"""What this process knows in memory and who must be woken when it changes: sessions, routes with waiting jobs, waiters.

Nothing here is the truth, which is in the database; losing it costs a read, never a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aisops_core.dispatch.claims import CLAIM_LIMIT, Market
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.matching import Demand, demand_of
from aisops_core.dispatch.records import SessionRef
from aisops_core.dispatch.sessions import SUPERSEDED, TAKEN_OVER, LiveSession, Sessions
from aisops_core.dispatch.waiters import Waiters
from aisops_protocol.messages import JobCancel


class Routes:
    """Routes on which jobs may wait. A route is dropped when a claim finds it empty and nothing was added meanwhile."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[bytes, Demand]] = {}
        self._added: dict[tuple[str, bytes], int] = {}
        self._count = 0

    def add(self, tenant_id: str, demand: Demand) -> None:
        """Jobs wait here."""
        self._note(tenant_id, demand.route, demand)

    def add_job(self, record: JobRecord) -> None:
        """This job waits."""
        demand = self._tenants.get(record.tenant_id, {}).get(record.route)
        if demand is None:
            demand = demand_of(record.capability, record.labels_json, record.pinned_runner_id)
        self._note(record.tenant_id, record.route, demand)

    def _note(self, tenant_id: str, route: bytes, demand: Demand) -> None:
        self._count += 1
        self._tenants.setdefault(tenant_id, {})[route] = demand
        self._added[tenant_id, route] = self._count

    def mark(self) -> int:
        """A point in time, for `drop`."""
        return self._count

    def drop(self, emptied: Iterable[tuple[str, bytes]], mark: int) -> None:
        """Forget routes found empty, but not those where a job was added after `mark`."""
        for tenant_id, route in emptied:
            if self._added.get((tenant_id, route), 0) <= mark:
                routes = self._tenants.get(tenant_id, {})
                routes.pop(route, None)
                self._added.pop((tenant_id, route), None)
                if not routes:
                    self._tenants.pop(tenant_id, None)

    def all(self) -> Iterable[tuple[str, Mapping[bytes, Demand]]]:
        """Every tenant's routes; tenants without any are left out."""
        return self._tenants.items()


class Hold:
    """Slots on offer in a claim that is under way. Each slot is in one hold at most, so that none is given twice."""

    def __init__(self, held: Sequence[tuple[LiveSession, int]]) -> None:
        self._held = held
        self.slots = sum(slots for _, slots in held)

    def release(self) -> None:
        """The claim is over; what it gave counts as given from now on."""
        for session, slots in self._held:
            session.offered -= slots
        self._held = ()


class Switchboard:
    """Joins what is known in memory, and wakes the pump and the timekeeper when it changes."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.routes = Routes()
        self.waiters = Waiters()
        self.work = asyncio.Event()
        self.timing = asyncio.Event()
        self.next_due_unix_ms: int | None = None

    def queued(self, records: Iterable[JobRecord]) -> None:
        """Jobs wait for a Runner."""
        for record in records:
            self.routes.add_job(record)
            self.due(record.queue_expires_unix_ms)
            if record.not_before_unix_ms:
                self.due(record.not_before_unix_ms)
        self.work.set()

    def ended(self, records: Sequence[JobRecord]) -> None:
        """Jobs have ended."""
        self.waiters.tell(records)

    def fenced(self, refs: Iterable[SessionRef]) -> None:
        """Newer sessions of these Runners have taken over, perhaps at another Core."""
        for ref in refs:
            session = self.sessions.remove(ref)
            if session is not None:
                session.outlet.close(SUPERSEDED, TAKEN_OVER)

    def lost(self, leases: Iterable[tuple[str, str, bytes]]) -> None:
        """These (tenant, Runner, lease) no longer count: a Runner connected here is told to let go."""
        for tenant_id, runner_id, lease_id in leases:
            session = self.sessions.of(tenant_id, runner_id)
            if session is not None and lease_id in session.leases:
                session.outlet.send(JobCancel(session.leases[lease_id], lease_id))
                session.freed([lease_id])

    def due(self, at_unix_ms: int) -> None:
        """Something is to be looked at then (wall clock, ms)."""
        if self.next_due_unix_ms is None or at_unix_ms < self.next_due_unix_ms:
            self.next_due_unix_ms = at_unix_ms
            self.timing.set()

    def markets(self) -> list[Market]:
        """Tenants that have both a route with waiting jobs and a session with room for it."""
        found = []
        for tenant_id, waiting in self.routes.all():
            wanted = [(route, demand, CLAIM_LIMIT) for route, demand in waiting.items()]
            market = self._market(tenant_id, wanted, CLAIM_LIMIT)
            if market is not None:
                found.append(market)
        return found

    def markets_for(self, records: Sequence[JobRecord]) -> list[Market]:
        """As `markets`, for jobs that are about to be stored: no session offers more than there are jobs for it."""
        counts: dict[str, dict[bytes, tuple[Demand, int]]] = {}
        for record in records:
            routes = counts.setdefault(record.tenant_id, {})
            known = routes.get(record.route)
            if known is None:
                demand = demand_of(record.capability, record.labels_json, record.pinned_runner_id)
                routes[record.route] = (demand, 1)
            else:
                routes[record.route] = (known[0], known[1] + 1)
        found = []
        for tenant_id, routes in counts.items():
            wanted = [(route, demand, count) for route, (demand, count) in routes.items()]
            market = self._market(tenant_id, wanted, sum(count for _, _, count in wanted))
            if market is not None:
                found.append(market)
        return found

    def _market(self, tenant_id: str, wanted: Sequence[tuple[bytes, Demand, int]], most: int) -> Market | None:
        """A tenant's routes with the sessions that have room for so many jobs on each, none with more than `most`."""
        routes: dict[bytes, Demand] = {}
        found: dict[str, LiveSession] = {}
        for route, demand, count in wanted:
            sessions = self.sessions.with_room(tenant_id, demand, min(count, CLAIM_LIMIT))
            if sessions:
                routes[route] = demand
                found.update((session.ref.runner_id, session) for session in sessions)
        if not routes:
            return None
        return Market(tenant_id, [session.capacity(most) for session in found.values()], routes)

    def hold(self, markets: Iterable[Market]) -> Hold:
        """Keep the slots that these markets offer from being offered a second time."""
        held = []
        for market in markets:
            for capacity in market.capacities:
                session = self.sessions.find(capacity.ref)
                if session is not None:
                    held.append((session, capacity.offer.free_slots))
                    session.offered += capacity.offer.free_slots
        return Hold(held)
