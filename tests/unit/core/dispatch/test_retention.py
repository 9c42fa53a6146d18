"""What is kept how long: cut-offs, marks, and ids that tell when a job was made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch.admission import JobIds, first_id_at
from aisops_core.dispatch.job import TERMINAL, JobState
from aisops_core.dispatch.retention import MARKS, Mark, RetentionTerms, due, pack, reached, unpack, with_mark

TERMS = RetentionTerms(jobs_s=100, uncertain_s=1_000, logs_s=50, events_s=200)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_unresolved_doubt_is_kept_longer(state: JobState) -> None:
    assert TERMS.cutoff_ms(state, 2_000_000) == (1_000_000 if state is JobState.UNCERTAIN else 1_900_000)
    assert TERMS.earliest_cutoff_ms(2_000_000) == 1_900_000


class Clock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def unix_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return 0.0


@given(st.integers(1, 2**47), st.integers(1, 10**9), st.binary(min_size=10, max_size=10))
def test_ids_made_before_a_moment_sort_below_its_first_id(moment: int, by: int, drawn: bytes) -> None:
    before = JobIds(Clock(max(0, moment - by)), lambda _: drawn).mint()
    at = JobIds(Clock(moment), lambda _: drawn).mint()
    assert before < first_id_at(moment) <= at


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=80))
def test_marks_never_name_what_is_younger_than_the_term_and_stay_few(steps: list[int]) -> None:
    """Ten lines arrive each second; whatever the looks are like, no line younger than its term is named."""
    marks: list[Mark] = []
    now = 1_000_000
    for step in steps:
        now += step
        if due(marks, TERMS, now):
            marks = with_mark(marks, Mark(now, now // 100, now // 100), TERMS)
        for kept_s, name in ((TERMS.logs_s, "log_id"), (TERMS.events_s, "event_id")):
            assert getattr(reached(marks, kept_s, now), name) <= (now - kept_s * 1000) // 100
    assert len(marks) <= MARKS + 2
    assert unpack(pack(marks)) == marks


def test_what_is_old_enough_is_named_in_the_end() -> None:
    marks: list[Mark] = []
    for now in range(1_000_000, 1_400_000, 1_000):
        if due(marks, TERMS, now):
            marks = with_mark(marks, Mark(now, now, now), TERMS)
    assert reached(marks, TERMS.logs_s, 1_400_000).log_id >= 1_350_000 - TERMS.marks_every_ms - 1_000
    assert reached(marks, TERMS.events_s, 1_400_000).event_id >= 1_200_000 - TERMS.marks_every_ms - 1_000


def test_a_clock_set_back_begins_new_marks_and_deletes_nothing_early() -> None:
    marks = [Mark(5_000_000, 500, 500)]
    assert due(marks, TERMS, 4_000_000)
    marks = with_mark(marks, Mark(4_000_000, 510, 510), TERMS)
    assert marks == [Mark(4_000_000, 510, 510)]
    assert reached(marks, TERMS.logs_s, 4_000_001) == Mark(0, 0, 0)
    assert unpack(b"") == []
