"""The log is folded about every thousand pages, whatever a commit weighs, and never grows without end."""

from __future__ import annotations

import pytest

from aisops_runner.outbox.folding import FIRST_COMMITS, FOLD_PAGES, LONGEST_BYTES, MOST_COMMITS, Folding, pages_for


def commits_until_due(folding: Folding, log_bytes: int = 0) -> int:
    count = 0
    while not folding.due(log_bytes):
        folding.committed()
        count += 1
    return count


@pytest.mark.parametrize("pages_a_commit", [1, 3, 40, 150, 5000])
def test_it_learns_how_many_commits_make_a_log_long(pages_a_commit: int):
    folding = Folding()
    assert commits_until_due(folding) == FIRST_COMMITS
    folding.folded(FIRST_COMMITS * pages_a_commit)
    count = commits_until_due(folding)
    assert count == min(MOST_COMMITS, max(1, round(FOLD_PAGES / pages_a_commit)))


@pytest.mark.parametrize(("disk_bytes", "pages"), [(0, 16), (4 * 2**20, 32), (64 * 2**20, 512), (2**40, FOLD_PAGES)])
def test_a_small_disk_gets_a_short_log(disk_bytes: int, pages: int):
    assert pages_for(disk_bytes) == pages
    folding = Folding(pages)
    commits_until_due(folding)
    folding.folded(FIRST_COMMITS * 2)
    assert commits_until_due(folding) == pages // 2


def test_commits_that_grow_are_noticed_by_the_size_of_the_log():
    folding = Folding()
    commits_until_due(folding)
    folding.folded(FIRST_COMMITS)
    folding.committed()
    assert not folding.due(LONGEST_BYTES)
    assert folding.due(LONGEST_BYTES + 1)


def test_a_log_that_stays_large_is_not_folded_again_without_a_commit():
    folding = Folding()
    folding.committed()
    folding.folded(3000)
    assert not folding.due(2 * LONGEST_BYTES)


def test_after_a_failure_it_tries_again_a_few_commits_later():
    folding = Folding()
    commits_until_due(folding)
    folding.failed()
    assert commits_until_due(folding) == FIRST_COMMITS
