"""Keeps the Runner connected: dial, one session, back-off, again; and tells the outbox of the time offline."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from aisops_protocol.errors import ProtocolError
from aisops_protocol.limits import HEARTBEAT_S
from aisops_protocol.messages import Capability, Heartbeat, Welcome
from aisops_protocol.session import Identity, RunnerSession
from aisops_protocol.skew import SkewWatch
from aisops_runner.bell import Bell
from aisops_runner.clock import Clock
from aisops_runner.errors import RefusedForGood, StorageFailed, UplinkLost
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink.dialer import Dial, Stream
from aisops_runner.uplink.hello import Profile, build_hello
from aisops_runner.uplink.link import Link
from aisops_runner.uplink.ports import HeldJobs
from aisops_runner.uplink.schedule import Schedule
from aisops_runner.uplink.status import UplinkState, UplinkStatus

PATIENCE_S = 0.02  # so long a message that nobody waits for may wait for another to go with

T = TypeVar("T")

_log = structlog.get_logger("aisops_runner.uplink")


class Uplink:
    """The connection of one Runner to Core.

    Args:
        dial: Opens a stream.
        outbox: The durable lane.
        jobs: Takes what Core sends.
        profile: What the Runner says of itself.
        capabilities: Returns what is on offer now.
        clock: Time.
        endpoint: Where Core is, for people.
        once: A refusal for good ends `run` instead of being tried again slowly.
        beat_s: Seconds between beats noted while offline.
        draw: Random number in [0, 1).
    """

    def __init__(
        self,
        dial: Dial,
        *,
        outbox: Outbox,
        jobs: HeldJobs,
        profile: Profile,
        capabilities: Callable[[], Sequence[Capability]],
        clock: Clock,
        endpoint: str,
        once: bool = False,
        beat_s: float = HEARTBEAT_S,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._dial = dial
        self._outbox = outbox
        self._jobs = jobs
        self._profile = profile
        self._capabilities = capabilities
        self._clock = clock
        self._once, self._beat_s = once, beat_s
        self._draw = draw
        self._wake = Bell()
        self._progress = asyncio.Event()
        self._stop = asyncio.Event()
        self._link: Link | None = None
        self._welcomed_at: float | None = None
        self._schedule, self._clocks = Schedule(draw), SkewWatch()
        self.status = UplinkStatus(endpoint, since_unix_ms=clock.unix_ms())
        outbox.listen(self._outbox_moved, lambda: self._wake.ring_within(PATIENCE_S))

    async def run(self) -> None:
        """Stay connected until `goodbye`.

        Raises:
            RefusedForGood: With `once`, when Core will refuse again until somebody changes something.
        """
        beats = asyncio.create_task(self._beat_offline(), name="uplink-offline-beats")
        try:
            while not self._stop.is_set():
                pause_s = await self._session()
                gc.collect()  # its leavings hold each other, gRPC's too; otherwise they are looked for too seldom
                await self._pause(pause_s)
        finally:
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)
            self._enter(UplinkState.STOPPED)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until Core has acknowledged everything in the outbox.

        Args:
            timeout_s: Give up after so many seconds, or at once when there is no connection; what is left is kept and
                sent after the next start.

        Returns:
            True when nothing is left.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._outbox.acked_seq < self._outbox.last_seq:
                    if self.status.state is not UplinkState.CONNECTED:
                        return False
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return False
        return True

    def goodbye(self, reason: str, unfinished: Sequence[str]) -> None:
        """End the session in order and `run` with it."""
        self._stop.set()
        if self._link is not None:
            self._link.say_goodbye(reason, unfinished)

    def announce(self) -> None:
        """The capabilities have changed: greet Core again, so that it knows."""
        if self._link is not None and not self._stop.is_set():
            self._link.say_goodbye("capabilities changed", ())

    # --- told by the link ---------------------------------------------------------------------------------------------

    def opened(self, welcome: Welcome) -> None:
        """Core said Welcome."""
        self._welcomed_at = self._clock.monotonic()
        self.status.session_id = welcome.session_id.hex()
        self.status.last_error = ""
        self._enter(UplinkState.CONNECTED)
        _log.info("connected to Core", endpoint=self.status.endpoint, session=self.status.session_id)

    def measured(self, rtt_s: float, skew_s: float) -> None:
        """A heartbeat came back."""
        if self._clocks.observe(skew_s):
            _log.warning("this clock", compared=self._clocks.level.name, core_ahead_s=round(skew_s))
        self.status.measured(rtt_s, skew_s, self._clocks.level)

    # --- one round ----------------------------------------------------------------------------------------------------

    async def _session(self) -> float:
        """One connection from dial to end; returns the seconds to wait before the next."""
        self._enter(UplinkState.CONNECTING)
        self._welcomed_at = None
        try:
            await self._unless_stopped(self._jobs.settle())  # on a full disk that may never come
            stream = await self._unless_stopped(self._dial())  # and a dial may take twenty seconds
            if stream is None:
                return 0.0
            pause_s = await self._converse(stream)
            _log.info("the session ended in order", pause_s=round(pause_s, 1))
            self._schedule.good()
            self._enter(UplinkState.WAITING)
            return pause_s
        except UplinkLost as lost:
            return self._after(lost)
        except ProtocolError as error:
            _log.error("the Runner broke the contract; this is a defect", code=error.code, error=error.message)
            return self._after(UplinkLost(error.message, reason=error.code))
        except StorageFailed as error:
            return self._after(UplinkLost(error.message, reason=error.code))
        finally:
            self.status.session_id = ""

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """What comes of some work; None when the Runner is stopped first."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await working if working.done() else None
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _converse(self, stream: Stream) -> float:
        try:
            lane = await self._outbox.inventory()
            holding = await self._jobs.held_jobs()
            hello = build_hello(self._profile, lane, holding, self._capabilities(), self._clock.unix_ms())
            identity = Identity(self._profile.tenant_id, self._profile.runner_id)
            session = RunnerSession(identity, hello, self._clock.monotonic(), 2 * self._draw() - 1)
            self._wake.silence()
            self._link = Link(
                stream,
                session,
                hello,
                outbox=self._outbox,
                jobs=self._jobs,
                clock=self._clock,
                observer=self,
                wake=self._wake,
            )
            return await self._link.run()
        finally:
            self._link = None
            await stream.close()

    def _after(self, lost: UplinkLost) -> float:
        """What a loss means: how long to wait, or the end."""
        lasted_s = None if self._welcomed_at is None else self._clock.monotonic() - self._welcomed_at
        delay_s = self._schedule.lost(lost, lasted_s)
        self.status.last_error = lost.message
        self.status.reconnects += 1
        self._enter(UplinkState.REFUSED if lost.permanent else UplinkState.WAITING)
        _log.warning("no connection to Core", reason=lost.reason, error=lost.message, retry_in_s=round(delay_s, 1))
        if lost.permanent and self._once:
            raise RefusedForGood(lost.message, code=lost.reason.lower())
        return delay_s

    async def _pause(self, delay_s: float) -> None:
        if delay_s <= 0:
            return
        try:
            async with asyncio.timeout(delay_s):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _beat_offline(self) -> None:
        """Note every beat that could not be sent, so that Core learns of the gap."""
        while True:
            await asyncio.sleep(self._beat_s)
            if self.status.state is UplinkState.CONNECTED:
                continue
            beat = Heartbeat(
                clock_unix_ms=self._clock.unix_ms(),
                free_slots=self._jobs.free_slots,
                queue_stats=self._outbox.stats,
                offline_beats=1,
                offline_ms=int(self._beat_s * 1000),
            )
            try:
                await self._outbox.note_offline(beat)
            except StorageFailed as error:
                _log.warning("a beat offline could not be noted", error=str(error))

    def _enter(self, state: UplinkState) -> None:
        if self.status.state is not state:
            self.status.state = state
            self.status.since_unix_ms = self._clock.unix_ms()
        self._progress.set()

    def _outbox_moved(self) -> None:
        self._wake.ring()
        self._progress.set()
