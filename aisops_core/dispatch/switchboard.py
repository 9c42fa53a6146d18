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
        markets = []
        for tenant_id, waiting in self.routes.all():
            routes: dict[bytes, Demand] = {}
            found: dict[str, LiveSession] = {}
            for route, demand in waiting.items():
                sessions = self.sessions.with_room(tenant_id, demand, CLAIM_LIMIT)
                if sessions:
                    routes[route] = demand
                    found.update((session.ref.runner_id, session) for session in sessions)
            if routes:
                markets.append(Market(tenant_id, [session.capacity() for session in found.values()], routes))
        return markets
