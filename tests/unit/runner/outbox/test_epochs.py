"""Which openings of the outbox are still told to Core."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.outbox.epochs import Opening, prune


def test_openings_that_numbered_nothing_and_core_never_saw_are_forgotten():
    known = Opening(b"a", 1, welcomed=True)
    empty = [Opening(bytes([n]), 50, welcomed=False) for n in range(30)]

    assert prune([known, *empty], keep=16) == [known, empty[-1]]


def test_an_opening_that_a_hello_has_named_is_kept_though_its_welcome_never_came():
    openings = [
        Opening(b"a", 50, welcomed=True),
        Opening(b"b", 50, welcomed=False, told=True),
        Opening(b"c", 50, welcomed=False),
    ]

    assert prune(openings, keep=16) == openings


def test_the_bound_of_a_forgotten_opening_moves_to_its_successor():
    openings = [Opening(b"a", 1, welcomed=True), Opening(b"b", 901, welcomed=False), Opening(b"c", 961, welcomed=True)]

    assert prune(openings, keep=2) == [Opening(b"a", 1, welcomed=True), Opening(b"c", 901, welcomed=True)]


def test_what_core_knows_stays_longest():
    openings = [Opening(bytes([n]), n * 10, welcomed=n == 3) for n in range(40)]

    assert any(one.welcomed for one in prune(openings, keep=4))


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30))
def test_the_bound_that_resuming_from_a_kept_epoch_gets_is_never_loosened(steps: list[tuple[int, bool]]):
    openings = []
    start = 1
    for number, (rows, welcomed) in enumerate(steps):
        openings.append(Opening(bytes([number]), start, welcomed))
        start += rows
    kept = prune(openings, keep=5)

    assert len(kept) <= 5
    for one in kept:
        position = next(place for place, other in enumerate(openings) if other.epoch == one.epoch)
        later = [other.start_seq for other in openings[position + 1 :]]
        kept_later = [other.start_seq for other in kept[kept.index(one) + 1 :]]
        assert min(kept_later, default=start) <= min(later, default=start)


def test_an_opening_that_numbered_nothing_but_that_core_knows_is_kept():
    openings = [Opening(b"a", 50, welcomed=True), Opening(b"b", 50, welcomed=False)]

    assert prune(openings, keep=16) == openings


def test_one_that_a_later_hello_named_falls_out_of_a_full_list_only_as_the_oldest():
    """Core has a mark of it, though it never spoke itself: taken from the middle, it would be missed there."""
    openings = [Opening(bytes([n]), 1 + n * 10, welcomed=n != 3, told=n == 3) for n in range(6)]

    assert prune(openings, keep=4) == openings[2:]
    assert prune(openings, keep=2) == openings[4:]
