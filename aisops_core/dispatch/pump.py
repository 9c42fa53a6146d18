"""The pump: woken when jobs wait or slots come free, it claims jobs in batches and sends what is durably leased.

`Pump` gives out work; `Timekeeper` does what is due by the clock: lapsed leases, queue times, jobs sent but never
accepted. Both sleep until something changes and hold no rule of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from aisops_core.clock import Clock
from aisops_core.dispatch import admission, clock_steps, upkeep
from aisops_core.dispatch import store as job_store
from aisops_core.dispatch.admission import Admitted
from aisops_core.dispatch.claims import Claims, Lessor, claim, lease_new, message
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.lease import LeaseTerms, clock_stepped
from aisops_core.dispatch.records import SessionRef
from aisops_core.dispatch.sessions import LiveSession
from aisops_core.dispatch.switchboard import Hold, Switchboard
from aisops_core.dispatch.warden import Warden
from aisops_core.errors import IdempotencyMismatch
from aisops_core.storage.engine import Store

RETRY_S: Final = 1.0
"""Pause after a failure of the database before trying again."""
LOOK_S: Final = 1.0
"""The machine's wall clock is taken over at least this often."""
Outcomes = Sequence[Admitted | IdempotencyMismatch]
log = structlog.get_logger(__name__)


