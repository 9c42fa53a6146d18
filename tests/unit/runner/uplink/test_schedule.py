"""When a Runner dials again."""

from __future__ import annotations

from aisops_runner.errors import UplinkLost
from aisops_runner.uplink.schedule import Schedule

LOST = UplinkLost("gone", reason="closed")


def test_waits_double_up_to_a_minute_and_are_spread_from_zero():
    schedule = Schedule(lambda: 1.0)

    assert [schedule.lost(LOST, None) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert Schedule(lambda: 0.0).lost(LOST, None) == 0.0


def test_a_stable_session_forgets_the_waits_and_a_short_one_halves_them():
    schedule = Schedule(lambda: 1.0)
    for _ in range(6):
        schedule.lost(LOST, None)

    assert schedule.lost(LOST, 5.0) == 8.0
    assert schedule.lost(LOST, 60.0) == 1.0


def test_a_session_that_ended_in_order_forgets_the_waits():
    schedule = Schedule(lambda: 1.0)
    schedule.lost(LOST, None)
    schedule.good()

    assert schedule.lost(LOST, None) == 1.0


def test_a_pause_that_core_asks_for_is_kept_with_jitter_on_top():
    lost = UplinkLost("busy", reason="OVERLOADED", retry_after_s=30.0)

    assert Schedule(lambda: 0.5).lost(lost, None) == 30.5


def test_a_refusal_for_good_is_tried_again_slowly():
    revoked = UplinkLost("revoked", reason="REVOKED", permanent=True)
    unknown = UplinkLost("who?", reason="UNAUTHENTICATED", permanent=True)

    assert 900 <= Schedule(lambda: 0.5).lost(revoked, None) <= 1080
    assert 60 <= Schedule(lambda: 0.5).lost(unknown, None) <= 72
