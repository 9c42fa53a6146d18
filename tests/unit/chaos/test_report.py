"""The fault suite's table and its JSON say the same, and a failed row fails the run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.chaos.report import Row, Verdict, document, exit_code, joined, rows_of, summary, table
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


def test_shares_of_a_run_are_joined_in_the_order_of_the_faults() -> None:
    proof = [replace(PASSED, title="mutant: x")]
    shares = [
        document([SKIPPED, FAILED], seed=8, form="full", seconds=2.0),
        document([replace(PASSED, seed=9)], seed=9, form="full", seconds=2.0),
        document([], proof, seed=8, form="short", seconds=1.5),
    ]
    whole = joined(shares)
    assert [row.id for row in rows_of(whole)] == ["F1", "F2", "F6"]
    assert rows_of(whole, "self_test") == proof
    kept = json.loads(whole)
    assert (kept["form"], kept["seed"], kept["seconds"]) == ("full", None, 4.0)


def test_what_one_share_skipped_and_another_ran_counts_as_run() -> None:
    ran = replace(PASSED, id="F6")
    whole = joined([document(rows, seed=7, form="full", seconds=1.0) for rows in ([SKIPPED, PASSED], [ran])])
    assert rows_of(whole) == [PASSED, ran]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (document([FAILED], seed=1, form="short", seconds=1.0), "full and short"),
        (document([PASSED], seed=1, form="full", seconds=1.0), "F1"),
    ],
)
def test_shares_that_are_no_parts_of_one_run_are_not_joined(other: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        joined([document([PASSED], seed=7, form="full", seconds=1.0), other])


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
