"""Where the durable lane goes on, case by case (the pair test asks the same of random histories)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.resume import Resume, Share, forgotten, resume, set_back, unfinished, watermarks
from tests.unit.protocol.spec import message

A, B, C, D = (bytes([n]) * 16 for n in range(1, 5))
OLD = b"\xff" * 16
FULL = tuple((bytes([100 + n]) * 16, 10 + 5 * n) for n in range(limits.PREVIOUS_EPOCHS))


def hello(start: int, next_seq: int, oldest: int, *previous: tuple[bytes, int]) -> m.Hello:
    epochs = tuple(m.EpochStart(*each) for each in previous)
    return m.Hello(1, 1, A, "", "", "", "", 0, D, start, next_seq, oldest, A, epochs)


@pytest.mark.parametrize(
    ("why", "greeting", "known", "expected"),
    [
        ("a new Runner", hello(1, 1, 1), {}, Resume(0)),
        ("a Runner Core has never seen, with rows", hello(1, 9, 1), {}, Resume(0)),
        ("unknown to Core, rows deleted long ago", hello(20, 25, 12), {}, Resume(11)),
        ("a reconnect", hello(1, 9, 4), {D: 5}, Resume(5)),
        ("a restart", hello(9, 12, 4, (A, 1)), {A: 5}, Resume(5)),
        ("a restart, everything acknowledged", hello(9, 9, 9, (A, 1)), {A: 8}, Resume(8)),
        ("the newest known epoch counts", hello(9, 12, 4, (A, 1), (B, 5)), {A: 3, B: 6}, Resume(6)),
        ("two openings offline", hello(9, 12, 4, (A, 1), (B, 7), (C, 8)), {A: 5}, Resume(5)),
        ("rolled back: numbers given again are not swallowed", hello(9, 12, 4, (A, 1)), {A: 500}, Resume(8)),
        ("rolled back twice", hello(9, 12, 4, (A, 1), (B, 6)), {A: 500}, Resume(5)),
        ("rolled back, the lost epoch is known", hello(9, 12, 4, (A, 1)), {A: 5, C: 500}, Resume(5)),
        ("restored with its memory: bounded by its numbers", hello(1, 9, 4), {D: 500}, Resume(8)),
        ("Core restored: what the Runner deleted is gone", hello(9, 12, 7, (A, 1)), {A: 3}, Resume(6, (4, 6))),
        ("Core restored, all of the Runner's deleted", hello(1, 9, 9), {D: 2}, Resume(8, (3, 8))),
    ],
)
def test_resume(why: str, greeting: m.Hello, known: dict[bytes, int], expected: Resume) -> None:
    assert resume(greeting, known) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(message(m.Hello), st.data())
def test_whatever_a_hello_and_core_say_the_answer_is_within_what_the_runner_has(
    greeting: m.Hello, data: st.DataObject
) -> None:
    epochs = [greeting.queue_epoch, *(each.epoch for each in greeting.previous_epochs)]
    known = data.draw(st.dictionaries(st.sampled_from(epochs), st.integers(0, 2**63 - 1)))
    found = resume(greeting, known)
    assert greeting.oldest_unacked_seq - 1 <= found.seq < greeting.next_seq
    if found.gap:
        assert found.gap[0] <= found.gap[1] == found.seq


def test_a_commit_is_credited_to_every_epoch_up_to_where_the_next_one_began() -> None:
    greeting = hello(9, 20, 1, (A, 1), (B, 5))
    assert watermarks(greeting, 3) == {A: 3, B: 3, D: 3}
    assert watermarks(greeting, 6) == {A: 4, B: 6, D: 6}
    assert watermarks(greeting, 15) == {A: 4, B: 8, D: 15}


def test_earlier_epochs_with_rows_still_to_come_are_the_ones_whose_share_a_commit_changes() -> None:
    greeting = hello(9, 12, 1, (A, 1), (B, 5))
    assert unfinished(greeting, 0) == (Share(B, 8), Share(A, 4))
    assert unfinished(greeting, 4) == (Share(B, 8),)
    assert unfinished(greeting, 8) == ()
    for seq in range(12):
        told = {one.epoch: min(seq, one.last) for one in unfinished(greeting, 0)}
        assert {**told, D: seq} == watermarks(greeting, seq)


def test_rows_credited_to_an_earlier_epoch_are_not_sent_again_after_a_rollback_to_it() -> None:
    known = watermarks(hello(9, 12, 5, (A, 1)), 11)
    rolled_back = hello(9, 9, 5, (A, 1))
    assert resume(rolled_back, {A: known[A]}) == Resume(8)


@pytest.mark.parametrize(
    ("why", "greeting", "known", "lost"),
    [
        ("a new Runner", hello(1, 1, 1), {}, set()),
        ("a reconnect", hello(1, 9, 4), {D: 5}, set()),
        ("a restart, everything acknowledged", hello(9, 9, 9, (A, 1)), {A: 8}, set()),
        ("a restart, and messages under the new epoch", hello(9, 12, 4, (A, 1), (B, 5)), {A: 4, B: 8, D: 10}, set()),
        ("a copy: the original went on", hello(9, 12, 4, (A, 1)), {A: 9}, {A}),
        ("set back to before an opening Core knows", hello(9, 12, 4, (A, 1)), {A: 8, C: 20}, {C}),
        ("restored with its memory", hello(1, 9, 4), {D: 9}, {D}),
        ("fallen out of a full history", hello(90, 95, 4, *FULL), {OLD: 9, FULL[0][0]: 11}, set()),
        ("set back, with a full history", hello(90, 95, 4, *FULL), {OLD: 10, FULL[-1][0]: 89}, {OLD}),
        ("the same, not full: nothing falls out", hello(90, 95, 4, *FULL[1:]), {OLD: 9}, {OLD}),
    ],
)
def test_history_that_core_has_and_the_runner_has_not(
    why: str, greeting: m.Hello, known: dict[bytes, int], lost: set[bytes]
) -> None:
    assert forgotten(greeting, known) == lost


@pytest.mark.parametrize(
    ("last", "confirmed", "keeps", "expected"),
    [
        (4, 5, True, True),
        (0, 1, True, True),
        (5, 5, True, False),
        (6, 5, True, False),
        (0, 0, True, False),
        (0, 5, False, False),
    ],
)
def test_a_disk_that_does_not_know_of_a_session_it_had_was_set_back(
    last: int, confirmed: int, keeps: bool, expected: bool
) -> None:
    """A session that only Core knows of (its Welcome was lost) says nothing; nor does a Runner that keeps no epochs."""
    bits = limits.FEATURE_SESSION_EPOCH if keeps else 0
    assert set_back(replace(hello(1, 1, 1), feature_bits=bits, last_session_epoch=last), confirmed) is expected
