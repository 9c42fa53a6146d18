"""A clone that keeps calling is told of at once, and then ever more rarely."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch.clone_watch import FIRST_PAUSE_S, LONGEST_PAUSE_S, OVER_S, CloneWatch

ONE, OTHER = ("t", "one"), ("t", "other")
DAY_S = 24 * 3600.0


def told(watch: CloneWatch, every_s: float, until: float) -> list[tuple[float, int]]:
    """When a clone that calls so often is put on record, and how many calls each time."""
    found, now = [], 0.0
    while now < until:
        if count := watch.refused(ONE, now):
            found.append((now, count))
        now += every_s
    return found


def test_the_first_call_is_told_at_once_and_the_others_together_at_growing_intervals() -> None:
    found = told(CloneWatch(), 60.0, DAY_S)
    assert found[:4] == [(0.0, 1), (600.0, 10), (1800.0, 20), (4200.0, 40)]
    assert max(later - before for (before, _), (later, _) in pairwise(found)) == LONGEST_PAUSE_S
    assert len(found) == 9


def test_one_that_calls_every_few_seconds_is_told_no_more_often() -> None:
    often, seldom = told(CloneWatch(), 2.0, DAY_S), told(CloneWatch(), 60.0, DAY_S)
    assert len(often) == len(seldom)
    last, _ = often[-1]
    assert sum(count for _, count in often) == last / 2.0 + 1, "every call up to the last event is in one"


def test_a_clone_that_was_gone_for_an_hour_is_news() -> None:
    watch = CloneWatch()
    assert watch.refused(ONE, 0.0) == 1
    assert watch.refused(ONE, 1.0) == 0
    assert watch.refused(ONE, 1.0 + OVER_S) == 1, "the one that nobody was told of is forgotten with its time"


def test_each_runner_has_its_own_and_what_is_over_is_forgotten() -> None:
    watch = CloneWatch()
    assert watch.refused(ONE, 0.0) == 1
    assert watch.refused(OTHER, 5.0) == 1
    assert len(watch) == 2
    assert watch.refused(OTHER, OVER_S) == 1
    assert len(watch) == 1


def test_what_could_not_be_put_on_record_is_told_with_the_next_call() -> None:
    watch = CloneWatch()
    assert watch.refused(ONE, 0.0) == 1
    watch.not_told(ONE, 1)
    assert watch.refused(ONE, 2.0) == 2
    assert watch.refused(ONE, 4.0) == 0
    assert watch.refused(ONE, 2.0 + FIRST_PAUSE_S) == 2, "the pause did not grow by what nobody was told"
    watch.not_told(OTHER, 1)
    assert len(watch) == 1


@given(st.lists(st.floats(0.1, 2 * OVER_S), min_size=1, max_size=200))
def test_however_it_calls_two_events_are_ten_minutes_apart_and_no_call_is_told_twice(steps: list[float]) -> None:
    watch, now, moments, counted = CloneWatch(), 0.0, [], 0
    for step in steps:
        now += step
        if count := watch.refused(ONE, now):
            moments.append(now)
            counted += count
    assert moments[0] == steps[0]
    assert all(later - before >= FIRST_PAUSE_S - 1e-6 for before, later in pairwise(moments))
    assert counted <= len(steps)
