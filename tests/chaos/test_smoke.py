"""A small form of the suite that every test run goes through: kill -9 of Runner, of Core and of both, on one stage."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.registry import chosen
from tests.chaos.suite import Suite

SMALL = {"F1": 6, "F2": 4, "F3": 3}

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("stage"), pytest.mark.timeout(300)]


async def test_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [replace(fault, short=SMALL[fault.id]) for fault in chosen(SMALL)]
    seed = time.time_ns() % 1_000_000
    rows = await Suite(tmp_path, seed=seed, full=False, say=lambda fault, text: None).run(faults)
    with capsys.disabled():
        print(f"\n{report.table(rows)}")
    assert [row.verdict for row in rows] == [report.Verdict.PASSED] * len(rows)
    assert sum(row.counts.acknowledged for row in rows) > 0
