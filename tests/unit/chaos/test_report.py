"""The fault suite's table and its JSON say the same, and a failed row fails the run."""

from __future__ import annotations

import pytest

from tests.chaos.report import Row, Verdict, document, exit_code, rows_of, summary, table
from tests.chaos.tally import Counts

PASSED = Row(
    "F1", "kill", "SIGKILL.", "0", Verdict.PASSED, 20, "kills", Counts(9, 8, 0, 0, 3, 0, 1), 7, 1.5, {"p99": 2}
)
FAILED = Row("F2", "cut", "RST.", "0", Verdict.FAILED, 2, "cuts", Counts(5, 5, 1, 0, 0, 2, 0), 7, 1.0, {}, ("1 lost",))
SKIPPED = Row("F6", "partition", "nft.", "0", Verdict.SKIPPED, problems=("needs root",))
COMING = Row("F18", "restore", "Backup.", "0", Verdict.COMING, problems=("comes with restore",))
ROWS = [PASSED, FAILED, SKIPPED, COMING]


def test_the_document_is_read_back_as_it_was() -> None:
    assert rows_of(document(ROWS, seed=7, form="short", seconds=2.5)) == ROWS


def test_the_table_names_every_row_with_its_reason() -> None:
    shown = table(ROWS)
    for word in ("20 kills", "FAILED", "1 lost", "needs root", "comes with restore", "p99 2"):
        assert word in shown


def test_the_summary_counts_what_ran_and_names_what_did_not() -> None:
    assert summary(ROWS) == (
        "2 faults, 22 injections: 14 attempted, 13 acknowledged, 1 lost, 2 duplicated; 1 FAILED; 1 skipped; 1 coming"
    )


@pytest.mark.parametrize(("rows", "code"), [([PASSED, SKIPPED, COMING], 0), (ROWS, 1)])
def test_one_failed_row_fails_the_run(rows: list[Row], code: int) -> None:
    assert exit_code(rows) == code
