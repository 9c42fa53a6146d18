"""How much output one answer may carry."""

from __future__ import annotations

from dataclasses import fields

from aisops_core.dispatch.output_room import OutputLeftOut, OutputRoom
from tests.unit.core.dispatch.test_job import a_job


def test_the_first_output_always_finds_room_and_what_follows_only_while_there_is_some() -> None:
    room = OutputRoom(10)
    sizes = [25, 1, 0]
    taken = [room.take(a_job(output=b"x" * size)) for size in sizes]
    assert [isinstance(one, OutputLeftOut) for one in taken] == [False, True, False]


def test_a_small_output_still_fits_behind_one_that_did_not() -> None:
    room = OutputRoom(10)
    assert [leaves_out(room, size) for size in (6, 5, 4, 1)] == [False, True, False, True]


def test_what_is_left_out_is_all_that_differs() -> None:
    room = OutputRoom(1)
    room.take(a_job(output=b"x"))
    record = a_job(output=b"y")
    copy = room.take(record)
    assert (copy.output, record.output) == (None, b"y")
    copy.output = record.output
    assert all(getattr(copy, one.name) == getattr(record, one.name) for one in fields(record))


def leaves_out(room: OutputRoom, size: int) -> bool:
    return isinstance(room.take(a_job(output=b"x" * size)), OutputLeftOut)
