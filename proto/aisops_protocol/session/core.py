"""Core's end of a session: frames in, events and frames out; no I/O, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Final

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.errors import Code, LocalProtocolError, RemoteProtocolError
from aisops_protocol.session import events as e
from aisops_protocol.session.batch import batches, weight
from aisops_protocol.session.party import Party
from aisops_protocol.session.states import DURABLE, STEPS, VOLATILE, State, Step

__all__ = ["CoreSession"]

_FROM_RUNNER: Final = frozenset({Step.HELLO, Step.PROOF, Step.DURABLE, Step.HEARTBEAT, Step.RUNNER_GOODBYE})


class CoreSession(Party):
    """One stream, from Hello to its end, as Core sees it.

    The driver feeds `receive`, answers HelloReceived with `welcome` or `close`, commits what Delivered brings and calls
    `committed`, writes what `frames` gives, and wakes up at `next_deadline` for `tick`. A RemoteProtocolError leaves a
    CoreGoodbye in `frames`: write it, then end the RPC.

    Attributes:
        hello: The Runner's Hello once it has come; after Welcome without what only opening a session needs, because a
            process may hold thousands of them.
        received: Highest durable sequence number taken, in order.
        watermark: Highest durable sequence number committed.
        core_ack: Highest of our own numbers the Runner has confirmed.
    """

    def __init__(self, identity: e.Identity, now: float) -> None:
        super().__init__(identity, now)
        self.hello: m.Hello | None = None
        self.received = 0
        self.watermark = 0
        self.core_ack = 0
        self._core_seq = 0
        self._clock_ms = 0
        self._challenged = False
        self._rewound = False
        self._rewind_until: float | None = None
        self._ack_due = False
        self._window = e.Window(0, 0)
        self._most_uncommitted = 0
        self._uncommitted: deque[int] | None = None  # seqs delivered and not committed; idle sessions need none
        self._urgent: list[m.CoreBody] = []
        self._queued: list[m.CoreBody] = []
        self._goodbye: m.CoreGoodbye | None = None

    # --- out ----------------------------------------------------------------------------------------------------------

    def challenge(self, nonce: bytes, now: float) -> None:
        """Ask for a Proof before Welcome.

        Raises:
            LocalProtocolError: UNEXPECTED_MESSAGE when there is no Hello to prove.
        """
        self._send_step(Step.CHALLENGE)
        self._challenged = True
        self._heard_at = now
        self._urgent.append(m.Challenge(nonce))

    def welcome(self, welcome: m.Welcome, now: float) -> None:
        """Open the session; the durable lane goes on after the watermark of this Welcome.

        Raises:
            LocalProtocolError: UNEXPECTED_MESSAGE before a Hello or twice; INVALID when the watermark speaks of another
                queue epoch than the Hello.
        """
        mark = welcome.ack_watermark
        if self.hello is not None and mark.queue_epoch != self.hello.queue_epoch:
            raise LocalProtocolError(Code.INVALID, "the watermark is of another queue epoch")
        self._send_step(Step.WELCOME)
        self.session_id = welcome.session_id
        self.received = self.watermark = mark.seq
        self._most_uncommitted = welcome.max_inflight_messages
        self._clock_ms = welcome.clock_unix_ms - round(now * 1000)
        self._heard_at = now
        self._urgent.append(welcome)
        if self.hello is not None:
            self.hello = _slim(self.hello)

    def send(self, *bodies: m.CoreBody, now: float | None = None) -> None:
        """Queue messages of an open session: Job, JobCancel, Drain, Ping, Slow, CredentialOffer.

        Raises:
            LocalProtocolError: UNEXPECTED_MESSAGE when the state does not allow it.
        """
        last: type | None = None
        for body in bodies:
            if last is not m.Job or type(body) is not last:  # of many jobs in a row, one says whether all may be sent
                last = type(body)
                self._send_step(STEPS[last])
            self._queued.append(body)

    def committed(self, seq: int) -> None:
        """The rows up to `seq` and the watermark are committed: acknowledge them.

        Raises:
            LocalProtocolError: ACK_AHEAD when so much has not been delivered.
        """
        if seq > self.received:
            raise LocalProtocolError(Code.ACK_AHEAD, f"{seq} committed, {self.received} received")
        if seq > self.watermark:
            self.watermark = seq
            self._ack_due = True
            held = self._uncommitted
            while held and held[0] <= seq:
                held.popleft()

    def credit(self, max_messages: int, max_bytes: int) -> None:
        """Give the Runner another window with the next Ack (which is made due)."""
        self._window = e.Window(max_messages, max_bytes)
        self._most_uncommitted = max(self._most_uncommitted, max_messages)  # a smaller one takes time to be known
        self._ack_due = True

    def close(self, code: str, message: str, retry_after_ms: int = 0) -> None:
        """End the session and say why; jobs not yet written are not written any more. A second call changes nothing."""
        if self.state is State.CLOSED:
            return
        self._send_step(Step.CORE_GOODBYE)
        self._queued.clear()
        self._goodbye = m.CoreGoodbye(str(code), message, retry_after_ms)

    def frames(self) -> list[m.CoreFrame]:
        """Take everything that is to be written, handshake and acknowledgements first, in frames the Runner takes."""
        bodies = [*self._urgent, *self._take_ack(), *self._queued]
        if self._goodbye is not None:
            bodies.append(self._goodbye)
        self._urgent, self._queued, self._goodbye = [], [], None
        most = min(limits.FRAME_BYTES, self.hello.max_message_bytes) if self.hello else limits.FRAME_BYTES
        ids = (self.identity.tenant_id, self.identity.runner_id)
        numbered = [(self._number(body), weight(body)) for body in bodies]
        return [m.CoreFrame(*ids, batch, self.session_id) for batch in batches(numbered, most)]

    def _take_ack(self) -> list[m.CoreBody]:
        if not self._ack_due or self.hello is None:
            return []
        self._ack_due = False
        window, self._window = self._window, e.Window(0, 0)
        return [m.Ack(self.hello.queue_epoch, self.watermark, window.messages, window.bytes)]

    def _number(self, body: m.CoreBody) -> m.CoreEnvelope:
        if not self.session_id:
            return m.CoreEnvelope(body)
        self._core_seq += 1
        return m.CoreEnvelope(body, self._core_seq)

    # --- time ---------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[e.CoreEvent]:
        """Let time pass.

        Raises:
            RemoteProtocolError: HELLO_TIMEOUT, PEER_SILENT, or SEQ_GAP when a Runner does not rewind; the session is
                closed and its CoreGoodbye is queued.
        """
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            try:
                if self._rewind_until is not None and now >= self._rewind_until:
                    raise RemoteProtocolError(Code.SEQ_GAP, f"no message {self.received + 1} after a rewind")
                self._check_silence(now)
            except RemoteProtocolError as error:
                self.close(error.code, error.message)
                raise
        return []

    def next_deadline(self) -> float | None:
        """When `tick` is due next; None when nothing is (also while the Hello waits for our own answer)."""
        if self.state is State.CLOSED or (self.state is State.GREETING and not self._challenged):
            return None
        silence = self._silence_deadline
        return silence if self._rewind_until is None else min(silence, self._rewind_until)

    # --- in -----------------------------------------------------------------------------------------------------------

    def receive(self, frame: m.RunnerFrame, now: float, unix_ms: int | None = None) -> list[e.CoreEvent]:
        """Take one frame; what it means for the driver, in order. After the end it means nothing.

        Args:
            frame: As it was decoded.
            now: Monotonic seconds.
            unix_ms: Our wall clock, for a Pong; None: as it has run on since the Welcome.

        Raises:
            RemoteProtocolError: the frame breaks the contract; the session is closed and its CoreGoodbye is queued.
                Nothing of the frame counts as received: it is to be treated as if the stream had been cut before it.
        """
        if self.state is State.CLOSED:
            return []
        try:
            self._check_identity(frame)
            if not self.session_id and frame.session_id:
                raise RemoteProtocolError(Code.IDENTITY_MISMATCH, "a session id before Welcome")
            self._heard_at = now
            if unix_ms is not None:
                self._clock_ms = unix_ms - round(now * 1000)
            return self._receive_all(frame, now)
        except RemoteProtocolError as error:
            self.close(error.code, error.message)
            raise

    def _receive_all(self, frame: m.RunnerFrame, now: float) -> list[e.CoreEvent]:
        found: list[e.CoreEvent] = []
        durable: list[m.RunnerEnvelope] = []
        before = self.received
        for envelope in frame.envelopes:
            if envelope.seq:
                self._receive_durable(envelope, durable, now)
            elif envelope.body is None:
                self._ignore(critical=envelope.critical)
            else:
                found += self._receive_volatile(envelope.body)
        if self.received > before and self.hello is not None:
            found.insert(0, e.Delivered(self.hello.queue_epoch, tuple(durable), self.received))
        return found

    def _receive_volatile(self, body: m.RunnerBody) -> list[e.CoreEvent]:
        if type(body) not in VOLATILE:
            raise RemoteProtocolError(Code.UNEXPECTED_MESSAGE, f"{type(body).__name__} without a sequence number")
        self._receive_step(STEPS[type(body)], _FROM_RUNNER)
        match body:
            case m.Hello():
                self.hello = body
                return [e.HelloReceived(body)]
            case m.Proof():
                if not self._challenged:
                    raise RemoteProtocolError(Code.UNEXPECTED_MESSAGE, "a Proof nobody asked for")
                self._challenged = False
                return [e.ProofReceived(body)]
            case m.Heartbeat():
                self.core_ack = max(self.core_ack, min(body.core_ack, self._core_seq))
                self._urgent.append(m.Pong(max(0, self._clock_ms + round(self._heard_at * 1000)), body.clock_unix_ms))
                return [e.HeartbeatReceived(body)]
            case m.RunnerGoodbye():
                return [e.GoodbyeReceived(body)]
        raise AssertionError(type(body))  # pragma: no cover - VOLATILE names no other

    def _receive_durable(self, envelope: m.RunnerEnvelope, durable: list[m.RunnerEnvelope], now: float) -> None:
        """Take a numbered message when it is the next one; otherwise acknowledge again, or ask to rewind."""
        self._receive_step(Step.DURABLE, _FROM_RUNNER)
        body = envelope.body
        first = _first_number(envelope)
        if envelope.seq <= self.received:
            self._rewind_until = None
            self._ack_due = self._ack_due or envelope.seq <= self.watermark
        elif first > self.received + 1:
            self._on_gap(envelope.seq, now)
        else:
            self._rewind_until = None
            self.received = envelope.seq
            held = self._uncommitted = deque() if self._uncommitted is None else self._uncommitted
            held.append(envelope.seq)
            if len(held) > self._most_uncommitted:
                raise RemoteProtocolError(Code.WINDOW_EXCEEDED, f"more than {self._most_uncommitted} messages at once")
            if body is None:
                self._ignore(critical=envelope.critical)
            else:
                durable.append(envelope)

    def _on_gap(self, seq: int, now: float) -> None:
        """The first hole of a session asks for a rewind; what was under way until then is passed over."""
        if self._rewind_until is not None:
            return
        if self._rewound or self.hello is None:
            raise RemoteProtocolError(Code.SEQ_GAP, f"message {seq} after {self.received}")
        self._rewound = True
        self._rewind_until = now + limits.REWIND_S
        self._urgent.append(m.Rewind(self.hello.queue_epoch, self.received + 1))


def _slim(hello: m.Hello) -> m.Hello:
    """What a session needs of a Hello once it is open; the rest was for whoever answered it."""
    nothing: dict[str, Any] = {"capabilities": (), "labels": (), "held_jobs": (), "queue_stats": m.QueueStats()}
    return replace(hello, boot_id="", agent_version="", os="", arch="", **nothing)


def _first_number(envelope: m.RunnerEnvelope) -> int:
    """The first number this envelope stands for.

    Raises:
        RemoteProtocolError: the message does not belong in the durable lane, or its numbers contradict each other.
    """
    body: Any = envelope.body
    if body is not None and type(body) not in DURABLE:
        raise RemoteProtocolError(Code.UNEXPECTED_MESSAGE, f"{type(body).__name__} with a sequence number")
    if not isinstance(body, m.Skip):
        return envelope.seq
    if body.to_seq != envelope.seq:
        raise RemoteProtocolError(Code.INVALID, f"field skip.to_seq is not the envelope's seq {envelope.seq}")
    return body.from_seq
