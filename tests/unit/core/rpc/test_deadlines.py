"""The one heap of deadlines: nobody is forgotten, nobody is woken early, and putting off costs nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisops_core.rpc.deadlines import Deadlines


def test_a_later_deadline_waits_behind_the_earlier_one() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert deadlines.add("a", 10.0)
    assert not deadlines.add("a", 45.0)
    assert deadlines.due(9.9) == []
    assert deadlines.due(10.0) == ["a"], "woken at the earlier one, to say how much longer to wait"
    assert deadlines.next() is None


def test_an_earlier_deadline_counts_and_who_was_dropped_is_let_go() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("a", 45.0)
    assert deadlines.add("a", 10.0)
    assert not deadlines.add("b", 20.0)
    assert deadlines.next() == 10.0
    deadlines.drop("a")
    deadlines.drop("a")
    assert deadlines.next() == 20.0
    assert deadlines.due(100.0) == ["b"]
    assert len(deadlines) == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 50)),
            st.tuples(st.just("drop"), st.integers(0, 5), st.just(0)),
            st.tuples(st.just("pass"), st.just(0), st.integers(0, 20)),
        ),
        max_size=60,
    )
)
def test_everybody_is_woken_once_at_the_nearest_deadline(steps: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    expected: dict[int, float] = {}
    now = 0.0
    for step, owner, number in steps:
        if step == "add":
            at = now + number
            expected[owner] = min(at, expected.get(owner, at))
            deadlines.add(owner, at)
        elif step == "drop":
            expected.pop(owner, None)
            deadlines.drop(owner)
        else:
            now += number
            due = {one for one, at in expected.items() if at <= now}
            assert sorted(deadlines.due(now)) == sorted(due)
            for one in due:
                del expected[one]
        assert deadlines.next() == min(expected.values(), default=None)
        assert len(deadlines) == len(expected)
