"""The Runner's end of a session: frames in, events and frames out; no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.errors import Code, LocalProtocolError, RemoteProtocolError
from aisops_protocol.session import events as e
from aisops_protocol.session.batch import batches, envelope_weight
from aisops_protocol.session.party import Party
from aisops_protocol.session.states import DURABLE, STEPS, VOLATILE, State, Step

__all__ = ["RunnerSession"]

_FROM_CORE: Final = frozenset({Step.CHALLENGE, Step.WELCOME, Step.CONTROL, Step.DRAIN, Step.CORE_GOODBYE})
_BEATS_REMEMBERED: Final = 8
_TOLD: Final[dict[type, Callable[[Any], e.RunnerEvent]]] = {
    m.Challenge: e.Challenged,
    m.Job: e.JobReceived,
    m.JobCancel: e.CancelReceived,
    m.Drain: e.DrainRequested,
    m.CredentialOffer: e.CredentialOffered,
}
"""Messages that are handed on as they are."""


class RunnerSession(Party):
    """One stream, from Hello to its end, as the Runner sees it.

    The driver calls `start`, writes what `frames` gives, feeds `receive`, and wakes up at `next_deadline` for `tick`.
    When `window` is open it reads its outbox from `cursor + 1` and calls `send_durable`.

    Attributes:
        cursor: Last durable sequence number handed to the wire; Welcome's watermark at first.
        acked: Highest sequence number Core has committed.
        welcome: Core's Welcome once it has come.
    """

    def __init__(self, identity: e.Identity, hello: m.Hello, now: float, rng_jitter: float = 0.0) -> None:
        """`rng_jitter` in -1..1 places this Runner's heartbeat within +-20 % of the interval Core asks for."""
        super().__init__(identity, now)
        self.cursor = 0
        self.acked = 0
        self.welcome: m.Welcome | None = None
        self._hello = hello
        self._stretch = 1.0 + limits.HEARTBEAT_JITTER * max(-1.0, min(1.0, rng_jitter))
        self._core_seq = 0
        self._ping_nonce = 0
        self._paused_until: float | None = None
        self._beat_at = now
        self._beats: deque[tuple[int, float]] = deque(maxlen=_BEATS_REMEMBERED)
        self._window = e.Window(0, 0)
        self._in_flight: deque[tuple[int, int]] = deque()  # (seq, weight) handed over, not acknowledged
        self._in_flight_bytes = 0
        self._volatile: list[m.RunnerEnvelope] = []
        self._durable: deque[tuple[m.RunnerEnvelope, int]] = deque()
        self._last: m.RunnerEnvelope | None = None
        self._handlers: dict[type, Callable[[Any, float], list[e.RunnerEvent]]] = {
            m.Welcome: self._on_welcome,
            m.Ack: self._on_ack,
            m.Pong: self._on_pong,
            m.Ping: self._on_ping,
            m.Rewind: self._on_rewind,
            m.Slow: self._on_slow,
            m.CoreGoodbye: self._on_goodbye,
        }

    # --- out ----------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Queue the Hello.

        Raises:
            LocalProtocolError: UNEXPECTED_MESSAGE when it was called before.
        """
        self._send_step(Step.HELLO)
        self._heard_at = now
        self._volatile.append(m.RunnerEnvelope(self._hello))

    def window(self, now: float) -> e.Window:
        """How much durable may be sent now: nothing before Welcome, while paused, or while draining."""
        if self.state is not State.OPEN or (self._paused_until is not None and now < self._paused_until):
            return e.Window(0, 0)
        messages = max(0, self._window.messages - len(self._in_flight))
        return e.Window(messages, max(0, self._window.bytes - self._in_flight_bytes))

    def send_durable(self, envelopes: Sequence[m.RunnerEnvelope], now: float) -> None:
        """Queue rows of the outbox, in order and without a hole from `cursor + 1` on.

        The last one may overshoot the window's bytes, so that a large message is never stuck.

        Raises:
            LocalProtocolError: SEQ_GAP for a hole; WINDOW_EXCEEDED; UNEXPECTED_MESSAGE when not open or when a message
                does not belong in the durable lane. Envelopes before the wrong one are queued.
        """
        window = self.window(now)
        messages, room = window.messages, window.bytes
        for envelope in envelopes:
            if messages <= 0 or room <= 0:
                raise LocalProtocolError(Code.WINDOW_EXCEEDED, f"no room for message {envelope.seq}")
            first = _check_durable(envelope)
            if not first <= self.cursor + 1 <= envelope.seq:
                raise LocalProtocolError(Code.SEQ_GAP, f"message {envelope.seq} does not follow {self.cursor}")
            self._send_step(Step.DURABLE)
            size = envelope_weight(envelope)
            messages, room = messages - 1, room - size
            self._durable.append((envelope, size))
            self._in_flight.append((envelope.seq, size))
            self._in_flight_bytes += size
            self.cursor = envelope.seq

    def send_volatile(self, body: m.Proof | m.Heartbeat, now: float) -> None:
        """Queue a message outside the numbers. A Heartbeat replaces one not yet taken and is completed here.

        Raises:
            LocalProtocolError: UNEXPECTED_MESSAGE when the state does not allow it.
        """
        if type(body) not in VOLATILE:
            raise LocalProtocolError(Code.UNEXPECTED_MESSAGE, f"{type(body).__name__} needs a sequence number")
        self._send_step(STEPS[type(body)])
        if isinstance(body, m.Heartbeat):
            body = replace(body, core_ack=self._core_seq, ping_nonce=self._ping_nonce)
            self._volatile = [item for item in self._volatile if not isinstance(item.body, m.Heartbeat)]
            self._beats.append((body.clock_unix_ms, now))
            self._beat_at = now + self._beat_interval
        self._volatile.append(m.RunnerEnvelope(body))

    def goodbye(self, reason: str, unfinished: Sequence[str], now: float) -> None:
        """End the session in order: what is queued still goes out, the RunnerGoodbye last. Nothing after it."""
        if self.state in {State.OPEN, State.DRAINING}:
            self._send_step(Step.RUNNER_GOODBYE)
            self._last = m.RunnerEnvelope(m.RunnerGoodbye(reason, tuple(unfinished)))
        else:
            self._fail()

    def heartbeat_due(self, now: float) -> bool:
        """True when a Heartbeat should be sent: at once after Welcome and after a Ping, then every interval."""
        return self.state in {State.OPEN, State.DRAINING} and now >= self._beat_at

    def frames(self) -> list[m.RunnerFrame]:
        """Take everything that is to be written, volatile first, split so that Core takes every frame."""
        queued = [(item, envelope_weight(item)) for item in self._volatile]
        queued += self._durable
        if self._last is not None:
            queued.append((self._last, envelope_weight(self._last)))
        self._volatile, self._last = [], None
        self._durable.clear()
        most = min(limits.FRAME_BYTES, self.welcome.max_message_bytes) if self.welcome else limits.FRAME_BYTES
        ids = (self.identity.tenant_id, self.identity.runner_id)
        return [m.RunnerFrame(*ids, batch, self.session_id) for batch in batches(queued, most)]

    # --- time ---------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[e.RunnerEvent]:
        """Let time pass.

        Raises:
            RemoteProtocolError: HELLO_TIMEOUT or PEER_SILENT; the session is closed.
        """
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
        if self.state not in {State.IDLE, State.CLOSED}:
            try:
                self._check_silence(now)
            except RemoteProtocolError:
                self._fail()
                raise
        return []

    def next_deadline(self) -> float | None:
        """When `tick` or a Heartbeat is due next, or when a pause ends; None when nothing is."""
        if self.state in {State.IDLE, State.CLOSED}:
            return None
        if self.state is State.GREETING:
            return self._silence_deadline
        due = min(self._silence_deadline, self._beat_at)
        return due if self._paused_until is None else min(due, self._paused_until)

    # --- in -----------------------------------------------------------------------------------------------------------

    def receive(self, frame: m.CoreFrame, now: float) -> list[e.RunnerEvent]:
        """Take one frame; what it means for the driver, in order. After the end it means nothing.

        Raises:
            RemoteProtocolError: the frame breaks the contract; the session is closed. Events of envelopes before the
                wrong one are lost with the session, as if the stream had been cut before them.
        """
        if self.state is State.CLOSED:
            return []
        try:
            self._check_identity(frame)
            self._heard_at = now
            found: list[e.RunnerEvent] = []
            for envelope in frame.envelopes:
                found += self._receive_one(envelope, now)
            if self.session_id != frame.session_id:
                raise RemoteProtocolError(Code.IDENTITY_MISMATCH, "a frame names another session")
        except RemoteProtocolError:
            self._fail()
            raise
        return found

    def _receive_one(self, envelope: m.CoreEnvelope, now: float) -> list[e.RunnerEvent]:
        if self.state is State.CLOSED or self._is_repeated(envelope):
            return []
        body = envelope.body
        if body is None:
            self._ignore(critical=envelope.critical)
            return []
        self._receive_step(STEPS[type(body)], _FROM_CORE)
        told = _TOLD.get(type(body))
        return [told(body)] if told else self._handlers[type(body)](body, now)

    def _is_repeated(self, envelope: m.CoreEnvelope) -> bool:
        """Count what Core numbers. Raises RemoteProtocolError SEQ_GAP when something is missing."""
        if not self.session_id and envelope.core_seq == 0 and type(envelope.body) is not m.Welcome:
            return False
        if 0 < envelope.core_seq <= self._core_seq:
            return True
        if envelope.core_seq != self._core_seq + 1:
            raise RemoteProtocolError(Code.SEQ_GAP, f"message {envelope.core_seq} of Core after {self._core_seq}")
        self._core_seq = envelope.core_seq
        return False

    def _on_welcome(self, welcome: m.Welcome, now: float) -> list[e.RunnerEvent]:
        hello, mark = self._hello, welcome.ack_watermark
        if not hello.protocol_min <= welcome.protocol <= hello.protocol_max:
            raise RemoteProtocolError(Code.PROTOCOL_UNSUPPORTED, f"Core wants to speak version {welcome.protocol}")
        self._check_epoch(mark.queue_epoch)
        if not hello.oldest_unacked_seq - 1 <= mark.seq < hello.next_seq:
            raise RemoteProtocolError(Code.ACK_AHEAD, f"watermark {mark.seq} is outside of what the Hello offered")
        self.welcome = welcome
        self.session_id = welcome.session_id
        self.cursor = self.acked = mark.seq
        self._window = e.Window(welcome.max_inflight_messages, welcome.max_inflight_bytes)
        self._beat_at = now
        offer = welcome.credential_offer
        return [e.Welcomed(welcome), *([e.CredentialOffered(offer)] if offer else [])]

    def _on_ack(self, ack: m.Ack, now: float) -> list[e.RunnerEvent]:
        self._check_epoch(ack.queue_epoch)
        if ack.seq > self.cursor:
            raise RemoteProtocolError(Code.ACK_AHEAD, f"{ack.seq} acknowledged, {self.cursor} sent")
        self._window = e.Window(
            ack.max_inflight_messages or self._window.messages, ack.max_inflight_bytes or self._window.bytes
        )
        if ack.seq <= self.acked:
            return []
        self.acked = ack.seq
        while self._in_flight and self._in_flight[0][0] <= ack.seq:
            self._in_flight_bytes -= self._in_flight.popleft()[1]
        return [e.Acked(ack.queue_epoch, ack.seq)]

    def _on_pong(self, pong: m.Pong, now: float) -> list[e.RunnerEvent]:
        sent = next((at for clock, at in self._beats if clock == pong.echo_clock_unix_ms), None)
        if sent is None:
            return []
        rtt = max(0.0, now - sent)
        return [e.PongReceived(rtt, (pong.clock_unix_ms - pong.echo_clock_unix_ms) / 1000 - rtt / 2)]

    def _on_ping(self, ping: m.Ping, now: float) -> list[e.RunnerEvent]:
        self._ping_nonce = ping.nonce
        self._beat_at = now
        return [e.PingReceived(ping.nonce)]

    def _on_rewind(self, rewind: m.Rewind, now: float) -> list[e.RunnerEvent]:
        self._check_epoch(rewind.queue_epoch)
        if not self.acked < rewind.from_seq <= self.cursor + 1:
            raise RemoteProtocolError(Code.SEQ_GAP, f"rewind to {rewind.from_seq}, outside of what is unacknowledged")
        self.cursor = rewind.from_seq - 1
        self._durable = deque(item for item in self._durable if item[0].seq <= self.cursor)
        while self._in_flight and self._in_flight[-1][0] > self.cursor:
            self._in_flight_bytes -= self._in_flight.pop()[1]
        return [e.RewindTo(rewind.from_seq)]

    def _on_slow(self, slow: m.Slow, now: float) -> list[e.RunnerEvent]:
        self._paused_until = now + slow.pause_ms / 1000
        return []

    def _on_goodbye(self, goodbye: m.CoreGoodbye, now: float) -> list[e.RunnerEvent]:
        return [e.PeerClosed(goodbye.code, goodbye.message, goodbye.retry_after_ms)]

    def _check_epoch(self, epoch: bytes) -> None:
        if epoch != self._hello.queue_epoch:
            raise RemoteProtocolError(Code.INVALID, "Core speaks of another queue epoch")

    @property
    def _beat_interval(self) -> float:
        wanted = self.welcome.heartbeat_interval_ms / 1000 if self.welcome else limits.HEARTBEAT_S
        return wanted * self._stretch


def _check_durable(envelope: m.RunnerEnvelope) -> int:
    """The first number this envelope stands for.

    Raises:
        LocalProtocolError: UNEXPECTED_MESSAGE when it does not belong in the durable lane.
    """
    body = envelope.body
    if envelope.seq < 1 or (not envelope.sealed and type(body) not in DURABLE):
        raise LocalProtocolError(Code.UNEXPECTED_MESSAGE, f"{type(body).__name__} {envelope.seq} is not durable")
    if not isinstance(body, m.Skip):
        return envelope.seq
    if body.to_seq != envelope.seq:
        raise LocalProtocolError(Code.SEQ_GAP, f"a Skip up to {body.to_seq} is numbered {envelope.seq}")
    return body.from_seq
