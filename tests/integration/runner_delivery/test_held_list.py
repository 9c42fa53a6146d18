"""A Runner that holds more jobs than its Hello has room for says so, and none of them is lost or done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aisops_protocol.limits import HELD_JOBS
from aisops_protocol.messages import JobPhase, JobResult
from tests.support.core_end import core_end
from tests.support.runner_end import Ends, job, runner

pytestmark = pytest.mark.integration

WAVE, WAVES = 2100, 4
JOBS = WAVE * WAVES


async def all_in_journal(ends: Ends) -> None:
    """Wait until the journal holds every job as done, with the result not acknowledged."""
    async with asyncio.timeout(30):
        while True:
            holding = await ends.executor.held_jobs()
            if len(holding.jobs) + holding.omitted == JOBS and {one.phase for one in holding.jobs} == {JobPhase.DONE}:
                return


async def test_what_the_hello_could_not_name_is_counted_and_comes_once(tmp_path: Path):
    async with core_end(acknowledging=False) as core, runner(tmp_path, core.port, slots=4096) as ends:
        await core.until(lambda: bool(core.beats))
        for wave in range(WAVES):
            core.dispatch(*(job(number) for number in range(wave * WAVE, (wave + 1) * WAVE)))
            await ends.provider.called((wave + 1) * WAVE)
        await all_in_journal(ends)
        core.acknowledging = True
        core.cut()
        await core.until(lambda: len(core.hellos) == 2)
        hello = core.hellos[1]
        assert (len(hello.held_jobs), hello.held_jobs_omitted) == (HELD_JOBS, JOBS - HELD_JOBS)
        names = {f"job-{number}" for number in range(JOBS)}
        await core.until(lambda: {result.job_id for result in core.of(JobResult)} == names, timeout_s=60)

        omitted = names - {held.job_id for held in hello.held_jobs}
        results = [result.job_id for result in core.of(JobResult)]
        assert omitted <= set(results[: 2 * len(omitted)]), "left out are those whose results come first"
        assert set(ends.provider.effects.values()) == {1}
