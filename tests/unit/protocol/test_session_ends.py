"""Liveness, frames, Core's numbers and the ends of a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aisops_protocol import codec, limits
from aisops_protocol import messages as m
from aisops_protocol.errors import Code, RemoteProtocolError
from aisops_protocol.session import (
    Acked,
    CancelReceived,
    Delivered,
    GoodbyeReceived,
    HeartbeatReceived,
    JobReceived,
    PeerClosed,
    PingReceived,
    PongReceived,
    RunnerSession,
    State,
)
from aisops_protocol.session.batch import batches, envelope_weight, weight
from tests.unit.protocol import examples as ex
from tests.unit.protocol.pair import (
    HELLO,
    IDENTITY,
    JOB,
    LOG,
    WELCOME,
    Pair,
    code_of,
    core_frame,
    rows,
    runner_frame,
)

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


def test_a_pong_shows_cores_clock_as_it_was_set_meanwhile() -> None:
    pair = Pair().open()
    pair.core.receive(runner_frame(m.RunnerEnvelope(m.Heartbeat(1))), 10.0, 5_000_000)
    assert m.Pong(5_000_000, 1) in [envelope.body for frame in pair.core.frames() for envelope in frame.envelopes]


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
