"""When the log of Core's SQLite file is brought in."""

from __future__ import annotations

import pytest

from aisops_core.storage.folding import FIRST_COMMITS, FOLD_PAGES, LEAST_PAGES, LONGEST, Folding, Turn, pages_for


def turns(folding: Folding, count: int) -> list[Turn]:
    return [folding.committed() for _ in range(count)]


def test_most_is_done_beside_the_commits_and_the_rest_between_two() -> None:
    folding = Folding()
    assert turns(folding, FIRST_COMMITS) == [Turn.NOTHING] * (FIRST_COMMITS - 1) + [Turn.BEGIN]
    assert set(turns(folding, 5)) == {Turn.NOTHING}, "it is under way"
    folding.brought_in()
    assert folding.committed() is Turn.FINISH


def test_from_the_logs_length_follows_when_the_next_time_is() -> None:
    folding = Folding()
    turns(folding, FIRST_COMMITS)
    folding.brought_in()
    folding.committed()
    folding.finished((FIRST_COMMITS + 1) * 10)  # ten pages a commit
    assert turns(folding, FOLD_PAGES // 10)[-1] is Turn.BEGIN


def test_a_log_that_got_far_too_long_is_brought_in_whoever_waits() -> None:
    folding = Folding()
    found = turns(folding, FIRST_COMMITS * LONGEST)
    assert found[-1] is Turn.FINISH
    assert Turn.FINISH not in found[:-1]


def test_a_failure_is_tried_again_after_a_few_commits() -> None:
    folding = Folding()
    turns(folding, FIRST_COMMITS)
    folding.brought_in()
    folding.committed()
    folding.failed()
    assert turns(folding, FIRST_COMMITS)[-1] is Turn.BEGIN


@pytest.mark.parametrize(
    ("disk_bytes", "pages"), [(0, LEAST_PAGES), (16 * 2**20, 128), (2**30, FOLD_PAGES), (2**50, FOLD_PAGES)]
)
def test_a_small_disk_has_a_short_log(disk_bytes: int, pages: int) -> None:
    assert pages_for(disk_bytes) == pages
