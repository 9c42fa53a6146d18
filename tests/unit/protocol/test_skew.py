"""When the difference of two clocks is worth a word, and when it no longer is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_protocol import limits
from aisops_protocol.skew import ClockLevel, SkewWatch

OK, WARNING, ERROR = ClockLevel.OK, ClockLevel.WARNING, ClockLevel.ERROR


def settled(*skews_s: float, level: ClockLevel = OK) -> ClockLevel:
    """The level after each of these was measured twice."""
    watch = SkewWatch(level)
    for skew_s in skews_s:
        watch.observe(skew_s)
        watch.observe(skew_s)
    return watch.level


@pytest.mark.parametrize(
    ("skew_s", "level"),
    [(0, OK), (59.9, OK), (60, WARNING), (299, WARNING), (300, ERROR), (86_400, ERROR)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_minute_is_a_warning_and_five_are_an_error_either_way(skew_s: float, level: ClockLevel, sign: int) -> None:
    assert (limits.SKEW_WARNING_S, limits.SKEW_ERROR_S) == (60, 300)
    assert settled(sign * skew_s) is level


@pytest.mark.parametrize(
    ("skew_s", "before", "after"),
    [
        (299, ERROR, ERROR),
        (240, ERROR, ERROR),
        (239, ERROR, WARNING),
        (48, ERROR, WARNING),
        (47, ERROR, OK),
        (59, WARNING, WARNING),
        (48, WARNING, WARNING),
        (47, WARNING, OK),
        (300, WARNING, ERROR),
        (59, OK, OK),
    ],
)
def test_a_level_is_left_later_than_it_was_reached(skew_s: float, before: ClockLevel, after: ClockLevel) -> None:
    assert settled(skew_s, level=before) is after


def test_one_measurement_alone_changes_nothing() -> None:
    """A heartbeat that was held up on its way makes a clock look slow."""
    watch = SkewWatch()
    for skew_s in (0.0, -90.0, 0.0, -400.0, 0.0):
        assert not watch.observe(skew_s)
    assert (watch.level, watch.skew_s) == (OK, 0.0)


def test_a_change_is_told_once() -> None:
    watch = SkewWatch()
    assert [watch.observe(skew_s) for skew_s in (70, 70, 70, 400, 400, 400, 10, 10)] == [
        False, True, False, False, True, False, False, True,
    ]  # fmt: skip


@given(st.lists(st.floats(48.1, 59.9), min_size=2))
def test_it_does_not_flap_about_a_threshold(skews_s: list[float]) -> None:
    for level in (OK, WARNING):
        watch = SkewWatch(level)
        assert not any(watch.observe(skew_s) for skew_s in skews_s)
