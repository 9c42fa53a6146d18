import itertools

from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.backoff import ceiling_s, delays, full_jitter_s


def test_ceilings_double_until_the_cap() -> None:
    assert [ceiling_s(n, first_s=1, cap_s=300) for n in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_waits_use_the_whole_range() -> None:
    assert list(itertools.islice(delays(lambda: 0.0), 3)) == [0.0, 0.0, 0.0]
    assert list(itertools.islice(delays(lambda: 0.5, first_s=2, cap_s=5), 4)) == [1.0, 2.0, 2.5, 2.5]


@given(st.integers(-5, 10**9), st.floats(0, 1, exclude_max=True), st.floats(0.001, 100), st.floats(0.001, 1e6))
def test_no_wait_is_negative_or_above_the_cap(attempt: int, draw: float, first: float, cap: float) -> None:
    assert 0 <= full_jitter_s(attempt, draw, first_s=first, cap_s=cap) <= cap


def test_a_floor_holds() -> None:
    assert full_jitter_s(0, 0.0, floor_s=0.25) == 0.25
