"""What each end of a session does and refuses, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from aisops_protocol import codec, limits
from aisops_protocol import messages as m
from aisops_protocol.errors import Code, LocalProtocolError, ProtocolError, RemoteProtocolError
from aisops_protocol.session import (
    TRANSITIONS,
    Acked,
    CancelReceived,
    Challenged,
    CoreSession,
    CredentialOffered,
    Delivered,
    DrainRequested,
    GoodbyeReceived,
    HeartbeatReceived,
    HelloReceived,
    Identity,
    JobReceived,
    PeerClosed,
    PingReceived,
    PongReceived,
    ProofReceived,
    RewindTo,
    RunnerSession,
    State,
    Step,
    Welcomed,
    Window,
)
from aisops_protocol.session.batch import batches, envelope_weight, weight
from aisops_protocol.session.states import STEPS
from tests.unit.protocol import examples as ex

IDENTITY = Identity("t_default", "runner-1")
HELLO = m.Hello(1, 1, b"i" * 16, "boot", "0.1", "linux", "x86_64", 0, ex.EPOCH, 1, 100, 1, ex.JOURNAL)
WELCOME = m.Welcome(ex.SESSION, 1, ex.CORE, "core", 1, 1_000_000, m.Ack(ex.EPOCH, 0))
JOB = ex.CORE_BODIES["job"]
LOG = m.LogEvent(m.LogLevel.INFO, "line", 0)
BY_STEP: dict[Step, m.RunnerBody | m.CoreBody] = {
    Step.HELLO: HELLO,
    Step.CHALLENGE: m.Challenge(ex.HASH),
    Step.PROOF: m.Proof(b"signed"),
    Step.WELCOME: WELCOME,
    Step.DURABLE: LOG,
    Step.HEARTBEAT: m.Heartbeat(1),
    Step.CONTROL: JOB,
    Step.DRAIN: m.Drain(0),
    Step.RUNNER_GOODBYE: m.RunnerGoodbye("stop"),
    Step.CORE_GOODBYE: m.CoreGoodbye("OVERLOADED"),
}
FROM_RUNNER = {Step.HELLO, Step.PROOF, Step.DURABLE, Step.HEARTBEAT, Step.RUNNER_GOODBYE}


class Pair:
    """Two sessions and a link that works, through the real codec."""

    def __init__(self, hello: m.Hello = HELLO, welcome: m.Welcome = WELCOME) -> None:
        self.runner = RunnerSession(IDENTITY, hello, 0.0)
        self.core = CoreSession(IDENTITY, 0.0)
        self.hello_welcome = welcome

    def up(self, now: float = 0.0) -> list[object]:
        found: list[object] = []
        for frame in self.runner.frames():
            found += self.core.receive(codec.decode_runner_frame(codec.encode_runner_frame(frame)), now)
        return found

    def down(self, now: float = 0.0) -> list[object]:
        found: list[object] = []
        for frame in self.core.frames():
            found += self.runner.receive(codec.decode_core_frame(codec.encode_core_frame(frame)), now)
        return found

    def greet(self) -> Pair:
        self.runner.start(0.0)
        self.up()
        return self

    def open(self) -> Pair:
        self.greet()
        self.core.welcome(self.hello_welcome, 0.0)
        self.down()
        return self

    def drain(self) -> Pair:
        self.open()
        self.core.send(m.Drain(0), now=0.0)
        self.down()
        return self

    def close(self) -> Pair:
        self.open()
        self.core.close("OVERLOADED", "")
        self.down()
        return self


REACH: dict[State, Callable[[], Pair]] = {
    State.IDLE: Pair,
    State.GREETING: lambda: Pair().greet(),
    State.OPEN: lambda: Pair().open(),
    State.DRAINING: lambda: Pair().drain(),
    State.CLOSED: lambda: Pair().close(),
}


def rows(*seqs: int) -> list[m.RunnerEnvelope]:
    return [m.RunnerEnvelope(LOG, seq) for seq in seqs]


def runner_frame(*envelopes: m.RunnerEnvelope, session: bytes = ex.SESSION) -> m.RunnerFrame:
    return m.RunnerFrame("t_default", "runner-1", envelopes, session)


def core_frame(*bodies: m.CoreBody | None, first: int = 2, session: bytes = ex.SESSION) -> m.CoreFrame:
    envelopes = tuple(m.CoreEnvelope(body, first + n) for n, body in enumerate(bodies))
    return m.CoreFrame("t_default", "runner-1", envelopes, session)


def code_of(kind: type[ProtocolError], act: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert caught.value.diagnostics()["code"] == caught.value.code
    return caught.value.code


# --- the table --------------------------------------------------------------------------------------------------------


def receive_step(pair: Pair, step: Step) -> tuple[RunnerSession | CoreSession, Callable[[], object]]:
    """The end that receives this step, and the act of receiving it in a frame that is right in all else."""
    body = BY_STEP[step]
    if step in FROM_RUNNER:
        seq = pair.core.received + 1 if step is Step.DURABLE else 0
        pair.core._challenged = True
        frame = runner_frame(m.RunnerEnvelope(body, seq), session=pair.core.session_id)  # type: ignore[arg-type]
        return pair.core, lambda: pair.core.receive(frame, 0.0)
    runner = pair.runner
    session = ex.SESSION if step is Step.WELCOME else runner.session_id
    first = 0 if not runner.session_id and step is not Step.WELCOME else runner._core_seq + 1
    return runner, lambda: runner.receive(core_frame(body, first=first, session=session), 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
@pytest.mark.parametrize("step", BY_STEP, ids=lambda step: step.name)
def test_a_received_message_moves_the_session_as_the_table_says_or_ends_it(state: State, step: Step) -> None:
    session, receive = receive_step(REACH[state](), step)
    assert session.state is state
    target = TRANSITIONS[state].get(step)
    if state is State.CLOSED:
        assert receive() == []
        assert session.state is State.CLOSED
    elif target is None:
        assert code_of(RemoteProtocolError, receive) == Code.UNEXPECTED_MESSAGE
        assert session.state is State.CLOSED
    else:
        receive()
        assert session.state is target


def send_step(pair: Pair, step: Step) -> tuple[RunnerSession | CoreSession, Callable[[], object]]:
    runner, core, body = pair.runner, pair.core, BY_STEP[step]
    acts: dict[Step, Callable[[], object]] = {
        Step.HELLO: lambda: runner.start(0.0),
        Step.PROOF: lambda: runner.send_volatile(m.Proof(b"signed"), 0.0),
        Step.HEARTBEAT: lambda: runner.send_volatile(m.Heartbeat(1), 0.0),
        Step.DURABLE: lambda: runner.send_durable(rows(runner.cursor + 1), 0.0),
        Step.RUNNER_GOODBYE: lambda: runner.goodbye("stop", (), 0.0),
        Step.CHALLENGE: lambda: core.challenge(ex.HASH, 0.0),
        Step.WELCOME: lambda: core.welcome(WELCOME, 0.0),
        Step.CORE_GOODBYE: lambda: core.close("OVERLOADED", ""),
    }
    act = acts.get(step, lambda: core.send(body, now=0.0))  # type: ignore[arg-type]
    return (runner if step in FROM_RUNNER else core), act


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
@pytest.mark.parametrize("step", BY_STEP, ids=lambda step: step.name)
def test_a_sent_message_moves_the_session_as_the_table_says_or_is_refused(state: State, step: Step) -> None:
    session, send = send_step(REACH[state](), step)
    target = TRANSITIONS[state].get(step)
    if step in {Step.RUNNER_GOODBYE, Step.CORE_GOODBYE}:
        send()
        assert session.state is State.CLOSED, "ending is always allowed"
    elif step is Step.DURABLE and state is not State.OPEN:
        assert code_of(LocalProtocolError, send) == Code.WINDOW_EXCEEDED
        assert session.state is state
    elif target is None:
        assert code_of(LocalProtocolError, send) == Code.UNEXPECTED_MESSAGE
        assert session.state is state, "our own mistake changes nothing"
    else:
        send()
        assert session.state is target


@pytest.mark.parametrize("state", [state for state in State if Step.FAILURE in TRANSITIONS[state]])
def test_a_failure_closes_a_session_from_every_state(state: State) -> None:
    for session, frame in (
        (REACH[state]().runner, replace(core_frame(JOB), tenant_id="t_other")),
        (REACH[state]().core, replace(runner_frame(*rows(1)), runner_id="runner-2")),
    ):
        assert code_of(RemoteProtocolError, lambda s=session, f=frame: s.receive(f, 0.0)) == Code.IDENTITY_MISMATCH
        assert session.state is State.CLOSED


def test_every_message_is_a_step_and_the_table_leads_everywhere() -> None:
    volatile = {type(body) for body in (*ex.RUNNER.values(), *ex.CORE_BODIES.values())} & set(STEPS)
    assert volatile == set(STEPS)
    assert {target for steps in TRANSITIONS.values() for target in steps.values()} == set(State) - {State.IDLE}


# --- handshake --------------------------------------------------------------------------------------------------------


def test_hello_challenge_proof_welcome_opens_both_ends() -> None:
    pair = Pair(welcome=replace(WELCOME, credential_offer=ex.OFFER, ack_watermark=m.Ack(ex.EPOCH, 7)))
    pair.runner.start(0.0)
    assert pair.up() == [HelloReceived(HELLO)]
    pair.core.challenge(ex.HASH, 0.0)
    assert pair.down() == [Challenged(m.Challenge(ex.HASH))]
    pair.runner.send_volatile(m.Proof(b"signed"), 0.0)
    assert pair.up() == [ProofReceived(m.Proof(b"signed"))]
    pair.core.welcome(pair.hello_welcome, 0.0)
    assert pair.down() == [Welcomed(pair.hello_welcome), CredentialOffered(ex.OFFER)]
    assert pair.runner.state is pair.core.state is State.OPEN
    assert (pair.runner.cursor, pair.core.received, pair.core.watermark) == (7, 7, 7)


def test_a_proof_nobody_asked_for_is_refused() -> None:
    pair = Pair().greet()
    frame = runner_frame(m.RunnerEnvelope(m.Proof(b"x")), session=b"")
    assert code_of(RemoteProtocolError, lambda: pair.core.receive(frame, 0.0)) == Code.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(
    ("welcome", "code"),
    [
        (replace(WELCOME, protocol=2), Code.PROTOCOL_UNSUPPORTED),
        (replace(WELCOME, ack_watermark=m.Ack(ex.OLDER, 0)), Code.INVALID),
        (replace(WELCOME, ack_watermark=m.Ack(ex.EPOCH, 100)), Code.ACK_AHEAD),
    ],
)
def test_a_welcome_that_does_not_answer_the_hello_is_refused(welcome: m.Welcome, code: str) -> None:
    pair = Pair().greet()
    assert code_of(RemoteProtocolError, lambda: pair.runner.receive(core_frame(welcome, first=1), 0.0)) == code


def test_a_watermark_below_what_the_runner_deleted_is_refused() -> None:
    pair = Pair(replace(HELLO, oldest_unacked_seq=50)).greet()
    assert (
        code_of(RemoteProtocolError, lambda: pair.runner.receive(core_frame(WELCOME, first=1), 0.0)) == Code.ACK_AHEAD
    )


def test_core_cannot_welcome_into_another_queue_epoch() -> None:
    pair = Pair().greet()
    wrong = replace(WELCOME, ack_watermark=m.Ack(ex.OLDER, 0))
    assert code_of(LocalProtocolError, lambda: pair.core.welcome(wrong, 0.0)) == Code.INVALID
    assert pair.core.state is State.GREETING


def test_core_refuses_with_a_reason_and_a_time_to_wait() -> None:
    pair = Pair().greet()
    pair.core.close("OVERLOADED", "come back later", 5_000)
    pair.core.close("INVALID", "too late to change")
    assert pair.down() == [PeerClosed("OVERLOADED", "come back later", 5_000)]
    assert pair.runner.state is State.CLOSED
    assert pair.core.frames() == []


@pytest.mark.parametrize("session", [b"", b"x" * 16])
def test_after_welcome_every_frame_must_name_the_session(session: bytes) -> None:
    pair = Pair().open()
    wrong = runner_frame(*rows(1), session=session)
    assert code_of(RemoteProtocolError, lambda: pair.core.receive(wrong, 0.0)) == Code.IDENTITY_MISMATCH
    assert [body.code for f in pair.core.frames() for body in [f.envelopes[-1].body] if isinstance(body, m.CoreGoodbye)]
    pair = Pair().open()
    down = core_frame(JOB, session=session)
    assert code_of(RemoteProtocolError, lambda: pair.runner.receive(down, 0.0)) == Code.IDENTITY_MISMATCH


def test_before_welcome_no_frame_may_name_a_session() -> None:
    claimed = runner_frame(m.RunnerEnvelope(HELLO))
    assert code_of(RemoteProtocolError, lambda: Pair().core.receive(claimed, 0.0)) == Code.IDENTITY_MISMATCH
    pair = Pair().greet()
    early = m.CoreFrame("t_default", "runner-1", (m.CoreEnvelope(m.Challenge(ex.HASH)),), ex.SESSION)
    assert code_of(RemoteProtocolError, lambda: pair.runner.receive(early, 0.0)) == Code.IDENTITY_MISMATCH
    pair = Pair().greet()
    other = core_frame(WELCOME, first=1, session=b"x" * 16)
    assert code_of(RemoteProtocolError, lambda: pair.runner.receive(other, 0.0)) == Code.IDENTITY_MISMATCH


# --- durable lane -----------------------------------------------------------------------------------------------------


def test_rows_are_delivered_once_and_acknowledged_after_the_commit_only() -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1, 2, 3), 0.0)
    assert pair.up() == [Delivered(ex.EPOCH, tuple(rows(1, 2, 3)), 3)]
    assert pair.down() == [], "nothing is acknowledged before the commit"
    pair.core.committed(2)
    pair.core.committed(1)
    assert pair.core.watermark == 2, "a watermark never goes back"
    pair.core.committed(3)
    assert pair.down() == [Acked(ex.EPOCH, 3)], "acknowledgements are cumulative"
    assert pair.core.receive(runner_frame(*rows(2, 3)), 0.0) == []
    assert [frame.envelopes[0].body for frame in pair.core.frames()] == [m.Ack(ex.EPOCH, 3)], "said again, not stored"
    assert code_of(LocalProtocolError, lambda: pair.core.committed(4)) == Code.ACK_AHEAD


def test_of_a_frame_that_overlaps_what_core_has_only_the_new_is_delivered() -> None:
    pair = Pair().open()
    pair.core.receive(runner_frame(*rows(1, 2)), 0.0)
    assert pair.core.receive(runner_frame(*rows(1, 2, 3)), 0.0) == [Delivered(ex.EPOCH, tuple(rows(3)), 3)]
    assert pair.core.receive(runner_frame(*rows(3, 4)), 0.0) == [Delivered(ex.EPOCH, tuple(rows(4)), 4)]


def test_a_repetition_that_is_not_committed_yet_is_not_acknowledged() -> None:
    pair = Pair().open()
    pair.core.receive(runner_frame(*rows(1)), 0.0)
    assert pair.core.receive(runner_frame(*rows(1)), 0.0) == []
    assert pair.core.frames() == []


def test_a_hole_asks_for_a_rewind_once_and_passes_over_what_was_under_way() -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1, 2, 3, 4), 0.0)
    pair.runner.frames()
    assert pair.core.receive(runner_frame(*rows(1)), 0.0) == [Delivered(ex.EPOCH, tuple(rows(1)), 1)]
    assert pair.core.receive(runner_frame(*rows(3)), 0.0) == []
    assert pair.core.receive(runner_frame(*rows(4)), 0.0) == []
    assert pair.down() == [RewindTo(2)]
    assert pair.runner.cursor == 1
    pair.runner.send_durable(rows(2, 3, 4), 0.0)
    assert pair.up() == [Delivered(ex.EPOCH, tuple(rows(2, 3, 4)), 4)]
    assert code_of(RemoteProtocolError, lambda: pair.core.receive(runner_frame(*rows(6)), 0.0)) == Code.SEQ_GAP


def test_a_runner_that_does_not_rewind_is_given_up() -> None:
    pair = Pair().open()
    pair.core.receive(runner_frame(*rows(5)), 0.0)
    assert pair.core.next_deadline() == limits.REWIND_S
    pair.core.receive(runner_frame(m.RunnerEnvelope(m.Heartbeat(1))), 9.0)
    assert code_of(RemoteProtocolError, lambda: pair.core.tick(10.0)) == Code.SEQ_GAP


@pytest.mark.parametrize("rewind", [m.Rewind(ex.EPOCH, 1), m.Rewind(ex.EPOCH, 5), m.Rewind(ex.OLDER, 3)])
def test_a_rewind_outside_of_what_is_unacknowledged_is_refused(rewind: m.Rewind) -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1, 2, 3), 0.0)
    pair.runner.receive(core_frame(m.Ack(ex.EPOCH, 1)), 0.0)
    with pytest.raises(RemoteProtocolError):
        pair.runner.receive(core_frame(rewind, first=3), 0.0)


def test_a_rewind_keeps_what_was_queued_before_its_number() -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1, 2, 3), 0.0)
    assert pair.runner.receive(core_frame(m.Rewind(ex.EPOCH, 3)), 0.0) == [RewindTo(3)]
    assert [item.seq for frame in pair.runner.frames() for item in frame.envelopes] == [1, 2]
    assert pair.runner.window(0.0).messages == WELCOME.max_inflight_messages - 2


@pytest.mark.parametrize("ack", [m.Ack(ex.EPOCH, 4), m.Ack(ex.OLDER, 1)])
def test_an_acknowledgement_of_what_was_not_sent_is_refused(ack: m.Ack) -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1, 2, 3), 0.0)
    with pytest.raises(RemoteProtocolError):
        pair.runner.receive(core_frame(ack), 0.0)


def test_a_skip_fills_its_numbers_also_when_it_overlaps_what_core_has() -> None:
    pair = Pair().open()
    skip = m.RunnerEnvelope(m.Skip(1, 3, m.MessageClass.DROPPABLE, 3), 3)
    pair.core.receive(runner_frame(*rows(1)), 0.0)
    assert pair.core.receive(runner_frame(skip, *rows(4)), 0.0) == [Delivered(ex.EPOCH, (skip, *rows(4)), 4)]
    pair.runner.send_durable([skip, *rows(4)], 0.0)
    assert pair.runner.cursor == 4
    wrong = m.RunnerEnvelope(m.Skip(5, 7, m.MessageClass.DROPPABLE, 3), 6)
    assert code_of(LocalProtocolError, lambda: pair.runner.send_durable([wrong], 0.0)) == Code.SEQ_GAP
    assert code_of(RemoteProtocolError, lambda: pair.core.receive(runner_frame(wrong), 0.0)) == Code.INVALID


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (m.RunnerEnvelope(LOG, 2), Code.SEQ_GAP),
        (m.RunnerEnvelope(LOG, 0), Code.UNEXPECTED_MESSAGE),
        (m.RunnerEnvelope(HELLO, 1), Code.UNEXPECTED_MESSAGE),
        (m.RunnerEnvelope(None, 1), Code.UNEXPECTED_MESSAGE),
    ],
)
def test_the_runner_cannot_put_what_does_not_belong_into_the_durable_lane(
    envelope: m.RunnerEnvelope, code: str
) -> None:
    pair = Pair().open()
    assert code_of(LocalProtocolError, lambda: pair.runner.send_durable([envelope], 0.0)) == code


def test_lanes_are_kept_apart_by_core_too() -> None:
    for envelope in (m.RunnerEnvelope(LOG, 0), m.RunnerEnvelope(HELLO, 1)):
        pair = Pair().open()
        frame = runner_frame(envelope)
        assert code_of(RemoteProtocolError, lambda p=pair, f=frame: p.core.receive(f, 0.0)) == Code.UNEXPECTED_MESSAGE
    pair = Pair().open()
    with pytest.raises(LocalProtocolError, match="needs a sequence number"):
        pair.runner.send_volatile(LOG, 0.0)  # type: ignore[arg-type]


def test_a_replayed_heartbeat_is_durable() -> None:
    pair = Pair().open()
    beat = m.RunnerEnvelope(m.Heartbeat(1, offline_beats=4, offline_ms=60_000), 1)
    pair.runner.send_durable([beat], 0.0)
    assert pair.up() == [Delivered(ex.EPOCH, (beat,), 1)]


# --- newer versions ---------------------------------------------------------------------------------------------------


def test_unknown_messages_are_counted_and_numbered_ones_still_acknowledged() -> None:
    pair = Pair().open()
    assert pair.core.receive(runner_frame(m.RunnerEnvelope(None), m.RunnerEnvelope(None, 1)), 0.0) == [
        Delivered(ex.EPOCH, (), 1)
    ]
    assert pair.core.ignored == 2
    assert pair.runner.receive(core_frame(None, JOB), 0.0) == [JobReceived(JOB)]
    assert pair.runner.ignored == 1


def test_unknown_critical_messages_end_the_session() -> None:
    for envelope in (m.RunnerEnvelope(None, 0, critical=True), m.RunnerEnvelope(None, 1, critical=True)):
        pair = Pair().open()
        frame = runner_frame(envelope)
        assert code_of(RemoteProtocolError, lambda p=pair, f=frame: p.core.receive(f, 0.0)) == Code.UNSUPPORTED
    pair = Pair().open()
    frame_down = m.CoreFrame("t_default", "runner-1", (m.CoreEnvelope(None, 2, True),), ex.SESSION)
    assert code_of(RemoteProtocolError, lambda: pair.runner.receive(frame_down, 0.0)) == Code.UNSUPPORTED


# --- flow control -----------------------------------------------------------------------------------------------------


def test_the_window_opens_with_welcome_shrinks_with_sends_and_grows_with_acknowledgements() -> None:
    pair = Pair(welcome=replace(WELCOME, max_inflight_messages=3))
    assert not pair.runner.window(0.0)
    pair.open()
    assert pair.runner.window(0.0) == Window(3, 1_048_576)
    pair.runner.send_durable(rows(1, 2, 3), 0.0)
    assert not pair.runner.window(0.0)
    assert code_of(LocalProtocolError, lambda: pair.runner.send_durable(rows(4), 0.0)) == Code.WINDOW_EXCEEDED
    pair.up()
    pair.core.committed(2)
    pair.core.credit(10, 2_000)
    pair.down()
    window = pair.runner.window(0.0)
    assert window.messages == 9
    assert window.bytes < 2_000


def test_core_ends_a_session_that_ignores_its_window() -> None:
    pair = Pair(welcome=replace(WELCOME, max_inflight_messages=3)).open()
    pair.core.receive(runner_frame(*rows(1, 2, 3)), 0.0)
    pair.core.committed(2)
    pair.core.receive(runner_frame(*rows(4, 5)), 0.0)
    assert code_of(RemoteProtocolError, lambda: pair.core.receive(runner_frame(*rows(6)), 0.0)) == Code.WINDOW_EXCEEDED


def test_a_large_message_may_overshoot_the_window_so_that_it_is_never_stuck() -> None:
    pair = Pair(welcome=replace(WELCOME, max_inflight_bytes=100)).open()
    large = m.RunnerEnvelope(replace(LOG, text="x" * 10_000), 1)
    pair.runner.send_durable([large], 0.0)
    assert pair.runner.window(0.0).bytes == 0


def test_slow_pauses_the_durable_lane_and_nothing_else() -> None:
    pair = Pair().open()
    pair.runner.receive(core_frame(m.Slow(500)), 1.0)
    assert not pair.runner.window(1.4)
    pair.runner.send_volatile(m.Heartbeat(1), 1.4)
    assert pair.runner.next_deadline() == 1.5
    assert pair.runner.window(1.5)
    pair.runner.tick(1.5)
    assert pair.runner.next_deadline() == 16.4


def test_draining_sends_nothing_durable_but_still_takes_acknowledgements() -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1), 0.0)
    pair.core.send(m.Drain(30_000, "upgrade"), now=0.0)
    assert pair.down() == [DrainRequested(m.Drain(30_000, "upgrade"))]
    assert not pair.runner.window(0.0)
    assert pair.up() == [Delivered(ex.EPOCH, tuple(rows(1)), 1)]
    pair.core.committed(1)
    assert pair.down() == [Acked(ex.EPOCH, 1)]


# --- time -------------------------------------------------------------------------------------------------------------


def test_heartbeats_are_due_at_once_then_every_interval_off_by_the_jitter() -> None:
    for jitter, due in ((0.0, 15.0), (1.0, 18.0), (-1.0, 12.0), (9.0, 18.0)):
        pair = Pair()
        pair.runner = RunnerSession(IDENTITY, HELLO, 0.0, jitter)
        assert not pair.runner.heartbeat_due(0.0)
        pair.open()
        assert pair.runner.heartbeat_due(0.0)
        pair.runner.send_volatile(m.Heartbeat(1), 0.0)
        assert not pair.runner.heartbeat_due(due - 0.1)
        assert pair.runner.heartbeat_due(due)
        assert pair.runner.next_deadline() == due


def test_only_the_newest_heartbeat_is_sent_and_it_acknowledges_what_core_sent() -> None:
    pair = Pair().open()
    pair.core.send(JOB, m.Ping(7), m.JobCancel("job-1", ex.LEASE), now=0.0)
    assert pair.down(1.0) == [JobReceived(JOB), PingReceived(7), CancelReceived(m.JobCancel("job-1", ex.LEASE))]
    assert pair.runner.heartbeat_due(1.0), "a ping is answered at once"
    pair.runner.send_volatile(m.Heartbeat(1), 1.0)
    pair.runner.send_volatile(m.Heartbeat(2), 1.0)
    assert pair.up() == [HeartbeatReceived(m.Heartbeat(2, core_ack=4, ping_nonce=7))]
    assert pair.core.core_ack == 4


def test_a_runner_cannot_confirm_what_core_has_not_sent() -> None:
    pair = Pair().open()
    pair.core.receive(runner_frame(m.RunnerEnvelope(m.Heartbeat(1, core_ack=500))), 0.0)
    assert pair.core.core_ack == 1


def test_a_pong_tells_round_trip_and_clock_skew() -> None:
    pair = Pair().open()
    pair.runner.send_volatile(m.Heartbeat(1_000_000), 10.0)
    pair.up(10.1)
    [pong] = pair.down(10.2)
    assert isinstance(pong, PongReceived)
    assert pong.rtt_s == pytest.approx(0.2)
    assert pong.skew_s == pytest.approx(10.1 - 0.1), "Core's clock stood at 1,000 s when the session opened"
    assert pair.runner.receive(core_frame(m.Pong(1, 555), first=3), 11.0) == [], "a pong for no beat of ours"


def test_silence_ends_either_end_after_45_s_and_any_message_resets_it() -> None:
    pair = Pair().open()
    pair.runner.send_volatile(m.Heartbeat(1), 40.0)
    pair.up(40.0)
    pair.down(40.0)
    for session in (pair.runner, pair.core):
        assert session.tick(84.9) == []
        assert code_of(RemoteProtocolError, lambda s=session: s.tick(85.0)) == Code.PEER_SILENT
        assert session.next_deadline() is None
        assert session.tick(99.0) == []


def test_each_step_of_the_handshake_has_10_s() -> None:
    pair = Pair()
    assert pair.runner.next_deadline() is None
    assert pair.core.next_deadline() == 10.0
    assert code_of(RemoteProtocolError, lambda: pair.core.tick(10.0)) == Code.HELLO_TIMEOUT
    pair = Pair().greet()
    assert pair.core.next_deadline() is None, "Core waits for itself"
    assert pair.runner.next_deadline() == 10.0
    assert code_of(RemoteProtocolError, lambda: pair.runner.tick(10.0)) == Code.HELLO_TIMEOUT
    pair.core.challenge(ex.HASH, 20.0)
    assert pair.core.next_deadline() == 30.0
    assert code_of(RemoteProtocolError, lambda: pair.core.tick(30.0)) == Code.HELLO_TIMEOUT


# --- Core's numbers, frames and ends ----------------------------------------------------------------------------------


def test_a_repeated_message_of_core_is_passed_over_and_a_missing_one_ends_the_session() -> None:
    pair = Pair().open()
    assert pair.runner.receive(core_frame(JOB), 0.0) == [JobReceived(JOB)]
    assert pair.runner.receive(core_frame(JOB), 0.0) == []
    assert code_of(RemoteProtocolError, lambda: pair.runner.receive(core_frame(JOB, first=4), 0.0)) == Code.SEQ_GAP
    unnumbered = Pair().greet()
    assert code_of(RemoteProtocolError, lambda: unnumbered.runner.receive(core_frame(WELCOME, first=0), 0.0)) == (
        Code.SEQ_GAP
    )


def test_frames_are_split_so_that_the_peer_takes_each_of_them() -> None:
    pair = Pair(replace(HELLO, max_message_bytes=65_536), replace(WELCOME, max_message_bytes=65_536)).open()
    job = replace(JOB, input=b"x" * 20_000)
    pair.core.send(*[job] * 10, now=0.0)
    sizes = [len(codec.encode_core_frame(frame)) for frame in pair.core.frames()]
    assert len(sizes) == 4
    assert max(sizes) <= 65_536
    pair.runner.send_durable([m.RunnerEnvelope(replace(LOG, text="가" * 5_000), n) for n in range(1, 11)], 0.0)
    sizes = [len(codec.encode_runner_frame(frame)) for frame in pair.runner.frames()]
    assert len(sizes) >= 3
    assert max(sizes) <= 65_536


@pytest.mark.parametrize("body", [*ex.RUNNER.values(), *ex.CORE_BODIES.values()], ids=lambda body: type(body).__name__)
def test_weight_is_an_upper_bound_of_the_size_on_the_wire(body: m.RunnerBody | m.CoreBody) -> None:
    assert codec.encoded_size(body) + 40 <= weight(body)


def test_weight_of_a_stored_body_is_its_size_and_counts_limit_a_frame() -> None:
    sealed = m.RunnerEnvelope(None, 1, sealed=b"x" * 1_000)
    assert 1_000 < envelope_weight(sealed) < 1_100
    assert envelope_weight(m.RunnerEnvelope(None)) > 0
    many = [(n, 1) for n in range(limits.FRAME_ENVELOPES + 1)]
    assert [len(batch) for batch in batches(many, limits.FRAME_BYTES)] == [limits.FRAME_ENVELOPES, 1]
    assert [len(batch) for batch in batches([(0, 10**9), (1, 10**9)], limits.FRAME_BYTES)] == [1, 1]


def test_volatile_goes_first_and_the_goodbye_last() -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1), 0.0)
    pair.runner.send_volatile(m.Heartbeat(1), 0.0)
    pair.runner.goodbye("stop", ("job-1",), 0.0)
    assert pair.runner.state is State.CLOSED
    events = pair.up()
    assert [type(event) for event in events] == [Delivered, HeartbeatReceived, GoodbyeReceived]
    assert events[-1] == GoodbyeReceived(m.RunnerGoodbye("stop", ("job-1",)))
    assert pair.runner.frames() == []


def test_closing_drops_jobs_not_yet_written_but_not_acknowledgements() -> None:
    pair = Pair().open()
    pair.runner.send_durable(rows(1), 0.0)
    pair.up()
    pair.core.committed(1)
    pair.core.send(JOB, now=0.0)
    pair.core.close("REVOKED", "credential revoked")
    assert pair.down() == [Acked(ex.EPOCH, 1), PeerClosed("REVOKED", "credential revoked", 0)]


def test_a_breach_leaves_a_goodbye_that_says_why() -> None:
    pair = Pair().open()
    with pytest.raises(RemoteProtocolError):
        pair.core.receive(runner_frame(m.RunnerEnvelope(HELLO)), 0.0)
    assert pair.down() == [PeerClosed("UNEXPECTED_MESSAGE", "got a Hello while open", 0)]
