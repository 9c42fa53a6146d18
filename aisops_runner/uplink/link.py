"""One session over one stream: joins the session machine with the outbox and the executor until the stream ends.

Two flows: a reader that hands every frame to the session, and a sender that writes heartbeats first and the durable
lane as far as the window goes. It holds no rule of the contract: those are in `aisops_protocol.session`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from aisops_protocol.codec import decode_core_frame, encode_runner_frame
from aisops_protocol.errors import ProtocolError
from aisops_protocol.messages import (
    CredentialReply,
    Heartbeat,
    HeldJob,
    Hello,
    JobCancel,
    Verdict,
    Welcome,
)
from aisops_protocol.session import (
    Acked,
    CancelReceived,
    Challenged,
    CredentialOffered,
    DrainRequested,
    JobReceived,
    PeerClosed,
    PongReceived,
    RunnerEvent,
    RunnerSession,
    State,
    Welcomed,
)
from aisops_runner.clock import Clock
from aisops_runner.errors import UplinkLost
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink import reasons
from aisops_runner.uplink.dialer import Stream
from aisops_runner.uplink.ports import Jobs, LinkObserver

WRITE_TIMEOUT_S = 30.0
DRAIN_S = 10.0
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
        wake: Set by whoever has something to send; the sender waits for it.
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
        wake: asyncio.Event,
    ) -> None:
        self._stream = stream
        self._session = session
        self._held: dict[str, HeldJob] = {one.job_id: one for one in hello.held_jobs}
        self._known_core = hello.last_core_epoch
        self._outbox = outbox
        self._jobs = jobs
        self._clock = clock
        self._observer = observer
        self._wake = wake
        self._welcome: Welcome | None = None
        self._loss: UplinkLost | None = None
        self._drain_s: float | None = None
        self._drain_until = 0.0
        self._goodbye: tuple[str, Sequence[str]] | None = None
        self._replies: list[CredentialReply] = []

    async def run(self) -> float:
        """Keep the session until it ends in order.

        Returns:
            Seconds Core asks to wait before the next connection.

        Raises:
            UplinkLost: The stream failed, or Core refused or ended the session.
            StorageFailed: The outbox cannot be read or written.
        """
        self._session.start(self._clock.monotonic())
        reader = asyncio.create_task(self._read(), name="uplink-read")
        try:
            return await self._send()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def say_goodbye(self, reason: str, unfinished: Sequence[str]) -> None:
        """End the session in order; `run` returns soon."""
        self._goodbye = (reason, unfinished)
        self._wake.set()

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while (raw := await self._stream.read()) is not None:
                now = self._clock.monotonic()
                for event in self._session.receive(decode_core_frame(raw), now):
                    self._handle(event)
                self._wake.set()
            self._lose(UplinkLost("Core ended the stream", reason="ended"))
        except UplinkLost as lost:
            self._lose(lost)
        except ProtocolError as error:
            self._lose(reasons.broken(error))

    def _lose(self, lost: UplinkLost) -> None:
        self._loss = self._loss or lost
        self._wake.set()

    def _handle(self, event: RunnerEvent) -> None:
        match event:
            case JobReceived():
                self._jobs.deliver(event.job)
            case Acked():
                self._outbox.ack(event.seq)
            case CancelReceived():
                self._jobs.cancel(event.cancel)
            case PongReceived():
                self._observer.measured(event.rtt_s, event.skew_s)
            case Welcomed():
                self._welcomed(event.welcome)
            case DrainRequested():
                self._drain_s = event.drain.reconnect_after_ms / 1000
                self._drain_until = self._clock.monotonic() + DRAIN_S
            case PeerClosed():
                self._lose(reasons.refusal(event.code, event.message, event.retry_after_ms))
            case CredentialOffered():
                refusal = "this Runner is configured with a fixed credential"
                self._replies.append(CredentialReply(event.offer.offer_id, accepted=False, message=refusal))
            case Challenged():
                text = "Core wants a proof by certificate key; configure tls_cert and tls_key"
                self._lose(UplinkLost(text, reason="proof_wanted", permanent=True))
            case _:
                pass  # RewindTo and PingReceived: the session's own state has changed; the sender follows it

    def _welcomed(self, welcome: Welcome) -> None:
        self._welcome = welcome
        self._outbox.ack(welcome.ack_watermark.seq)
        for ruling in welcome.job_verdicts:
            held = self._held.get(ruling.job_id)
            if held is None:
                continue
            if ruling.verdict is Verdict.CANCEL:
                self._jobs.cancel(JobCancel(held.job_id, held.lease_id))
            elif ruling.verdict is Verdict.RESEND_RESULT:
                self._jobs.resend(held.job_id, held.lease_id, held.attempt)
        self._observer.opened(welcome)

    # --- out ----------------------------------------------------------------------------------------------------------

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
            if self._drain_s is not None and (self._session.acked >= self._session.cursor or now >= self._drain_until):
                await self._stream.half_close()
                return self._drain_s
            if not took:
                await self._rest()

    def _check(self, now: float) -> None:
        if self._loss is not None:
            raise self._loss
        try:
            self._session.tick(now)
        except ProtocolError as error:
            raise UplinkLost(f"Core does not answer: {error.message}", reason=error.code) from None

    async def _note_welcome(self) -> None:
        """Put on record what the session rests on, before anything is acknowledged in it."""
        if self._welcome is not None:
            core_epoch, self._welcome = self._welcome.core_epoch, None
            if self._known_core and self._known_core != core_epoch:
                _log.warning("Core was restored from a backup; the results of the last day are sent again")
                await self._jobs.resend_all()
            await self._outbox.welcomed(core_epoch)
        if self._replies:
            replies, self._replies = self._replies, []
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
                raise self._loss or lost from None

    async def _part(self, reason: str, unfinished: Sequence[str]) -> None:
        self._session.goodbye(reason, unfinished, self._clock.monotonic())
        await self._write()
        await self._stream.half_close()
        try:
            async with asyncio.timeout(GOODBYE_S):
                while self._loss is None:
                    self._wake.clear()
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
        if self._drain_s is not None:
            deadline = self._drain_until if deadline is None else min(deadline, self._drain_until)
        left = None if deadline is None else max(deadline - self._clock.monotonic(), 0.0)
        try:
            async with asyncio.timeout(left):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()
