"""A mutant counts as found out only when its fault failed because something was lost or done twice."""

from __future__ import annotations

import pytest

from tests.chaos.registry import chosen
from tests.chaos.report import Row, Verdict
from tests.chaos.self_test import MUTANTS, _verdict
from tests.chaos.tally import Counts


@pytest.mark.parametrize(
    ("verdict", "counts", "expected"),
    [
        (Verdict.FAILED, Counts(9, 9, lost=1), Verdict.PASSED),
        (Verdict.FAILED, Counts(9, 9, duplicated=1), Verdict.PASSED),
        (Verdict.FAILED, Counts(9, 9), Verdict.FAILED),
        (Verdict.PASSED, Counts(9, 9), Verdict.FAILED),
        (Verdict.SKIPPED, Counts(), Verdict.SKIPPED),
    ],
)
def test_only_a_loss_or_a_repetition_is_proof(verdict: Verdict, counts: Counts, expected: Verdict) -> None:
    row = Row(MUTANTS[0].fault, "t", "i", "e", verdict, counts=counts)
    assert _verdict(MUTANTS[0], row).verdict is expected


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_there_and_names_a_fault(mutant: object) -> None:
    assert (mutant.search[0] / "sitecustomize.py").is_file()
    assert chosen({mutant.fault})
