"""How much of what Core has acknowledged a Runner's journal keeps."""

from __future__ import annotations

import pytest

from aisops_runner.jobs import retention


@pytest.mark.parametrize(
    ("max_bytes", "jobs", "result_bytes"),
    [(512 << 20, 100_000, 64 << 20), (64 << 20, 16_384, 8 << 20), (400_000, 1_000, 50_000)],
)
def test_a_small_outbox_keeps_a_short_journal(max_bytes: int, jobs: int, result_bytes: int):
    assert retention.limits_for(max_bytes) == retention.Limits(jobs, result_bytes)
