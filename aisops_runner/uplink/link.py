"""One session over one stream: joins the session machine with the outbox and the executor until the stream ends.

Two flows: the `Reader`, which hands every frame to the session, and the sender here, which writes heartbeats first and
the durable lane as far as the window goes. Neither holds a rule of the contract; those are in
`aisops_protocol.session`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from aisops_protocol.codec import encode_runner_frame
from aisops_protocol.errors import ProtocolError
from aisops_protocol.messages import Heartbeat, Hello
from aisops_protocol.session import RunnerSession, State
from aisops_runner.bell import Bell
from aisops_runner.clock import Clock
from aisops_runner.errors import UplinkLost
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink.dialer import Stream
from aisops_runner.uplink.ports import Jobs, LinkObserver
from aisops_runner.uplink.reader import Reader

WRITE_TIMEOUT_S = 30.0
GOODBYE_S = 2.0

_log = structlog.get_logger("aisops_runner.uplink")


class Link:
    """One session.

    Args:
        stream: Open, nothing sent yet.
        session: Made with `hello`, not started.
        hello: What the session begins with (for the verdicts on its held jobs).
        outbox: The durable lane.
        jobs: Takes what Core sends.
        clock: Time.
        observer: Told how it goes.
        wake: Rung by whoever has something to send; the sender waits for it.
    """

    def __init__(
        self,
        stream: Stream,
        session: RunnerSession,
        hello: Hello,
        *,
        outbox: Outbox,
        jobs: Jobs,
        clock: Clock,
        observer: LinkObserver,
        wake: Bell,
    ) -> None:
        self._stream = stream
        self._session = session
        self._known_core = hello.last_core_epoch
        self._outbox = outbox
        self._jobs = jobs
        self._clock = clock
        self._wake = wake
        self._goodbye: tuple[str, Sequence[str]] | None = None
        self._reader = Reader(
            stream, session, hello, outbox=outbox, jobs=jobs, clock=clock, observer=observer, wake=wake
        )

    async def run(self) -> float:
        """Keep the session until it ends in order.

        Returns:
            Seconds Core asks to wait before the next connection.

        Raises:
            UplinkLost: The stream failed, or Core refused or ended the session.
            StorageFailed: The outbox cannot be read or written.
        """
        self._session.start(self._clock.monotonic())
        reading = asyncio.create_task(self._reader.run(), name="uplink-read")
        try:
            return await self._send()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def say_goodbye(self, reason: str, unfinished: Sequence[str]) -> None:
        """End the session in order; `run` returns soon."""
        self._goodbye = (reason, unfinished)
        self._wake.ring()

    async def _send(self) -> float:
        while True:
            now = self._clock.monotonic()
            self._check(now)
            await self._note_welcome()
            if self._session.heartbeat_due(now):
                self._session.send_volatile(self._heartbeat(), now)
            took = await self._take(now)
            await self._write()
            if self._goodbye is not None:
                await self._part(*self._goodbye)
                return 0.0
            drain = self._reader.drain
            if drain is not None and (self._session.acked >= self._session.cursor or now >= drain.until):
                await self._stream.half_close()
                return drain.reconnect_after_s
            if not took:
                await self._rest()

    def _check(self, now: float) -> None:
        if self._reader.loss is not None:
            raise self._reader.loss
        try:
            self._session.tick(now)
        except ProtocolError as error:
            raise UplinkLost(f"Core does not answer: {error.message}", reason=error.code) from None

    async def _note_welcome(self) -> None:
        """Put on record what the session rests on, before anything is acknowledged in it."""
        welcome = self._reader.take_welcome()
        if welcome is not None:
            if self._known_core and self._known_core != welcome.core_epoch:
                _log.warning("Core was restored from a backup; the results of the last day are sent again")
                await self._jobs.resend_all()
            await self._outbox.welcomed(welcome.core_epoch, welcome.session_epoch)
        if replies := self._reader.take_replies():
            await self._outbox.put(*replies)

    async def _take(self, now: float) -> bool:
        """Hand the session what the window takes; True when there may be more."""
        window, cursor = self._session.window(now), self._session.cursor
        if not window:
            return False
        envelopes = await self._outbox.take(cursor, window.messages, window.bytes)
        if not envelopes:
            return False
        again = self._session.window(now)
        if self._session.cursor == cursor and again.messages >= window.messages and again.bytes >= window.bytes:
            self._session.send_durable(envelopes, now)
        return True  # else the reader changed the session meanwhile: look again

    async def _write(self) -> None:
        for frame in self._session.frames():
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._stream.write(encode_runner_frame(frame))
            except TimeoutError:
                raise UplinkLost("Core does not read; the stream is stuck", reason="stuck") from None
            except UplinkLost as lost:
                await asyncio.sleep(0)  # the reader knows the reason better: let it speak first
                raise self._reader.loss or lost from None

    async def _part(self, reason: str, unfinished: Sequence[str]) -> None:
        self._session.goodbye(reason, unfinished, self._clock.monotonic())
        await self._write()
        await self._stream.half_close()
        try:
            async with asyncio.timeout(GOODBYE_S):
                while self._reader.loss is None:
                    await self._wake.wait()
        except TimeoutError:
            _log.debug("Core did not end the stream after the goodbye")

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            clock_unix_ms=self._clock.unix_ms(),
            leases=self._jobs.leases(),
            free_slots=self._jobs.free_slots,
            queue_stats=self._outbox.stats,
            draining=self._jobs.draining or self._session.state is State.DRAINING,
        )

    async def _rest(self) -> None:
        """Wait for something to send, something heard, or a time to act."""
        deadline = self._session.next_deadline()
        if (drain := self._reader.drain) is not None:
            deadline = drain.until if deadline is None else min(deadline, drain.until)
        await self._wake.wait(None if deadline is None else deadline - self._clock.monotonic())
