"""The rules of the durable lane."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisops_protocol.messages import MessageClass, Skip
from aisops_runner.outbox.queue import Bounds, Hole, Pressure, holes, missing, select, skip_for, to_envelope
from aisops_runner.outbox.rows import Row, checksum, message_ids


def row(seq: int, size: int = 36, low: int | None = None) -> Row:
    low = seq if low is None else low
    skip = Skip(low, seq, MessageClass.DROPPABLE, seq - low + 1) if low != seq else None
    return Row(seq, low, b"x" * size, b"m" * 16, skip)


def test_rows_are_chosen_in_order_within_the_window_of_messages():
    rows = [row(seq) for seq in range(1, 10)]

    assert [one.seq for one in select(rows, 0, 4, 10_000)] == [1, 2, 3, 4]


def test_rows_are_chosen_within_the_window_of_octets():
    rows = [row(seq, size=36) for seq in range(1, 10)]  # 100 octets each with the overhead

    assert [one.seq for one in select(rows, 0, 256, 350)] == [1, 2, 3]


def test_a_row_larger_than_the_rest_of_the_window_is_not_stuck():
    assert [one.seq for one in select([row(1, 5000), row(2)], 0, 256, 10)] == [1]


def test_nothing_is_chosen_when_no_octet_is_left():
    assert select([row(1)], 0, 256, 0) == []


def test_rows_behind_a_hole_are_not_chosen():
    assert [one.seq for one in select([row(1), row(3)], 0, 256, 10_000)] == [1]
    assert select([row(3)], 0, 256, 10_000) == []


def test_a_skip_known_in_part_is_chosen_and_cut_to_the_rest():
    chosen = select([row(9, low=3), row(10)], 5, 256, 10_000)

    assert [one.seq for one in chosen] == [9, 10]
    body = to_envelope(chosen[0], 5).body
    assert body == Skip(6, 9, MessageClass.DROPPABLE, 4)


def test_a_whole_skip_goes_as_it_is():
    body = to_envelope(row(9, low=3), 2).body

    assert body == Skip(3, 9, MessageClass.DROPPABLE, 7)


def test_a_message_is_sent_sealed_under_its_number():
    envelope = to_envelope(row(4), 3)

    assert (envelope.seq, envelope.sealed, envelope.body) == (4, b"x" * 36, None)


def test_touching_ranges_become_one_hole():
    found = holes([(5, 5, 1), (3, 4, 2), (9, 9, 1), (6, 6, 1)])

    assert found == [Hole(3, 6, 4), Hole(9, 9, 1)]
    assert skip_for(found[0], MessageClass.DROPPABLE) == Skip(3, 6, MessageClass.DROPPABLE, 4)


@given(st.sets(st.integers(1, 60)))
def test_what_is_present_and_what_is_missing_fill_the_range_exactly(present: set[int]):
    gaps = missing([(seq, seq) for seq in sorted(present)], 1, 60)

    absent = {seq for low, high in gaps for seq in range(low, high + 1)}
    assert absent | present == set(range(1, 61))
    assert not absent & present


def test_pressure_stops_new_jobs_before_starts():
    bounds = Bounds(max_bytes=1000)

    assert bounds.pressure(799) is Pressure.NORMAL
    assert bounds.pressure(800) is Pressure.NO_NEW_JOBS
    assert bounds.pressure(950) is Pressure.NO_STARTS


def test_logs_give_way_above_their_share_with_some_relief():
    bounds = Bounds(max_bytes=1000)

    assert bounds.to_free(500) == 0
    assert bounds.to_free(501) == 51


def test_a_checksum_depends_on_everything_that_decides_the_meaning():
    base = checksum(1, 2, 1, 0, b"abc")

    variants = [
        checksum(0, 2, 1, 0, b"abc"),
        checksum(1, 3, 1, 0, b"abc"),
        checksum(1, 2, 3, 0, b"abc"),
        checksum(1, 2, 1, 1, b"abc"),
        checksum(1, 2, 1, 0, b"abd"),
    ]
    assert base not in variants


def test_an_impossible_number_has_no_checksum():
    assert checksum(-1, 2, 1, 0, b"abc") == -1


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_message_ids_are_version_7_uuids_in_order_of_time(unix_ms: int, chance: bytes):
    several = message_ids(unix_ms, chance, 300)

    assert len(set(several)) == 300
    assert several == sorted(several)
    for made in several:
        assert len(made) == 16
        assert made[6] >> 4 == 7
        assert made[8] >> 6 == 0b10
        assert int.from_bytes(made[:6], "big") == unix_ms
