"""What Core says in one session: read frame by frame, handed on at once, or kept until the sender can act on it.

Reading never waits for the disk and never writes to the stream: a job, an acknowledgement and a cancellation go where
they belong; a Welcome, a wish to drain, an answer owed and the end of the stream are left here for the `Link`.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisops_protocol.codec import decode_core_frame
from aisops_protocol.errors import ProtocolError
from aisops_protocol.messages import CredentialReply, HeldJob, Hello, Job, JobCancel, Verdict, Welcome
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
    Welcomed,
)
from aisops_runner.bell import Bell
from aisops_runner.clock import Clock
from aisops_runner.errors import UplinkLost
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink import reasons
from aisops_runner.uplink.dialer import Stream
from aisops_runner.uplink.ports import Jobs, LinkObserver

DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class DrainWish:
    """Core wants the session to end: the next may begin after `reconnect_after_s` seconds.

    `until` is the monotonic time, in seconds, up to which the lane may still empty itself.
    """

    reconnect_after_s: float
    until: float


class Reader:
    """The stream's reader for one session.

    Args:
        stream: Open.
        session: Told of every frame.
        hello: What the session begins with (for the verdicts on its held jobs).
        outbox: Told what is acknowledged.
        jobs: Takes what Core sends.
        clock: Time.
        observer: Told how it goes.
        wake: Rung when something was read that the sender may have to act on, and at the end.

    Attributes:
        loss: Why the stream is of no more use; None while it is.
        drain: Core's wish that the session end; None while it has none.
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
        self.loss: UplinkLost | None = None
        self.drain: DrainWish | None = None
        self._stream = stream
        self._session = session
        self._held: dict[str, HeldJob] = {one.job_id: one for one in hello.held_jobs}
        self._outbox = outbox
        self._jobs = jobs
        self._clock = clock
        self._observer = observer
        self._wake = wake
        self._welcome: Welcome | None = None
        self._replies: list[CredentialReply] = []

    async def run(self) -> None:
        """Read until the stream ends or breaks; `loss` says how."""
        try:
            while (raw := await self._stream.read()) is not None:
                self._take(raw)
            self._lose(UplinkLost("Core ended the stream", reason="ended"))
        except UplinkLost as lost:
            self._lose(lost)
        except ProtocolError as error:
            self._lose(reasons.broken(error))

    def take_welcome(self) -> Welcome | None:
        """The Welcome, once: None before it came and after it was taken."""
        welcome, self._welcome = self._welcome, None
        return welcome

    def take_replies(self) -> list[CredentialReply]:
        """Answers owed to Core, each once."""
        replies, self._replies = self._replies, []
        return replies

    def _lose(self, lost: UplinkLost) -> None:
        self.loss = self.loss or lost
        self._wake.ring()

    def _take(self, raw: bytes) -> None:
        """Handle one frame. Jobs are nothing to the sender until something of theirs is in the outbox."""
        frame = decode_core_frame(raw)
        jobs: list[Job] = []
        for event in self._session.receive(frame, self._clock.monotonic()):
            if isinstance(event, JobReceived):
                jobs.append(event.job)
            else:
                self._deliver(jobs)
                self._handle(event)
        self._deliver(jobs)
        if any(type(envelope.body) is not Job for envelope in frame.envelopes):
            self._wake.ring()  # not every message is an event: an Ack may just open the window wider

    def _deliver(self, jobs: list[Job]) -> None:
        """Hand on the jobs up to here, before what comes behind them: it may be about one of them."""
        if jobs:
            self._jobs.deliver(jobs)
            jobs.clear()

    def _handle(self, event: RunnerEvent) -> None:
        match event:
            case Acked():
                self._outbox.ack(event.seq)
            case CancelReceived():
                self._jobs.cancel(event.cancel)
            case PongReceived():
                self._observer.measured(event.rtt_s, event.skew_s)
            case Welcomed():
                self._welcomed(event.welcome)
            case DrainRequested():
                self.drain = DrainWish(event.drain.reconnect_after_ms / 1000, self._clock.monotonic() + DRAIN_S)
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
            elif ruling.verdict is Verdict.KEEP:
                self._jobs.confirm(held.job_id)
            elif ruling.verdict is Verdict.RESEND_RESULT:
                self._jobs.resend(held.job_id, held.lease_id, held.attempt)
        self._observer.opened(welcome)
