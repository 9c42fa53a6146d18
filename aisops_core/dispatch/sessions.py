"""Who is connected to this process: live sessions, their leases and free slots, and the ruling on clones. In memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from aisops_core.dispatch.claims import Capacity
from aisops_core.dispatch.matching import Demand, Offer, refusal
from aisops_core.dispatch.offering import Offered, Offering
from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.records import SessionRef
from aisops_protocol.messages import Heartbeat, Ping
from aisops_protocol.resume import Share
from aisops_protocol.skew import ClockLevel, SkewWatch

LIVE_S: Final = 30.0
"""Heard of within this time, a session counts as live."""
PING_S: Final = 5.0
"""So long a session that counts as live may take to prove it when another instance knocks."""
SUPERSEDED: Final = "SUPERSEDED"
TAKEN_OVER: Final = "A newer session of this Runner has taken over."


@dataclass(slots=True)
class LiveSession:
    """One open session. Times are monotonic seconds.

    `leases` maps each lease to its job. `unaccepted` holds, oldest first, those sent without JobAccept yet and when.
    `reserved` counts slots that the Runner says are taken by something Core does not know of, `offered` those that a
    claim under way may give. `backlog` are the earlier openings of its outbox that still have rows to come. `clock` is
    how far the Runner's clock is off. `confirmed_epoch` is the newest session that its disk certainly knows of once
    it was heard.
    """

    ref: SessionRef
    outlet: Outlet
    instance_id: bytes
    journal_id: bytes
    capabilities: Offered
    labels: Mapping[str, str]
    slots: int
    heard: float
    leases: dict[bytes, str] = field(default_factory=dict)
    unaccepted: dict[bytes, float] = field(default_factory=dict)
    reserved: int = 0
    offered: int = 0
    backlog: tuple[Share, ...] = ()
    clock: SkewWatch = field(default_factory=SkewWatch)
    confirmed_epoch: int = 0
    draining: bool = False
    turn: int = 0
    """Kept by `Offering`: the order in which sessions are given work."""
    answer: asyncio.Event | None = None
    """Set by what is heard next; there only while somebody waits for it."""

    @property
    def free_slots(self) -> int:
        """How many more jobs the Runner can take now."""
        return max(0, self.slots - len(self.leases) - self.reserved - self.offered)

    @property
    def offer(self) -> Offer:
        """What the Runner has to give at this moment."""
        return Offer(self.ref.runner_id, self.capabilities.keys(), self.labels, self.free_slots, self.draining)

    def may_have(self, demand: Demand) -> bool:
        """Whether the Runner may have such a job now."""
        return self.free_slots > 0 and refusal(demand, self.offer) is None

    def capacity(self, most: int) -> Capacity:
        """What the session has to give, for a claim of at most so many jobs."""
        offer = self.offer
        return Capacity(
            self.ref, replace(offer, free_slots=min(most, offer.free_slots)), self.journal_id, self.capabilities
        )

    def hear(self, now: float) -> None:
        """Something arrived: the Runner is alive."""
        self.heard = now
        if self.answer is not None:
            self.answer.set()

    def give(self, lease_id: bytes, job_id: str, now: float) -> None:
        """A job was sent."""
        self.leases[lease_id] = job_id
        self.unaccepted[lease_id] = now

    def accepted(self, lease_ids: Iterable[bytes]) -> None:
        """The Runner has these in its journal."""
        for lease_id in lease_ids:
            self.unaccepted.pop(lease_id, None)

    def freed(self, lease_ids: Iterable[bytes]) -> None:
        """These no longer take a slot."""
        for lease_id in lease_ids:
            self.unaccepted.pop(lease_id, None)
            if self.leases.pop(lease_id, None) is None:
                self.reserved = max(0, self.reserved - 1)

    def beat(self, heartbeat: Heartbeat) -> bool:
        """Correct the count of free slots by what the Runner says; True when it has room that it had not before.

        A heartbeat overtakes results and is overtaken by jobs, so it may show fewer taken slots than Core counts; that
        is no news. More taken slots are: something runs there that Core does not know of.
        """
        before = 0 if self.draining else self.free_slots
        self.draining = heartbeat.draining
        self.reserved = max(0, self.slots - len(self.leases) - heartbeat.free_slots)
        return not self.draining and self.free_slots > before

    def overdue(self, now: float, accept_s: float) -> list[bytes]:
        """Leases sent longer than `accept_s` ago and not accepted: sent once more, then the lease's limits count."""
        late = []
        for lease_id, sent in self.unaccepted.items():
            if now - sent < accept_s:
                break
            late.append(lease_id)
        for lease_id in late:
            del self.unaccepted[lease_id]
        return late

    def next_overdue(self, accept_s: float) -> float | None:
        """When `overdue` will next find something."""
        oldest = next(iter(self.unaccepted.values()), None)
        return None if oldest is None else oldest + accept_s


