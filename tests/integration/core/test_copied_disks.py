"""A Runner's disk that was copied or set back names the same journal, but knows nothing of what was begun since."""

from __future__ import annotations

import secrets

import pytest

from aisops_protocol.limits import FEATURE_SESSION_EPOCH, PREVIOUS_EPOCHS
from aisops_protocol.messages import EpochStart, HeldJob, JobPhase, LogEvent, LogLevel, Verdict
from tests.support.core_store import TENANT, Parts, ScriptedRunner


@pytest.mark.parametrize(("capability", "state"), [("kakao.send", "leased"), ("email.send", "uncertain")])
async def test_a_job_begun_after_the_copy_was_made_is_not_taken_for_one_that_never_arrived(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str
) -> None:
    """The first machine accepts a job and dies; its copy holds the same journal id, from before."""
    await runner.connect()
    await parts.submit(capability)
    job = await runner.job()
    await runner.accept(job)
    original, runner.queue_epoch = runner.queue_epoch, secrets.token_bytes(16)
    runner.seq = 0
    await runner.connect(previous_epochs=(EpochStart(original, 1),))
    assert (await parts.reaches(job.job_id, state)).attempt == (2 if state == "leased" else 1)


async def test_a_disk_set_back_to_before_its_last_opening_is_not_trusted_either(
    parts: Parts, runner: ScriptedRunner
) -> None:
    first = runner.queue_epoch
    await runner.connect()
    runner.queue_epoch = secrets.token_bytes(16)
    await runner.connect(previous_epochs=(EpochStart(first, 1),))
    await parts.submit("email.send")
    job = await runner.job()
    await runner.accept(job)
    runner.queue_epoch, runner.seq = secrets.token_bytes(16), 0
    await runner.connect(previous_epochs=(EpochStart(first, 1),))
    await parts.reaches(job.job_id, "uncertain")


async def test_jobs_given_out_after_the_return_of_a_copy_are_its_own(parts: Parts, runner: ScriptedRunner) -> None:
    """The doubt ends with the session in which the copy came back: what never reached it later is given out again."""
    await runner.connect()
    await parts.submit("email.send")
    await runner.accept(await runner.job())
    original, runner.queue_epoch = runner.queue_epoch, secrets.token_bytes(16)
    runner.seq = 0
    await runner.connect(previous_epochs=(EpochStart(original, 1),))
    await parts.submit("email.send")
    lost = await runner.job()
    await runner.connect(previous_epochs=(EpochStart(original, 1),))
    again = await runner.job()
    assert (again.job_id, again.attempt) == (lost.job_id, 1)


@pytest.mark.parametrize(
    ("capability", "state", "verdict"),
    [("kakao.send", "running", Verdict.KEEP), ("email.send", "uncertain", Verdict.CANCEL)],
)
async def test_a_copy_that_calls_a_job_untouched_is_not_believed(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str, verdict: Verdict
) -> None:
    """Both disks name the job as accepted; the original came back once more and may have begun it before it died."""
    first = runner.queue_epoch
    await runner.connect()
    await parts.submit(capability)
    job = await runner.job()
    await runner.accept(job)
    held = (HeldJob(job.job_id, job.lease_id, job.attempt, JobPhase.ACCEPTED),)
    runner.queue_epoch = secrets.token_bytes(16)
    await runner.connect(held, previous_epochs=(EpochStart(first, 1),))
    runner.queue_epoch = secrets.token_bytes(16)
    opened = await runner.connect(held, previous_epochs=(EpochStart(first, 1),))
    assert [one.verdict for one in opened.welcome.job_verdicts] == [verdict]
    await parts.reaches(job.job_id, state)


async def test_rows_of_an_earlier_opening_that_were_stored_are_not_asked_for_again_after_a_set_back(
    parts: Parts, runner: ScriptedRunner
) -> None:
    """Four rows of the first opening; two of them are stored in the second; then the disk is set back to the first."""
    first = runner.queue_epoch
    await runner.connect(next_seq=5)
    second = (EpochStart(first, 1),)
    runner.queue_epoch = secrets.token_bytes(16)
    await runner.connect(previous_epochs=second, epoch_start_seq=5, next_seq=5)
    await runner.deliver(*(LogEvent(LogLevel.INFO, f"line {number}", 1) for number in (1, 2)))
    runner.queue_epoch = secrets.token_bytes(16)
    opened = await runner.connect(previous_epochs=second, epoch_start_seq=5, next_seq=5)
    assert opened.welcome.ack_watermark.seq == 2


