"""Drives one Runner's stream: joins the sans-IO `CoreSession`, the dispatcher and the wire. Holds no rule of its own.

Five things go on at once. The reader feeds the session. The committer hands what was delivered to the dispatcher, one
batch at a time: while one commit is under way the next batch collects, so that acks are few and commits are large. The
beater passes on the newest heartbeat. The timekeeper wakes the session at its deadlines and looks at the credential
again. The writer, which is the task that called `run`, sends what the session wants sent, and ends last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog

from aisops_core.clock import Clock
from aisops_core.dispatch.records import OpenedSession, SessionRef
from aisops_core.errors import Unavailable
from aisops_core.rpc.backlog import Backlog
from aisops_core.rpc.ending import GONE, ORDERLY, SHUTDOWN, STUCK, Ending, ending, from_error, unexpected
from aisops_core.rpc.ports import PeerGone, Read, Sessions, Write
from aisops_core.tenants.principal import Principal
from aisops_protocol.codec import decode_runner_frame, encode_core_frame
from aisops_protocol.errors import LocalProtocolError
from aisops_protocol.messages import CoreBody, CoreFrame, Drain, Heartbeat, Hello
from aisops_protocol.session import (
    CoreSession,
    Delivered,
    GoodbyeReceived,
    HeartbeatReceived,
    HelloReceived,
    Identity,
    State,
)

log = structlog.get_logger("aisops_core.rpc")

WRITE_TIMEOUT_S = 30.0
ACK_DELAY_S = 0.02
ACK_MESSAGES = 64
NAP_S = 5.0
RECHECK_S = 2.0  # a revoked credential is believed this long at most; each look is one indexed read

UNANSWERED_FRAMES = 16
"""Frames read since the writer last had nothing left: above this the Runner must read before it is heard again."""


class Stream:
    """One stream. It is the dispatcher's `Outlet` for its session."""

    def __init__(
        self,
        principal: Principal,
        sessions: Sessions,
        *,
        read: Read,
        write: Write,
        recheck: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._principal, self._sessions, self._clock = principal, sessions, clock
        self._read, self._write, self._recheck = read, write, recheck
        self._session = CoreSession(Identity(principal.tenant_id, principal.subject_id), clock.monotonic())
        self._opening: asyncio.Future[OpenedSession] | None = None
        self._ref: SessionRef | None = None
        self._early: list[CoreBody] = []
        self._backlog = Backlog()
        self._heartbeat: Heartbeat | None = None
        self._ending: Ending | None = None
        self._to_write, self._to_beat = asyncio.Event(), asyncio.Event()
        self._unacknowledged = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._unanswered, self._answered = 0, asyncio.Event()
        self._answered.set()

    # --- the Outlet -----------------------------------------------------------------------------------------------

    def send(self, *bodies: CoreBody) -> None:
        """Queue messages for the Runner, in order; before Welcome they wait, after the end they are dropped."""
        if self._ending is not None:
            return
        if self._ref is None:
            self._early.extend(bodies)
            return
        try:
            self._session.send(*bodies, now=self._clock.monotonic())
        except LocalProtocolError as error:
            log.warning("message not sent", runner_id=self._principal.subject_id, **error.diagnostics())
        self._to_write.set()

    def close(self, code: str, message: str) -> None:
        """End the stream after what is queued, telling the Runner why."""
        self._end(ending(code, message))

    def drain(self, reconnect_after_ms: int, reason: str) -> None:
        """Ask the Runner to finish and come back after a pause; a stream that has not said Welcome is just closed."""
        if self._ref is None:
            self._end(ending(SHUTDOWN, reason, reconnect_after_ms))
        else:
            self.send(Drain(reconnect_after_ms, reason))

    # --- the life of the stream -------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Serve the stream to its end and return why it ended."""
        loops = (self._read_all, self._commit_all, self._beat_all, self._keep_time, self._keep_checking)
        tasks = [asyncio.create_task(self._guard(loop)) for loop in loops]
        try:
            await self._guard(self._write_all)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.shield(asyncio.ensure_future(self._finish(tasks)))
        return self._ending or GONE

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Runs to its end even when the RPC is cancelled, so that no session is left behind at the dispatcher."""
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._opening is None:
            return
        with contextlib.suppress(Exception):  # refused: then there is nothing to forget
            opened = await self._opening
            await self._sessions.close_session(opened.ref, (self._ending or GONE).code)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except PeerGone:
            self._end(GONE)
        except Exception as error:
            known = from_error(error)
            if known is None or isinstance(error, LocalProtocolError):
                log.exception("stream failed", runner_id=self._principal.subject_id)
            self._end(known if known is not None and not isinstance(error, LocalProtocolError) else unexpected())

    def _end(self, why: Ending) -> None:
        """The first reason counts. The Runner is told it, unless it said goodbye itself or cannot hear."""
        if self._ending is not None:
            return
        self._ending = why
        if not why.orderly and why is not GONE and self._session.state is not State.CLOSED:
            self._session.close(why.code, why.message, why.retry_after_ms)
        self._to_write.set()

    # --- the five loops ----------------------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        while (data := await self._read()) is not None:
            await self._handle(self._session.receive(decode_runner_frame(data), self._clock.monotonic()))
            self._to_write.set()
            self._unanswered += 1
            if self._unanswered > UNANSWERED_FRAMES:
                self._answered.clear()
                await self._answered.wait()
            await self._backlog.hold(len(data))
        self._backlog.finish()

    async def _handle(self, events: Sequence[object]) -> None:
        for event in events:
            match event:
                case Delivered():
                    self._backlog.add(event)
                case HeartbeatReceived():
                    self._heartbeat = event.heartbeat
                    self._to_beat.set()
                case HelloReceived():
                    await self._welcome(event.hello)
                case GoodbyeReceived():
                    self._backlog.finish()
                case _:
                    log.debug("event not used", kind=type(event).__name__)

    async def _welcome(self, hello: Hello) -> None:
        self._opening = asyncio.ensure_future(self._sessions.open_session(self._principal, hello, self))
        opened = await asyncio.shield(self._opening)
        if self._ending is not None:
            return
        self._session.welcome(opened.welcome, self._clock.monotonic())
        self._ref = opened.ref
        self._to_write.set()
        early, self._early = self._early, []
        if early:
            self.send(*early)

    async def _commit_all(self) -> None:
        while (batch := await self._backlog.take()) is not None:
            if self._ref is None:
                continue
            await self._sessions.deliver(self._ref, batch.queue_epoch, batch.envelopes, batch.upto_seq)
            self._session.committed(batch.upto_seq)
            self._acknowledge_soon(len(batch.envelopes))
        self._end(ORDERLY)

    def _acknowledge_soon(self, messages: int) -> None:
        """Nobody waits for an acknowledgement: it goes with the next frame, or alone when enough or old enough."""
        self._unacknowledged += messages
        if self._unacknowledged >= ACK_MESSAGES:
            self._to_write.set()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY_S, self._to_write.set)

    def _take_frames(self) -> Sequence[CoreFrame]:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        self._unacknowledged = 0
        return self._session.frames() if self._ending is not GONE else ()

    async def _beat_all(self) -> None:
        while True:
            await self._to_beat.wait()
            self._to_beat.clear()
            newest, self._heartbeat = self._heartbeat, None
            if newest is not None and self._ref is not None:
                self._sessions.heartbeat(self._ref, newest)

    @contextlib.contextmanager
    def _patiently(self) -> Iterator[None]:
        """What comes round again anyway survives a database that is away for a moment; a commit does not."""
        try:
            yield
        except Unavailable as error:
            log.warning("put off", runner_id=self._principal.subject_id, **error.diagnostics())

    async def _keep_time(self) -> None:
        while self._session.state is not State.CLOSED:
            now = self._clock.monotonic()
            deadline = self._session.next_deadline()
            # A nearer deadline may appear meanwhile, so the nap is short whatever the session says.
            await asyncio.sleep(NAP_S if deadline is None else min(NAP_S, max(0.01, deadline - now)))
            await self._handle(self._session.tick(self._clock.monotonic()))
            self._to_write.set()

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            with self._patiently():
                await self._recheck()

    async def _write_all(self) -> None:
        while True:
            self._to_write.clear()
            frames = self._take_frames()
            for frame in frames:
                try:
                    async with asyncio.timeout(WRITE_TIMEOUT_S):
                        await self._write(encode_core_frame(frame))
                except TimeoutError:
                    self._ending = self._ending or ending(STUCK, "The Runner does not read what it is sent.")
                    return
            if not frames:
                if self._ending is not None:
                    return
                self._unanswered = 0
                self._answered.set()
                await self._to_write.wait()
