"""Who is connected to this process: live sessions, their leases and free slots, and the ruling on clones. In memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aisops_core.dispatch.claims import Capacity
from aisops_core.dispatch.matching import Offer
from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.records import SessionRef
from aisops_protocol.messages import EffectClass, Heartbeat, Ping

LIVE_S: Final = 30.0
"""Heard of within this time, a session counts as live."""
PING_S: Final = 5.0
"""So long a session that counts as live may take to prove it when another instance knocks."""


@dataclass(slots=True)
class LiveSession:
    """One open session. Times are monotonic seconds.

    `leases` maps each lease to its job. `unaccepted` holds, oldest first, those sent without JobAccept yet and when.
    `reserved` counts slots that the Runner says are taken by something Core does not know of.
    """

    ref: SessionRef
    outlet: Outlet
    instance_id: bytes
    journal_id: bytes
    capabilities: dict[str, EffectClass]
    labels: Mapping[str, str]
    slots: int
    heard: float
    leases: dict[bytes, str] = field(default_factory=dict)
    unaccepted: dict[bytes, float] = field(default_factory=dict)
    reserved: int = 0
    draining: bool = False
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def free_slots(self) -> int:
        """How many more jobs the Runner can take now."""
        return max(0, self.slots - len(self.leases) - self.reserved)

    def capacity(self) -> Capacity:
        """What the session has to give, for a claim."""
        offer = Offer(self.ref.runner_id, self.capabilities.keys(), self.labels, self.free_slots, self.draining)
        return Capacity(self.ref, offer, self.journal_id, self.capabilities)

    def hear(self, now: float) -> None:
        """Something arrived: the Runner is alive."""
        self.heard = now
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

    def beat(self, heartbeat: Heartbeat) -> None:
        """Correct the count of free slots by what the Runner says.

        A heartbeat overtakes results and is overtaken by jobs, so it may show fewer taken slots than Core counts; that
        is no news. More taken slots are: something runs there that Core does not know of.
        """
        self.draining = heartbeat.draining
        self.reserved = max(0, self.slots - len(self.leases) - heartbeat.free_slots)

    def overdue(self, now: float, accept_s: float) -> list[bytes]:
        """Leases sent longer than `accept_s` ago and not accepted; each is given that long again."""
        late = []
        for lease_id, sent in self.unaccepted.items():
            if now - sent < accept_s:
                break
            late.append(lease_id)
        for lease_id in late:
            del self.unaccepted[lease_id]
            self.unaccepted[lease_id] = now
        return late

    def next_overdue(self, accept_s: float) -> float | None:
        """When `overdue` will next find something."""
        oldest = next(iter(self.unaccepted.values()), None)
        return None if oldest is None else oldest + accept_s


class Sessions:
    """The live sessions of this process, one per Runner."""

    def __init__(self) -> None:
        self._live: dict[tuple[str, str], LiveSession] = {}

    def __len__(self) -> int:
        return len(self._live)

    def all(self) -> tuple[LiveSession, ...]:
        """Every live session."""
        return tuple(self._live.values())

    def of(self, tenant_id: str, runner_id: str) -> LiveSession | None:
        """The Runner's session, if it is connected here."""
        return self._live.get((tenant_id, runner_id))

    def find(self, ref: SessionRef) -> LiveSession | None:
        """The session of this reference, if it still is the Runner's newest here."""
        session = self._live.get((ref.tenant_id, ref.runner_id))
        return session if session is not None and session.ref == ref else None

    def install(self, session: LiveSession) -> LiveSession | None:
        """Make this the Runner's session; returns the one it replaces."""
        key = (session.ref.tenant_id, session.ref.runner_id)
        replaced = self._live.get(key)
        self._live[key] = session
        return replaced

    def remove(self, ref: SessionRef) -> LiveSession | None:
        """Forget a session; None when it was not (or no longer) the Runner's newest here."""
        session = self.find(ref)
        if session is not None:
            del self._live[ref.tenant_id, ref.runner_id]
        return session


async def may_replace(old: LiveSession | None, instance_id: bytes, now: float, *, ping_s: float = PING_S) -> bool:
    """Whether a newly arrived instance of a Runner may take over from the session that is there.

    The same process coming back, or a session gone silent, gives way at once. A session of another process that counts
    as live is asked: when it answers, two machines share one identity, and the newcomer is refused.
    """
    if old is None or old.instance_id == instance_id or now - old.heard >= LIVE_S:
        return True
    old.answer.clear()
    old.outlet.send(Ping())
    try:
        async with asyncio.timeout(ping_s):
            await old.answer.wait()
    except TimeoutError:
        return True
    return False