async def test_a_runner_that_starts_over_and_over_is_not_taken_for_a_copy(parts: Parts, runner: ScriptedRunner) -> None:
    """It names its last sixteen openings; those before them have fallen out of its history, and are not missing."""
    openings = [EpochStart(runner.queue_epoch, 1)]
    await runner.connect()
    submitted = await parts.submit("email.send")
    for _ in range(2 * PREVIOUS_EPOCHS + 3):
        lost = await runner.job()
        await runner.deliver(LogEvent(LogLevel.INFO, "stored under this opening", 1))
        await runner.disconnect()
        runner.queue_epoch = secrets.token_bytes(16)
        begins = runner.seq + 1
        await runner.connect(previous_epochs=tuple(openings[-PREVIOUS_EPOCHS:]), epoch_start_seq=begins)
        openings.append(EpochStart(runner.queue_epoch, begins))
        assert lost.job_id == submitted.id
    again = await runner.job()
    assert (again.job_id, again.attempt) == (submitted.id, 1)


# --- by the session epoch, where nothing durable of the lost history has arrived -------------------------------------


async def session(runner: ScriptedRunner, last: int, *held: HeldJob) -> int:
    """Connect as a Runner whose disk knows of the session `last`; the epoch of the new one."""
    opened = await runner.connect(held, feature_bits=FEATURE_SESSION_EPOCH, last_session_epoch=last)
    assert opened.welcome.feature_bits == FEATURE_SESSION_EPOCH
    return opened.ref.session_epoch


@pytest.mark.parametrize(("capability", "state"), [("kakao.send", "leased"), ("email.send", "uncertain")])
async def test_a_copy_is_recognised_though_no_accept_reached_core(
    parts: Parts, runner: ScriptedRunner, capability: str, state: str
) -> None:
    """The original had a session after the copy was made; what it began in it, nobody can tell."""
    copied = await session(runner, 0)
    await session(runner, copied)
    await runner.beat()
    await parts.submit(capability)
    job = await runner.job()
    now = await session(runner, copied)
    assert (await parts.reaches(job.job_id, state)).attempt == (2 if state == "leased" else 1)
    (event,) = [one for one in await parts.runners.events(TENANT, "runner-1", 50) if one.kind == "set_back"]
    assert event.data == f'{{"last_session": {copied}, "known_to_core": {copied + 1}}}'
    await session(runner, now)
    assert len(await parts.runners.events(TENANT, "runner-1", 50)) == 1, "its next session is its own"


async def test_a_copy_is_recognised_after_reconnects_whose_welcome_never_came_back(
    parts: Parts, runner: ScriptedRunner
) -> None:
    """The original tried to come back and named the job; Core gave it a session that it never heard of."""
    copied = await session(runner, 0)
    last = await session(runner, copied)
    await runner.beat()
    await parts.submit("email.send")
    job = await runner.job()
    await session(runner, last, HeldJob(job.job_id, job.lease_id, job.attempt, JobPhase.STARTED))
    await session(runner, copied)
    await parts.reaches(job.job_id, "uncertain")


async def test_the_original_that_comes_back_after_its_copy_is_not_believed_either(
    parts: Parts, runner: ScriptedRunner
) -> None:
    first = await session(runner, 0)
    await session(runner, first)
    await runner.beat()
    await parts.submit("email.send")
    job = await runner.job()
    await session(runner, first, HeldJob(job.job_id, job.lease_id, job.attempt, JobPhase.ACCEPTED))
    await parts.reaches(job.job_id, "uncertain")


async def test_a_session_whose_welcome_was_lost_makes_nothing_uncertain(parts: Parts, runner: ScriptedRunner) -> None:
    last = await session(runner, 0)
    await runner.beat()
    await session(runner, last)
    await parts.submit("email.send")
    lost = await runner.job()
    await session(runner, last)
    again = await runner.job()
    assert (again.job_id, again.attempt) == (lost.job_id, 1)
    assert await parts.runners.events(TENANT, "runner-1", 50) == []


async def test_a_runner_that_keeps_no_session_epochs_is_judged_as_before(parts: Parts, runner: ScriptedRunner) -> None:
    """Also between two that keep them: an older version ran for a while on the same disk."""
    last = await session(runner, 0)
    await runner.beat()
    for _ in range(2):
        await runner.connect()
        await runner.beat()
    await parts.submit("email.send")
    lost = await runner.job()
    await session(runner, last)
    again = await runner.job()
    assert (again.job_id, again.attempt) == (lost.job_id, 1)
