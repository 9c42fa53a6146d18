"""When a sidecar is tried again: the numbers of the promise, on a hand-held clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.sidecars.restart import TRANSITIONS, IllegalTransition, Lifecycle, State


def _run(life: Lifecycle, at: float, for_s: float) -> None:
    life.starting(at)
    life.ready(at)
    life.failed(at + for_s, 0.999, "exited with code 1")


def test_a_single_crash_restarts_within_a_second() -> None:
    life = Lifecycle()
    _run(life, 0, 100)
    assert life.state is State.BACKOFF
    assert life.wait_s(100) < 1
    assert life.may_start(101)


def test_three_failures_in_an_hour_quarantine_with_one_probe_after_five_minutes() -> None:
    life = Lifecycle()
    for at in (0, 1200, 2400):
        _run(life, at, 30)
    assert life.state is State.QUARANTINED
    assert not life.may_start(2430 + 299)
    assert life.may_start(2430 + 300)
    life.starting(2730)
    life.failed(2731, 0.0, "still broken")
    assert life.state is State.QUARANTINED
    assert life.wait_s(2731) == 300


def test_failures_an_hour_apart_never_quarantine() -> None:
    life = Lifecycle()
    for n in range(10):
        _run(life, n * 1900.0, 30)
        assert life.state is State.BACKOFF


def test_ten_healthy_minutes_forgive() -> None:
    life = Lifecycle()
    for n in range(10):
        _run(life, n * 700.0, 600)
        assert life.state is State.BACKOFF
        assert life.wait_s(n * 700.0 + 600) < 1


def test_time_spent_starting_is_not_healthy_time() -> None:
    life = Lifecycle()
    for n in range(3):
        life.starting(n * 900.0)
        life.failed(n * 900.0 + 700, 0.0, "never ready")
    assert life.state is State.QUARANTINED


def test_release_lets_it_start_at_once() -> None:
    life = Lifecycle()
    for at in (0, 10, 20):
        _run(life, at, 1)
    life.release(21)
    assert life.may_start(21)


def test_degraded_and_back() -> None:
    life = Lifecycle()
    life.starting(0)
    life.ready(1, "token missing")
    assert (life.state, life.reason) == (State.DEGRADED, "token missing")
    life.ready(2)
    assert (life.state, life.reason) == (State.READY, "")


def test_an_incompatible_plugin_is_never_started_again() -> None:
    life = Lifecycle()
    life.starting(0)
    life.incompatible("speaks contract 9")
    assert not life.may_start(1e9)
    with pytest.raises(IllegalTransition):
        life.starting(1e9)


def test_every_state_is_in_the_table_and_reachable() -> None:
    assert set(TRANSITIONS) == set(State)
    reachable = {State.INSTALLED, State.DISABLED, State.BROKEN}
    for _ in State:
        reachable |= {after for before in reachable for after in TRANSITIONS[before]}
    assert reachable == set(State)


@given(st.lists(st.tuples(st.sampled_from(["start", "ready", "degrade", "fail", "stop"]), st.floats(0, 2000))))
def test_no_order_of_events_leaves_the_table(events: list[tuple[str, float]]) -> None:
    life, now = Lifecycle(), 0.0
    for name, wait in events:
        before, now = life.state, now + wait
        try:
            if name == "start":
                life.starting(now)
            elif name in ("ready", "degrade"):
                life.ready(now, "" if name == "ready" else "no token")
            elif name == "fail":
                life.failed(now, 0.5, "x")
            else:
                life.draining()
                life.stopped(now)
        except IllegalTransition:
            assert life.state in (before, State.DRAINING)
        assert life.state is before or life.state in TRANSITIONS[before] | {State.STOPPED}
        assert 0 <= life.wait_s(now) <= 300 + 1e-6
