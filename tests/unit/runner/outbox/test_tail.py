"""The newest rows in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.outbox.rows import Row
from aisops_runner.outbox.tail import Tail


def rows(first: int, last: int, size: int = 36) -> list[Row]:
    return [Row(seq, seq, b"x" * size, b"m" * 16) for seq in range(first, last + 1)]


def test_what_is_not_held_is_read_elsewhere():
    tail = Tail()
    tail.extend(rows(5, 9))

    assert tail.after(3, 10) is None
    assert [row.seq for row in tail.after(4, 3) or []] == [5, 6, 7]
    assert [row.seq for row in tail.after(8, 3) or []] == [9]
    assert tail.after(9, 3) == []
    assert Tail().after(0, 3) is None


def test_rows_that_do_not_follow_replace_what_is_held():
    tail = Tail()
    tail.extend(rows(1, 3))
    tail.extend(rows(5, 6))

    assert tail.after(0, 10) is None
    assert [row.seq for row in tail.after(4, 10) or []] == [5, 6]


@given(st.integers(1, 30), st.integers(1, 3000), st.integers(0, 60))
def test_it_stays_within_its_bounds_and_never_lies(max_rows: int, max_bytes: int, acked: int):
    tail = Tail(max_rows, max_bytes)
    for seq in range(1, 50):
        tail.extend(rows(seq, seq))
    tail.forget(acked)

    for after in range(50):
        found = tail.after(after, 100)
        if found:
            assert [row.seq for row in found] == list(range(after + 1, 50))
            assert len(found) <= max_rows
            assert sum(row.cost for row in found) <= max_bytes