class Sessions:
    """The live sessions of this process, one per Runner, found by tenant and capability as well as by name."""

    def __init__(self) -> None:
        self._live: dict[tuple[str, str], LiveSession] = {}
        self._offering: Offering[LiveSession] = Offering()
        self._sent: dict[tuple[str, str], LiveSession] = {}

    def __len__(self) -> int:
        return len(self._live)

    def with_clock(self, level: ClockLevel) -> int:
        """How many Runners connected here have a clock that is off by so much."""
        return sum(1 for session in self._live.values() if session.clock.level is level)

    def all(self) -> tuple[LiveSession, ...]:
        """Every live session."""
        return tuple(self._live.values())

    def of(self, tenant_id: str, runner_id: str) -> LiveSession | None:
        """The Runner's session, if it is connected here."""
        return self._live.get((tenant_id, runner_id))

    def offers(self, tenant_id: str) -> dict[str, Offer]:
        """What the tenant's Runners connected here have to give, by Runner."""
        mine = (session for session in self._live.values() if session.ref.tenant_id == tenant_id)
        return {session.ref.runner_id: session.offer for session in mine}

    def find(self, ref: SessionRef) -> LiveSession | None:
        """The session of this reference, if it still is the Runner's newest here."""
        session = self._live.get((ref.tenant_id, ref.runner_id))
        return session if session is not None and session.ref == ref else None

    def install(self, session: LiveSession) -> LiveSession | None:
        """Make this the Runner's session; returns the one it replaces."""
        tenant_id, runner_id = key = (session.ref.tenant_id, session.ref.runner_id)
        replaced = self._live.get(key)
        if replaced is not None:
            self._forget(replaced)
        self._live[key] = session
        self._offering.add(tenant_id, session.capabilities.group, runner_id, session)
        if session.unaccepted:
            self._sent[key] = session
        return replaced

    def remove(self, ref: SessionRef) -> LiveSession | None:
        """Forget a session; None when it was not (or no longer) the Runner's newest here."""
        session = self.find(ref)
        if session is not None:
            self._forget(session)
        return session

    def withdraw(self, session: LiveSession, capability: str) -> None:
        """The Runner says that it does not have this after all."""
        tenant_id, runner_id = session.ref.tenant_id, session.ref.runner_id
        self._offering.discard(tenant_id, session.capabilities.group, runner_id)
        session.capabilities = session.capabilities.without(capability)
        self._offering.add(tenant_id, session.capabilities.group, runner_id, session)

    def _forget(self, session: LiveSession) -> None:
        tenant_id, runner_id = key = (session.ref.tenant_id, session.ref.runner_id)
        del self._live[key]
        self._sent.pop(key, None)
        self._offering.discard(tenant_id, session.capabilities.group, runner_id)

    # --- giving out work --------------------------------------------------------------------------------------------

    def with_room(self, tenant_id: str, demand: Demand, most: int) -> list[LiveSession]:
        """Sessions that may have such a job now, at most `most`: those first that were given nothing for longest.

        However many Runners are connected, a claim looks at few of them.
        """
        if demand.pinned_runner_id is not None:
            session = self.of(tenant_id, demand.pinned_runner_id)
            return [session] if session is not None and session.may_have(demand) else []
        offering = self._offering.having(tenant_id, demand.capability)
        return list(islice((session for session in offering if session.may_have(demand)), most))

    def gave(self, session: LiveSession) -> None:
        """The session was given work: others are asked before it, and its acceptance is awaited."""
        tenant_id, runner_id = session.ref.tenant_id, session.ref.runner_id
        self._offering.gave(tenant_id, session.capabilities.group, runner_id)
        self._sent[tenant_id, runner_id] = session

    def awaiting(self) -> list[LiveSession]:
        """Sessions that have not accepted everything they were sent."""
        self._sent = {key: session for key, session in self._sent.items() if session.unaccepted}
        return list(self._sent.values())


async def may_replace(old: LiveSession | None, instance_id: bytes, now: float, *, ping_s: float = PING_S) -> bool:
    """Whether a newly arrived instance of a Runner may take over from the session that is there.

    The same process coming back, or a session gone silent, gives way at once. A session of another process that counts
    as live is asked: when it answers, two machines share one identity, and the newcomer is refused.
    """
    if old is None or old.instance_id == instance_id or now - old.heard >= LIVE_S:
        return True
    old.answer = answer = asyncio.Event()
    old.outlet.send(Ping())
    try:
        async with asyncio.timeout(ping_s):
            await answer.wait()
    except TimeoutError:
        return True
    finally:
        old.answer = None
    return False
