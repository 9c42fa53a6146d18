"""When Runners are held back, by how much, and when no longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.rpc.flow import Flow, FlowTerms, Pace
from aisops_protocol.messages import Ack, Welcome
from aisops_protocol.session import Window

TERMS = FlowTerms(budget_bytes=1000)
FREE, TIGHT, HALT = Pace.FREE, Pace.TIGHT, Pace.HALT


class Told:
    """A flow, and how often it said that the window is another."""

    def __init__(self) -> None:
        self.times = 0
        self.flow = Flow(TERMS, self._note)

    def _note(self) -> None:
        self.times += 1


def paces(flow: Flow, *held: int) -> list[Pace]:
    """The pace with so much held, one after the other."""
    found = []
    for octets in held:
        flow.hold(octets - flow.held_bytes, 0.0)
        found.append(flow.pace)
    return found


def test_the_wide_window_is_the_one_a_welcome_gives() -> None:
    welcome = Welcome(b"s" * 16, 1, b"c" * 16, "core", 1, 1, Ack(b"e" * 16, 0))
    assert TERMS.wide == Window(welcome.max_inflight_messages, welcome.max_inflight_bytes)


def test_half_of_the_budget_makes_windows_small_and_all_of_it_makes_runners_pause() -> None:
    assert paces(Told().flow, 499, 500, 999, 1000, 5000) == [FREE, TIGHT, TIGHT, HALT, HALT]


def test_each_pace_is_left_at_half_of_what_led_to_it() -> None:
    assert paces(Told().flow, 1000, 500, 499, 250, 249, 499, 500) == [HALT, HALT, TIGHT, TIGHT, FREE, FREE, TIGHT]


def test_a_commit_that_takes_long_counts_while_it_lasts_and_less_and_less_afterwards() -> None:
    told = Told()
    told.flow.begin("one", 0.0)
    assert [told.flow.look(now) for now in (1.9, 2.0, 9.9, 10.0)] == [FREE, TIGHT, TIGHT, HALT]
    told.flow.end("one", 12.0)
    assert [told.flow.look(now) for now in (12.0, 19.0, 19.1, 23.0, 23.1)] == [HALT, HALT, TIGHT, TIGHT, FREE]


def test_a_quick_commit_after_a_slow_one_does_not_end_the_care_at_once() -> None:
    flow = Told().flow
    flow.begin("one", 0.0)
    flow.end("one", 3.0)
    flow.begin("one", 3.0)
    flow.end("one", 3.01)
    assert [flow.look(now) for now in (3.02, 4.9, 5.1)] == [TIGHT, TIGHT, FREE]


def test_the_oldest_commit_under_way_counts() -> None:
    flow = Told().flow
    flow.begin("stuck", 0.0)
    for now in (1.0, 2.0, 3.0):
        flow.begin("other", now)
        flow.end("other", now + 0.01)
    assert flow.look(3.5) is TIGHT


def test_a_window_is_told_when_it_changes_and_only_then() -> None:
    told = Told()
    windows = []
    for octets in (400, 600, 1200, 600, 400, 100, 700):
        told.flow.hold(octets - told.flow.held_bytes, 0.0)
        windows.append((told.flow.window, told.times, told.flow.pause_ms))
    wide, narrow = TERMS.wide, TERMS.narrow
    assert windows == [
        (wide, 0, 0), (narrow, 1, 0), (narrow, 1, 1000), (narrow, 1, 1000), (narrow, 1, 0), (wide, 2, 0),
        (narrow, 3, 0),
    ]  # fmt: skip
    assert told.flow.slowdowns == 3


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.001, 3.0)), max_size=60))
def test_when_everything_is_committed_the_pace_is_free_again(steps: list[tuple[int, float]]) -> None:
    flow, now = Told().flow, 0.0
    for octets, took_s in steps:
        flow.hold(octets, now)
        flow.begin("one", now)
        now += took_s
        flow.end("one", now)
        if octets % 3:
            flow.let_go(octets, now)
    flow.let_go(flow.held_bytes, now)
    assert flow.held_bytes == 0
    assert flow.look(now + 3.1) is FREE


@pytest.mark.parametrize("pace", Pace)
def test_a_window_is_never_shut(pace: Pace) -> None:
    """What is held back must be able to go on by itself: every acknowledgement lets something through."""
    flow = Told().flow
    flow.pace = pace
    assert flow.window.messages > 0
    assert flow.window.bytes > 0
