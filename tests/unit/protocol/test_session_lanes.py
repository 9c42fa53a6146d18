"""The two lanes, what newer versions may add, and flow control, of both sessions as a pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.errors import Code, LocalProtocolError, RemoteProtocolError
from aisops_protocol.session import (
    Acked,
    Delivered,
    DrainRequested,
    JobReceived,
    RewindTo,
    Window,
)
from tests.unit.protocol import examples as ex
from tests.unit.protocol.pair import (
    HELLO,
    JOB,
    LOG,
    WELCOME,
    Pair,
    code_of,
    core_frame,
    rows,
    runner_frame,
)

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