class Pump:
    """Gives jobs to sessions with free slots: new ones as they are stored, waiting ones by a claim, one at a time."""

    def __init__(
        self, store: Store, board: Switchboard, clock: Clock, terms: LeaseTerms, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._store, self._board, self._clock = store, board, clock
        self._terms, self._random_bytes = terms, random_bytes
        self._claiming: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Pump until cancelled."""
        try:
            while True:
                await self._board.work.wait()
                if self._claiming is None:
                    self._board.work.clear()
                    self.claim_now()
                if self._claiming is not None:
                    await asyncio.wait({self._claiming})
        finally:
            if self._claiming is not None:
                self._claiming.cancel()

    def admit(self, records: Sequence[JobRecord], now_ms: int) -> asyncio.Future[Outcomes]:
        """Store new jobs, those with a lease already for which a Runner has room: one transaction, one write a job.

        What follows from it is done whether the caller goes on waiting or not.
        """
        markets = self._board.markets_for(records)
        hold, lessor = self._board.hold(markets), self._lessor(now_ms)

        def unit(connection: Connection) -> tuple[Outcomes, Claims]:
            outcomes, fresh = admission.sort_out(connection, records)
            claims = lease_new(connection, markets, fresh, lessor)
            admission.store_new(connection, fresh, now_ms)
            return outcomes, claims

        told: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        try:
            storing = self._store.begin(unit)
        except BaseException:
            hold.release()
            raise
        storing.add_done_callback(lambda done: self._admitted(done, hold, told))
        return told

    def _admitted(
        self, storing: asyncio.Future[tuple[Outcomes, Claims]], hold: Hold, told: asyncio.Future[Outcomes]
    ) -> None:
        """Send what was leased, have the rest claimed, and only then tell the caller."""
        hold.release()
        error = storing.exception()
        if error is not None:
            if not told.done():
                told.set_exception(error)
            return
        outcomes, claims = storing.result()
        self._send(claims)
        waiting = [one[0] for one in outcomes if isinstance(one, tuple) and one[1] and one[0].state is JobState.QUEUED]
        if waiting:
            self._board.queued(waiting)
        elif hold.slots > len(claims.given):
            self._board.work.set()  # what was held for nothing may be what another job waits for
        if not told.done():
            told.set_result(outcomes)

    def claim_now(self) -> None:
        """Begin a claim of jobs that wait; when one is under way already, the next one follows it."""
        markets = self._board.markets() if self._claiming is None else ()
        if not markets:
            if self._claiming is not None:
                self._board.work.set()
            return
        mark, lessor, hold = self._board.routes.mark(), self._lessor(self._clock.unix_ms()), self._board.hold(markets)
        claims = self._store.begin(lambda connection: claim(connection, markets, lessor))
        self._claiming = asyncio.create_task(
            _surviving(self._conclude(claims, hold, mark), self._board.work.set), name="dispatch-claim"
        )
        self._claiming.add_done_callback(self._concluded)

    def _lessor(self, now_ms: int) -> Lessor:
        return Lessor(self._terms, now_ms, self._random_bytes)

    async def _conclude(self, claiming: asyncio.Future[Claims], hold: Hold, mark: int) -> None:
        """Send what was leased, once it is durable; more may wait when anything was given."""
        try:
            claims = await claiming
        finally:
            hold.release()
        self._send(claims)
        self._board.routes.drop(claims.emptied, mark)
        if claims.given or claims.fenced:
            self._board.work.set()

    def _concluded(self, _task: asyncio.Task[None]) -> None:
        self._claiming = None

    def _send(self, claims: Claims) -> None:
        now = self._clock.monotonic()
        by_session: dict[int, tuple[LiveSession, list[JobRecord]]] = {}
        last: SessionRef | None = None
        session: LiveSession | None = None
        for job, ref in claims.given:
            if ref is not last:  # as a rule many in a row go to the same
                last, session = ref, self._board.sessions.find(ref)
            if session is not None and job.lease_id is not None:
                session.give(job.lease_id, job.job_id, now)
                by_session.setdefault(id(session), (session, []))[1].append(job)
        # A session that closed meanwhile keeps the lease: its Runner's next Hello settles it.
        for until in {job.lease_until_unix_ms for job, _ in claims.given}:
            if until is not None:
                self._board.due(until + self._terms.grace_ms)
        for session, jobs in by_session.values():
            self._board.sessions.gave(session)
            session.outlet.send(*[message(job, self._terms) for job in jobs])
        if by_session and self._terms.accept_s < LOOK_S:  # else the timekeeper looks before any of these is overdue
            self._board.timing.set()
        self._board.fenced(claims.fenced)


class Timekeeper:
    """Does what is due by the clock."""

    def __init__(self, store: Store, board: Switchboard, clock: Clock, terms: LeaseTerms) -> None:
        self._store, self._board, self._clock, self._terms = store, board, clock, terms
        self._step_ms = 0  # a step of the clock that the database has not taken in yet
        self._warden = Warden(store, board, clock.monotonic())

    async def begin(self) -> None:
        """Take up what the process before left: every lease and every job held has its full term again.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        now_ms = self._clock.unix_ms()
        await self._store.write(lambda connection: clock_steps.begin_anew(connection, now_ms, self._terms))

    async def run(self) -> None:
        """Keep time until cancelled."""
        while True:
            self._board.timing.clear()
            await _surviving(self._do_what_is_due(), self._board.timing.set)
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._board.timing.wait()
            except TimeoutError:
                continue

    async def _do_what_is_due(self) -> None:
        by_ms = self._clock.look()
        now_ms, now = self._clock.unix_ms(), self._clock.monotonic()
        await self._allow_for_step(now_ms, by_ms)
        due = self._board.next_due_unix_ms
        while due is not None and due <= now_ms:
            due = await self._sweep(now_ms)
        await self._warden.look(now_ms, now)
        await self._redeliver(now)

    async def _allow_for_step(self, now_ms: int, by_ms: int) -> None:
        """Nothing ages by a clock that is set; what the database could not take in is made up for at the next look."""
        self._step_ms += by_ms if clock_stepped(by_ms) else 0
        step_ms = self._step_ms
        if step_ms:
            log.warning("the clock was set; what ends by it is put off or brought forward", by_ms=step_ms)
            await self._store.write(lambda c: clock_steps.step(c, now_ms, step_ms, self._terms))
            self._step_ms = 0
            self._board.next_due_unix_ms = now_ms  # it was reckoned by the clock as it was

    async def _sweep(self, now_ms: int) -> int | None:
        board = self._board
        board.next_due_unix_ms = None
        try:
            swept = await self._store.write(lambda connection: upkeep.sweep(connection, now_ms, self._terms))
        except BaseException:
            board.due(now_ms)
            raise
        board.lost(swept.lost)
        board.ended(swept.ended)
        board.queued(swept.requeued)
        if swept.next_due_unix_ms is not None:
            board.due(swept.next_due_unix_ms)
        return board.next_due_unix_ms

    async def _redeliver(self, now: float) -> None:
        for session in self._awaiting():
            late = session.overdue(now, self._terms.accept_s)
            if late:
                job_ids = [session.leases[lease_id] for lease_id in late if lease_id in session.leases]
                tenant_id = session.ref.tenant_id
                found = await self._store.read(
                    lambda connection, t=tenant_id, ids=job_ids: job_store.load(  # type: ignore[misc]
                        connection, t, ids, with_input=True, lock=False
                    )
                )
                send_again(session, found.values(), late, self._terms)

    def _awaiting(self) -> list[LiveSession]:
        """Sessions whose JobAccepts are awaited.

        Not one that takes nothing now: what it was given still waits for it here, and a second copy would not help.
        """
        return [session for session in self._board.sessions.awaiting() if not session.outlet.behind]

    def _pause_s(self) -> float:
        pauses = [LOOK_S]
        if self._board.next_due_unix_ms is not None:
            pauses.append((self._board.next_due_unix_ms - self._clock.unix_ms()) / 1000)
        now = self._clock.monotonic()
        pauses.append(self._warden.next_look() - now)
        for session in self._awaiting():
            overdue = session.next_overdue(self._terms.accept_s)
            if overdue is not None:
                pauses.append(overdue - now)
        return max(0.0, min(pauses))


def send_again(session: LiveSession, jobs: Iterable[JobRecord], leases: Iterable[bytes], terms: LeaseTerms) -> None:
    """Send leased jobs once more under the lease they have."""
    wanted = set(leases)
    session.outlet.send(
        *[message(job, terms) for job in jobs if job.state is JobState.LEASED and job.lease_id in wanted]
    )


async def _surviving(work: Coroutine[Any, Any, None], again: Callable[[], None]) -> None:
    """Run a round; a failure is logged, and after a pause the round is due again."""
    try:
        await work
    except Exception:
        log.exception("dispatch round failed; trying again", pause_s=RETRY_S)
        await asyncio.sleep(RETRY_S)
        again()
