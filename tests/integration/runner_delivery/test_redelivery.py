"""Jobs that are delivered again, or wait between two calls when the Runner dies: on the real journal and outbox."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from aisops_protocol.messages import EffectClass, JobAccept, JobCancel, JobPhase, JobResult, ResultStatus
from aisops_runner.adapters.calls import Call, CallError, Outcome
from tests.support.core_end import CoreEnd, core_end
from tests.support.runner_end import Ends, Provider, all_done, job, runner

pytestmark = pytest.mark.integration


class BusyProvider(Provider):
    """Takes nothing for now: sure that nothing happened, and asking to be called again in five seconds."""

    async def invoke(self, call: Call) -> Outcome:
        await super().invoke(call)
        error = CallError("rate_limited", "come back later", retryable=True, retry_after_s=5.0)
        return Outcome(ok=False, error=error, plugin="test", plugin_version="1")


class DeafProvider(Provider):
    """Does not listen when it is asked to stop: the call must be cut off."""

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)


async def in_phase(ends: Ends, phase: JobPhase) -> None:
    """Wait until the journal's one job is there."""
    query = "SELECT COUNT(*) FROM jobs WHERE phase = ?"
    async with asyncio.timeout(10):
        while not await ends.outbox.database.read(lambda db: db.execute(query, (int(phase),)).fetchone()[0]):
            pass


async def test_a_running_job_delivered_again_goes_on_under_the_newest_lease(tmp_path: Path):
    provider = Provider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        core.dispatch(job(1))
        await provider.called(1)
        core.dispatch(job(1, lease=2))
        await core.until(lambda: len(core.of(JobAccept)) == 2)
        provider.gate.set()
        await core.until(all_done(core, 1))

        assert [one.lease_id for one in core.of(JobAccept)] == [job(1).lease_id, job(1, lease=2).lease_id]
        assert [one.lease_id for one in core.of(JobResult)] == [job(1, lease=2).lease_id]
        assert provider.effects == {"job-1": 1}


async def test_an_at_most_once_job_that_waits_between_two_calls_is_called_again_after_a_crash(tmp_path: Path):
    """The first call said that nothing happened, so a crash during the wait makes nothing uncertain."""
    first, second = BusyProvider(), Provider()
    async with core_end() as core:
        async with runner(tmp_path, core.port, provider=first) as ends:
            core.dispatch(job(1))
            await first.called(1)
            await in_phase(ends, JobPhase.ACCEPTED)
        async with runner(tmp_path, core.port, provider=second):
            await core.until(all_done(core, 1))

    assert [one.status for one in core.of(JobResult)] == [ResultStatus.SUCCEEDED]
    assert (first.effects, second.effects) == ({"job-1": 1}, {"job-1": 1})


async def test_an_uncertain_job_runs_once_more_when_a_person_decided_so_and_only_then(tmp_path: Path):
    """A later attempt is the decision; the same attempt again is only a delivery again."""
    first, second = Provider(), Provider()
    first.gate.clear()
    async with core_end() as core:
        async with runner(tmp_path, core.port, provider=first):
            core.dispatch(job(1))
            await first.called(1)
        async with runner(tmp_path, core.port, provider=second) as ends:
            await core.until(all_done(core, 1))
            core.dispatch(job(1, lease=2))
            await core.until(all_done(core, 2))
            assert not second.effects
            core.dispatch(replace(job(1, lease=3), attempt=2))
            await core.until(all_done(core, 3))
            core.dispatch(replace(job(1, lease=4), attempt=3))  # it is known now how attempt 2 ended
            await core.until(all_done(core, 4))
            await in_phase(ends, JobPhase.DONE)

    told = [(one.attempt, one.status) for one in core.of(JobResult)]
    doubt, done = ResultStatus.UNCERTAIN, ResultStatus.SUCCEEDED
    assert told == [(1, doubt), (1, doubt), (2, done), (3, done)]
    assert (first.effects, second.effects) == ({"job-1": 1}, {"job-1": 1})


async def _taken_back(core: CoreEnd, provider: Provider, effect: EffectClass) -> None:
    """Core takes a lease back and gives the job out again; the Runner hears both together, as after a freeze."""
    core.dispatch(job(1, effect))
    await provider.called(1)
    core.send(JobCancel("job-1", job(1).lease_id, grace_ms=1))
    core.dispatch(replace(job(1, effect, lease=2), attempt=2))
    await core.until(all_done(core, 2))


def _told(core: CoreEnd) -> list[tuple[bytes, ResultStatus]]:
    return [(one.lease_id, one.status) for one in core.of(JobResult)]


async def test_a_job_whose_lease_was_taken_back_runs_again_under_its_next_one_where_that_does_no_harm(tmp_path: Path):
    provider = DeafProvider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        ended = asyncio.create_task(_taken_back(core, provider, EffectClass.IDEMPOTENT))
        await core.until(all_done(core, 1))
        provider.gate.set()
        await ended
    old, new = job(1).lease_id, job(1, lease=2).lease_id
    assert _told(core) == [(old, ResultStatus.CANCELLED), (new, ResultStatus.SUCCEEDED)]


async def test_an_at_most_once_job_cut_off_when_its_lease_was_taken_back_is_of_unknown_outcome_and_not_run_again(
    tmp_path: Path,
):
    provider = DeafProvider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider) as ends:
        await _taken_back(core, provider, EffectClass.AT_MOST_ONCE)
        old, new = job(1).lease_id, job(1, lease=2).lease_id
        assert _told(core) == [(old, ResultStatus.CANCELLED), (new, ResultStatus.UNCERTAIN)]
        assert provider.effects == {"job-1": 1}

        provider.gate.set()
        core.dispatch(replace(job(1, lease=3), attempt=3))
        await core.until(all_done(core, 3))
        await in_phase(ends, JobPhase.DONE)
    assert _told(core)[-1] == (job(1, lease=3).lease_id, ResultStatus.SUCCEEDED), "a person's decision is obeyed"
    assert provider.effects == {"job-1": 2}
