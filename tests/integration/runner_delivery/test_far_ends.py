"""A Core that does not keep to what it was told, or whose clock is another: the session goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisops_protocol.messages import JobAccept, JobReject, RejectReason
from aisops_runner.jobs.execution import QUEUE_EXTRA, QUEUE_PER_SLOT
from tests.support.core_end import core_end
from tests.support.runner_end import Provider, all_done, job, runner

pytestmark = pytest.mark.integration


async def test_a_runner_says_when_its_clock_and_cores_are_far_apart(tmp_path: Path):
    """Two answers in a row must agree; work goes on all the same."""
    async with core_end(clock_ahead_s=400.0, heartbeat_ms=50) as core, runner(tmp_path, core.port) as ends:
        core.dispatch(job(1))
        await core.until(all_done(core, 1))
        await core.until(lambda: ends.uplink.status.clock == "error")
        assert ends.uplink.status.skew_ms == pytest.approx(400_000, abs=20_000)
        core.clock_ahead_s = 0.0
        core.cut()
        await core.until(lambda: ends.uplink.status.clock == "ok")


async def test_a_core_that_sends_more_than_there_are_slots_is_told_so_and_loses_nothing(tmp_path: Path):
    """What fits in the queue waits its turn; the rest is refused as BUSY, and Core may send it again."""
    provider = Provider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider, slots=2) as ends:
        await core.until(lambda: bool(core.beats))
        core.dispatch(*(job(number) for number in range(200)))
        await core.until(lambda: len(core.of(JobAccept)) + len(core.of(JobReject)) == 200)
        accepted, rejected = core.of(JobAccept), core.of(JobReject)
        assert {one.reason for one in rejected} == {RejectReason.BUSY}
        assert len(accepted) == 2 * QUEUE_PER_SLOT + QUEUE_EXTRA
        assert ends.executor.free_slots == 0
        provider.gate.set()
        await core.until(all_done(core, len(accepted)))
        core.send(*(job(int(one.job_id.removeprefix("job-"))) for one in rejected[:30]))
        await core.until(all_done(core, len(accepted) + 30))

        assert core.streams == 1, "the session goes on"
        assert set(provider.effects.values()) == {1}
