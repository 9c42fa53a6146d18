"""The reception: opens, feeds and closes Runner sessions, and sets in motion what their messages lead to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from aisops_core.clock import Clock
from aisops_core.dispatch import opening
from aisops_core.dispatch.beats import Beats
from aisops_core.dispatch.catalog import Catalog
from aisops_core.dispatch.clones import Clones
from aisops_core.dispatch.doors import Doors
from aisops_core.dispatch.ingest import ingest
from aisops_core.dispatch.inputs import InputSchemas
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.offering import Offers
from aisops_core.dispatch.opening import Opened, Opening
from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.pump import send_again
from aisops_core.dispatch.records import OpenedSession, SessionRef
from aisops_core.dispatch.sessions import PING_S, SUPERSEDED, TAKEN_OVER, LiveSession, may_replace
from aisops_core.dispatch.sighting import sight
from aisops_core.dispatch.switchboard import Switchboard
from aisops_core.dispatch.upkeep import Renewal
from aisops_core.errors import Fenced, SessionRefused
from aisops_core.storage.engine import Store
from aisops_core.storage.gather import Gather
from aisops_core.tenants.principal import Principal
from aisops_protocol.errors import Refusal
from aisops_protocol.limits import FEATURE_SESSION_EPOCH, PROTOCOL_MAX, PROTOCOL_MIN, TOKEN_BYTES
from aisops_protocol.messages import Ack, Heartbeat, Hello, JobCancel, RunnerEnvelope, Welcome
from aisops_protocol.resume import unfinished
from aisops_protocol.skew import SkewWatch

log = structlog.get_logger(__name__)


class Reception:
    """Sessions from Hello to close. `core_epoch` is set before the first session opens."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        board: Switchboard,
        catalog: Catalog,
        schemas: InputSchemas,
        *,
        terms: LeaseTerms,
        random_bytes: Callable[[int], bytes],
        replica: str,
        heartbeat_s: float,
        ping_s: float = PING_S,
    ) -> None:
        self._store, self._clock, self._board = store, clock, board
        self._catalog, self._schemas = catalog, schemas
        self._terms, self._random_bytes = terms, random_bytes
        self._replica, self._heartbeat_s, self._ping_s = replica, heartbeat_s, ping_s
        self._doors, self._offers = Doors(), Offers()
        self._openings = Gather[Opening, Opened](self._open_together)
        self._closings = Gather[SessionRef, None](self._close_together)
        self._clones = Clones(store, clock)
        self.beats = Beats(store, clock, terms, heartbeat_s, board.fenced)
        self.core_epoch = b""

    async def open(self, principal: Principal, hello: Hello, outlet: Outlet) -> OpenedSession:
        """Admit a Runner as its newest session; an older one of it is closed.

        The caller sends the Welcome before anything the outlet is given.

        Raises:
            SessionRefused: Not enrolled, no common protocol version, or another machine already uses this identity.
            StorageUnavailable: The database could not serve.
        """
        if principal.kind != "runner":
            raise SessionRefused(Refusal.UNAUTHENTICATED.value, "Only a runner token opens a session.")
        if hello.protocol_min > PROTOCOL_MAX or hello.protocol_max < PROTOCOL_MIN:
            message = f"Core speaks protocol versions {PROTOCOL_MIN} to {PROTOCOL_MAX}."
            raise SessionRefused(Refusal.PROTOCOL_UNSUPPORTED.value, message)
        tenant_id, runner_id = principal.tenant_id, principal.subject_id
        async with self._doors.of(tenant_id, runner_id):
            old = self._board.sessions.of(tenant_id, runner_id)
            free = await may_replace(old, hello.instance_id, self._clock.monotonic(), ping_s=self._ping_s)
            if old is not None and not free:
                raise self._clones.refuse(sight(old, principal, hello, outlet.peer))
            problems = self._schemas.problems_if_known(hello.capabilities)
            if problems is None:  # compiling takes time, and hostile schemas take more
                problems = await asyncio.to_thread(self._schemas.problems, hello.capabilities)
            session_id = self._random_bytes(TOKEN_BYTES)
            request = Opening(tenant_id, runner_id, session_id, self.core_epoch, hello, problems)
            return self._install(request, await self._openings.add(request), outlet)

    async def _open_together(self, requests: Sequence[Opening]) -> Sequence[Opened | Exception]:
        now_ms = self._clock.unix_ms()
        return await self._store.write(
            lambda connection: opening.open_sessions(
                connection, requests, terms=self._terms, now_ms=now_ms, random_bytes=self._random_bytes
            )
        )

    async def _close_together(self, refs: Sequence[SessionRef]) -> Sequence[None]:
        await self._store.write(lambda connection: opening.close_sessions(connection, refs))
        return [None] * len(refs)

    def _install(self, request: Opening, opened: Opened, outlet: Outlet) -> OpenedSession:
        """No await from the commit to the return: nothing can be sent before the caller has the Welcome."""
        hello, now = request.hello, self._clock.monotonic()
        ref = SessionRef(request.tenant_id, request.runner_id, request.session_id, opened.session_epoch)
        keeps = bool(hello.feature_bits & FEATURE_SESSION_EPOCH)
        session = LiveSession(
            ref=ref,
            outlet=outlet,
            instance_id=hello.instance_id,
            journal_id=hello.journal_id,
            capabilities=self._offers.of(hello),
            labels=opened.labels,
            slots=hello.job_slots,
            heard=now,
            leases={lease_id: job_id for lease_id, (job_id, _) in opened.leases.items()},
            unaccepted={lease_id: now for lease_id, (_, accepted) in opened.leases.items() if not accepted},
            backlog=unfinished(hello, opened.lane.seq),
            clock=SkewWatch(opened.clock_level),
            confirmed_epoch=opened.session_epoch if keeps else opened.confirmed_epoch,
        )
        replaced = self._board.sessions.install(session)
        if replaced is not None:
            replaced.outlet.close(SUPERSEDED, TAKEN_OVER)
        if opened.offers_changed:
            self._catalog.forget(ref.tenant_id)
        self._board.ended(opened.ended)
        if opened.requeued:
            self._board.queued(opened.requeued)
        outlet.send(*(JobCancel(job_id, lease_id) for job_id, lease_id in opened.stopping))
        send_again(session, opened.redeliver, opened.leases, self._terms)
        if session.unaccepted:
            self._board.timing.set()
        if session.free_slots:
            self._board.work.set()
        return OpenedSession(ref, self._welcome(request, opened))

    def _welcome(self, request: Opening, opened: Opened) -> Welcome:
        return Welcome(
            session_id=request.session_id,
            session_epoch=opened.session_epoch,
            core_epoch=self.core_epoch,
            core_replica=self._replica,
            protocol=min(request.hello.protocol_max, PROTOCOL_MAX),
            clock_unix_ms=self._clock.unix_ms(),
            ack_watermark=Ack(request.hello.queue_epoch, opened.lane.seq),
            heartbeat_interval_ms=round(self._heartbeat_s * 1000),
            lease_ms=self._terms.lease_ms,
            feature_bits=request.hello.feature_bits & FEATURE_SESSION_EPOCH,
            job_verdicts=tuple(opened.verdicts),
        )

    async def deliver(
        self, ref: SessionRef, queue_epoch: bytes, envelopes: Sequence[RunnerEnvelope], upto_seq: int
    ) -> None:
        """Commit durable messages with their watermark, then tell whoever waits for what they brought.

        Raises:
            Fenced: A newer session has taken over; nothing was stored.
            StorageUnavailable: The database could not serve; nothing may be acknowledged.
        """
        live = self._hear(ref)
        backlog = live.backlog if live is not None else ()
        now_ms = self._clock.unix_ms()
        outcome = await self._store.write(
            lambda connection: ingest(
                connection, ref, queue_epoch, envelopes, upto_seq=upto_seq, now_ms=now_ms, backlog=backlog
            )
        )
        if live is not None and backlog:
            live.backlog = tuple(one for one in backlog if one.last > upto_seq)
        self._board.ended(outcome.ended)
        if outcome.requeued:
            self._board.queued(outcome.requeued)
        if outcome.withdrawn:
            self._catalog.forget(ref.tenant_id)
        session = self._board.sessions.find(ref)
        if session is None:
            return
        session.accepted(outcome.accepted)
        for capability in outcome.withdrawn:
            self._board.sessions.withdraw(session, capability)
        for job_id, lease_id in outcome.stale:
            session.outlet.send(JobCancel(job_id, lease_id))
        if outcome.freed:
            session.freed(outcome.freed)
            self._board.work.set()

    def heartbeat(self, ref: SessionRef, heartbeat: Heartbeat) -> None:
        """Note that a Runner lives; soon, with others, this and the leases it lists are renewed in the database.

        Raises:
            Fenced: A newer session has taken over here. One that has taken over elsewhere shows when this is stored:
                then the session is closed.
        """
        session = self._hear(ref)
        if session is None:
            raise Fenced(ref.runner_id)
        if session.beat(heartbeat):
            self._board.work.set()
        # Only leases that Core gave this session: a Runner cannot renew what it never had.
        held = session.leases
        leases = [(held[lease_id], lease_id) for lease_id in heartbeat.leases if lease_id in held]
        skew_ms = self._compare_clocks(session, heartbeat)
        self.beats.note(Renewal(ref, heartbeat, leases, skew_ms, session.clock.level, session.confirmed_epoch))

    def _compare_clocks(self, session: LiveSession, heartbeat: Heartbeat) -> int:
        """How far the Runner's clock is ahead of ours, ms; a change of its level is put on record."""
        skew_ms = heartbeat.clock_unix_ms - self._clock.unix_ms()
        before, watch = session.clock.level, session.clock
        if watch.observe(skew_ms / 1000):
            facts = {"level": watch.level.name.lower(), "before": before.name.lower(), "skew_s": round(skew_ms / 1000)}
            self.beats.tell(session.ref, "clock_skew", facts)
            of = {"tenant_id": session.ref.tenant_id, "runner_id": session.ref.runner_id}
            log.warning("a Runner's clock", **of, clock=facts["level"], skew_s=facts["skew_s"])
        return skew_ms

    async def close(self, ref: SessionRef, reason: str) -> None:
        """Forget a session; its jobs stay with the Runner until their leases lapse. Repeating it changes nothing.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        session = self._board.sessions.remove(ref)
        if session is None:
            return
        self.beats.forget(ref)
        log.info("session closed", tenant_id=ref.tenant_id, runner_id=ref.runner_id, reason=reason)
        await self._closings.add(ref)

    def _hear(self, ref: SessionRef) -> LiveSession | None:
        session = self._board.sessions.find(ref)
        if session is not None:
            session.hear(self._clock.monotonic())
        return session
