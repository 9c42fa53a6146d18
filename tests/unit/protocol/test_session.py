"""What each end of a session does and refuses, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from aisops_protocol import messages as m
from aisops_protocol.errors import Code, LocalProtocolError, RemoteProtocolError
from aisops_protocol.session import (
    TRANSITIONS,
    Challenged,
    CoreSession,
    CredentialOffered,
    HelloReceived,
    PeerClosed,
    ProofReceived,
    RunnerSession,
    State,
    Step,
    Welcomed,
)
from aisops_protocol.session.states import STEPS
from tests.unit.protocol import examples as ex
from tests.unit.protocol.pair import (
    BY_STEP,
    FROM_RUNNER,
    HELLO,
    JOB,
    REACH,
    WELCOME,
    Pair,
    code_of,
    core_frame,
    rows,
    runner_frame,
)

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
