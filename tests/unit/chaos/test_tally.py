"""What the fault suite counts as lost, duplicated, unexpected, recovered and uncertain."""

from __future__ import annotations

import pytest

from tests.chaos.tally import Counts, Tally


def job(state: str = "succeeded", effect: str = "idempotent", **more: object) -> dict[str, object]:
    return {"state": state, "capability": "x.do", "effect_class": effect, "attempt": 1, **more}


def tally(record: dict[str, object], effects: int = 1) -> Tally:
    made = Tally({"k."}, {"k."}, {"k.": record})
    made.effects["k."] = effects
    made.stored["k.", "job"] = 1
    return made


def counts(**different: int) -> Counts:
    return Counts(**{"attempted": 1, "acknowledged": 1, **different})


def test_one_effect_one_end_is_all_there_should_be() -> None:
    assert tally(job()).counts() == counts()


@pytest.mark.parametrize("state", ["queued", "leased", "running", "missing"])
def test_a_job_that_never_ends_is_lost(state: str) -> None:
    assert tally(job(state)).counts() == counts(lost=1)


def test_a_job_that_nobody_looked_at_is_not_called_lost_but_unread() -> None:
    made = Tally({"k."}, {"k."})
    assert made.counts() == counts()
    assert made.unread == {"k."}
    assert not tally(job()).unread


def test_a_success_without_an_effect_is_lost() -> None:
    assert tally(job(), effects=0).counts() == counts(lost=1)


def test_a_witnessed_output_is_an_effect() -> None:
    assert tally(job(witnessed=True), effects=0).counts() == counts()


def test_an_effect_twice_is_duplicated() -> None:
    assert tally(job(), effects=2).counts() == counts(duplicated=1)


def test_a_row_twice_is_duplicated() -> None:
    made = tally(job())
    made.stored["k.", "k. mark 0"] = 2
    assert made.counts() == counts(duplicated=1)


@pytest.mark.parametrize("state", ["failed", "timed_out", "cancelled"])
def test_an_end_that_nobody_made_is_unexpected(state: str) -> None:
    assert tally(job(state), effects=0).counts() == counts(unexpected=1)


def test_an_end_that_the_fault_asks_for_is_expected() -> None:
    made = tally(job("cancelled"), effects=0)
    made.expected_ends["k."] = frozenset({"cancelled"})
    assert made.counts() == counts()


def test_doubt_is_for_at_most_once_jobs() -> None:
    assert tally(job("uncertain", "at_most_once"), effects=0).counts() == counts(uncertain=1)
    assert tally(job("uncertain"), effects=0).counts() == counts(uncertain=1, unexpected=1)


def test_what_nobody_asked_for_is_unexpected() -> None:
    effect, row = tally(job()), tally(job())
    effect.effects["stranger."] = 1
    row.stored["stranger.", "job"] = 1
    assert effect.counts() == row.counts() == counts(unexpected=1)


@pytest.mark.parametrize("signs", [{"attempt": 2}, {"execution": {"calls": 2}}])
def test_a_job_begun_again_that_ends_well_is_recovered(signs: dict[str, object]) -> None:
    assert tally(job(**signs)).counts() == counts(recovered=1)


def test_what_a_provider_saw_twice_is_recovered() -> None:
    made = tally(job())
    made.repeated.add("k.")
    assert made.counts() == counts(recovered=1)


def test_counts_add_up() -> None:
    assert Counts(1, 2, 3, 4, 5, 6, 7) + Counts(1, 1, 1, 1, 1, 1, 1) == Counts(2, 3, 4, 5, 6, 7, 8)
