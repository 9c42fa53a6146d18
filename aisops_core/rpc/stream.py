"""Drives one Runner's stream: joins the sans-IO `CoreSession`, the dispatcher and the wire. Holds no rule of its own.

Two tasks, for there may be ten thousand streams. The reader feeds the session and passes heartbeats on. The writer,
which is the task that called `run`, sends what the session wants sent, and ends last. A committer lives only while
something delivered waits: it hands that to the dispatcher, one batch at a time; while one commit is under way the next
batch collects, so that acks are few and commits are large. Time comes from the one `Timer` of all streams, and that the
credential is still good is watched elsewhere, for all: `close` or `refuse` is how a stream learns that it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from aisops_core.clock import Clock
from aisops_core.dispatch.records import OpenedSession, SessionRef
from aisops_core.rpc.backlog import Backlog
from aisops_core.rpc.bell import Bell
from aisops_core.rpc.ending import GONE, ORDERLY, SHUTDOWN, STUCK, Ending, ending, from_error, unexpected
from aisops_core.rpc.flow import Flow
from aisops_core.rpc.ports import PeerGone, Read, Sessions, Write
from aisops_core.rpc.timer import Timer
from aisops_core.tenants.principal import Principal
from aisops_protocol.codec import decode_runner_frame, encode_core_frame
from aisops_protocol.errors import LocalProtocolError, ProtocolError
from aisops_protocol.messages import CoreBody, CoreFrame, Drain, Hello, Slow
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
BEHIND_S = 1.0
ACK_DELAY_S = 0.02
ACK_MESSAGES = 64

UNANSWERED_FRAMES = 16
"""Frames read since the writer last had nothing left: above this the Runner must read before it is heard again."""


class Stream:
    """One stream. It is the dispatcher's `Outlet` for its session."""

    __slots__ = (
        "_ack_timer",
        "_answered",
        "_backlog",
        "_clock",
        "_committing",
        "_early",
        "_ending",
        "_flow",
        "_held",
        "_opening",
        "_paused_until",
        "_principal",
        "_read",
        "_ref",
        "_session",
        "_sessions",
        "_timer",
        "_to_write",
        "_unacknowledged",
        "_unanswered",
        "_write",
        "_writing_since",
        "peer",
    )

    def __init__(
        self,
        principal: Principal,
        sessions: Sessions,
        *,
        read: Read,
        write: Write,
        timer: Timer,
        clock: Clock,
        flow: Flow,
        peer: str = "",
    ) -> None:
        self.peer = peer
        self._principal, self._sessions, self._clock = principal, sessions, clock
        self._flow, self._held, self._paused_until = flow, 0, 0.0
        self._read, self._write, self._timer = read, write, timer
        self._session = CoreSession(Identity(principal.tenant_id, principal.subject_id), clock.monotonic())
        self._opening: asyncio.Future[OpenedSession] | None = None
        self._ref: SessionRef | None = None
        self._early: list[CoreBody] = []
        self._backlog = Backlog()
        self._committing: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._to_write = Bell()
        self._unacknowledged = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._unanswered, self._answered = 0, Bell()
        self._writing_since: float | None = None

    # --- the Outlet -----------------------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether the Runner has not taken a frame for a while."""
        since = self._writing_since
        return since is not None and self._clock.monotonic() - since >= BEHIND_S

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
        self._to_write.ring()

    def close(self, code: str, message: str) -> None:
        """End the stream after what is queued, telling the Runner why."""
        self._end(ending(code, message))

    def refuse(self, error: Exception) -> None:
        """End the stream because of what was found out about its Runner: nothing is accepted or sent after this."""
        self._end(from_error(error) or unexpected())

    def drain(self, reconnect_after_ms: int, reason: str) -> None:
        """Ask the Runner to finish and come back after a pause; a stream that has not said Welcome is just closed."""
        if self._ref is None:
            self._end(ending(SHUTDOWN, reason, reconnect_after_ms))
        else:
            self.send(Drain(reconnect_after_ms, reason))

    def regrant(self) -> None:
        """Tell the Runner what its window is now."""
        if self._ref is not None and self._session.state is not State.CLOSED:
            window = self._flow.window
            self._session.credit(window.messages, window.bytes)
            self._to_write.ring()

    # --- the life of the stream -------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Serve the stream to its end and return why it ended."""
        reading = asyncio.create_task(self._guard(self._read_all))
        self._keep_time()
        try:
            await self._guard(self._write_all)
        finally:
            self._timer.drop(self)
            reading.cancel()
            await asyncio.shield(asyncio.ensure_future(self._finish(reading)))
        return self._ending or GONE

    async def _finish(self, reading: asyncio.Task[None]) -> None:
        """Runs to its end even when the RPC is cancelled, so that no session is left behind at the dispatcher."""
        await asyncio.gather(reading, return_exceptions=True)
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.gather(self._committing, return_exceptions=True)
        self._flow.let_go(self._held, self._clock.monotonic())
        ref = self._ref
        if self._opening is not None:
            with contextlib.suppress(Exception):  # refused: then there is nothing to forget
                ref = (await self._opening).ref
        if ref is not None:
            with contextlib.suppress(Exception):  # it is forgotten here; the database learns of it from the next one
                await self._sessions.close_session(ref, (self._ending or GONE).code)

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
        self._to_write.ring()

    # --- time -------------------------------------------------------------------------------------------------------

    def on_time(self, now: float) -> None:
        """A deadline of the session may have come."""
        try:
            self._session.tick(now)
        except ProtocolError as error:
            self._end(from_error(error) or unexpected())
        self._keep_time()

    def _keep_time(self) -> None:
        deadline = self._session.next_deadline()
        if deadline is not None:
            self._timer.add(self, deadline)

    # --- in ---------------------------------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        while (size := await self._read_one()) is not None:
            self._to_write.ring()
            self._unanswered += 1
            while self._unanswered > UNANSWERED_FRAMES:
                await self._answered.wait()
            await self._backlog.hold(size)
        self._finish_backlog()

    async def _read_one(self) -> int | None:
        """Handle one frame and return its size; no frame is kept while the next is waited for."""
        data = await self._read()
        if data is None or self._ending is not None:
            return None
        clock = self._clock
        for event in self._session.receive(decode_runner_frame(data), clock.monotonic(), clock.unix_ms()):
            await self._handle(event, len(data))
        self._keep_time()
        return len(data)

    async def _handle(self, event: object, octets: int) -> None:
        match event:
            case HeartbeatReceived():
                if self._ref is not None:
                    self._sessions.heartbeat(self._ref, event.heartbeat)
            case Delivered():
                self._take_in(event, octets)
            case HelloReceived():
                await self._welcome(event.hello)
            case GoodbyeReceived():
                self._finish_backlog()
            case _:
                log.debug("event not used", kind=type(event).__name__)

    def _take_in(self, part: Delivered, octets: int) -> None:
        now = self._clock.monotonic()
        self._held += octets
        self._flow.hold(octets, now)
        pause_ms = self._flow.pause_ms
        if pause_ms and now >= self._paused_until:
            self._paused_until = now + pause_ms / 1000
            self.send(Slow(pause_ms))
        self._backlog.add(part)
        if self._committing is None:
            self._committing = asyncio.create_task(self._guard(self._commit_all))

    async def _welcome(self, hello: Hello) -> None:
        self._opening = asyncio.ensure_future(self._sessions.open_session(self._principal, hello, self))
        opened = await asyncio.shield(self._opening)
        if self._ending is not None:
            return
        self._session.welcome(opened.welcome, self._clock.monotonic())
        self._ref, self._opening = opened.ref, None
        if self._flow.pace:
            self.regrant()
        self._to_write.ring()
        early, self._early = self._early, []
        if early:
            self.send(*early)

    async def _commit_all(self) -> None:
        try:
            while (batch := self._backlog.take()) is not None and not self._cut:
                if self._ref is not None:
                    await self._deliver(self._ref, batch)
                    self._session.committed(batch.upto_seq)
                    self._acknowledge_soon(len(batch.envelopes))
        finally:
            self._committing = None
        if self._backlog.finished:
            self._end(ORDERLY)

    async def _deliver(self, ref: SessionRef, batch: Delivered) -> None:
        flow, (held, self._held) = self._flow, (self._held, 0)
        flow.begin(self, self._clock.monotonic())
        try:
            await self._sessions.deliver(ref, batch.queue_epoch, batch.envelopes, batch.upto_seq)
        finally:
            now = self._clock.monotonic()
            flow.end(self, now)
            flow.let_go(held, now)

    @property
    def _cut(self) -> bool:
        """Whether the stream was ended by Core: what was not committed until then never is."""
        return self._ending is not None and not self._ending.orderly

    def _finish_backlog(self) -> None:
        self._backlog.finished = True
        if self._committing is None:
            self._end(ORDERLY)

    # --- out --------------------------------------------------------------------------------------------------------

    def _acknowledge_soon(self, messages: int) -> None:
        """Nobody waits for an acknowledgement: it goes with the next frame, or alone when enough or old enough."""
        self._unacknowledged += messages
        if self._unacknowledged >= ACK_MESSAGES:
            self._to_write.ring()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY_S, self._to_write.ring)

    def _take_frames(self) -> list[CoreFrame]:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        self._unacknowledged = 0
        return self._session.frames() if self._ending is not GONE else []

    async def _write_all(self) -> None:
        while True:
            await self._to_write.wait()
            while await self._write_some():
                pass
            if self._ending is not None:
                return
            self._unanswered = 0
            self._answered.ring()

    async def _write_some(self) -> bool:
        """Write what the session wants written now; False when that is nothing, or when the Runner takes nothing."""
        waiting = self._take_frames()[::-1]
        wrote = bool(waiting)
        while waiting:  # no frame is kept beside its octets: of a Runner that takes nothing, one copy is enough
            self._writing_since = self._clock.monotonic()
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._write(encode_core_frame(waiting.pop()))
            except TimeoutError:
                self._ending = self._ending or ending(STUCK, "The Runner does not read what it is sent.")
                return False
            self._writing_since = None
        return wrote
