"""Uncertain jobs resolved by a person, late results shown, and explanations, on a real database."""

from __future__ import annotations

import secrets

import pytest

from aisops_core.dispatch.resolution import Verdict
from aisops_core.errors import Forbidden, JobNotFound, NotUncertain
from aisops_core.tenants.principal import Principal
from aisops_protocol.messages import Job, JobPhase, ResultStatus
from tests.support.core_store import OPERATOR, OTHER_TENANT, TENANT, Parts, ScriptedRunner, held, result


async def doubt(parts: Parts, runner: ScriptedRunner) -> Job:
    """A job that ended uncertain: its Runner came back with another journal."""
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.accept(job)
    runner.journal_id = secrets.token_bytes(16)
    await runner.connect()
    await parts.reaches(job.job_id, "uncertain")
    parts.clock.advance(1)
    return job


@pytest.mark.parametrize("verdict", [Verdict.SUCCEEDED, Verdict.FAILED])
async def test_a_finding_is_kept_with_the_job_its_timeline_and_the_audit_log(
    parts: Parts, runner: ScriptedRunner, verdict: Verdict
) -> None:
    job = await doubt(parts, runner)
    resolved = await parts.dispatcher.resolve(OPERATOR, job.job_id, verdict, "looked into the mailbox")
    assert resolved.state == verdict.value
    seen = await parts.dispatcher.get(TENANT, job.job_id)
    assert (seen.state, seen.error_code is None) == (verdict.value, verdict is Verdict.SUCCEEDED)
    kinds = [entry.kind for entry in await parts.dispatcher.timeline(TENANT, job.job_id)]
    assert kinds[:2] == ["queued", "leased"]
    assert kinds[-3:] == ["uncertain", f"resolved_{verdict.value}", verdict.value]
    (kept,) = (await parts.dispatcher.aftermath(seen)).resolutions
    assert (kept.actor, kept.note, kept.attempt) == (OPERATOR.actor, "looked into the mailbox", 1)
    record = (await parts.audit.list(TENANT))[-1]
    assert (record.action, record.subject) == ("job.resolve", job.job_id)
    assert await parts.audit.verify(TENANT) is None
    again = await parts.dispatcher.resolve(OPERATOR, job.job_id, verdict, "once more")
    assert again.state == verdict.value
    assert len(await parts.audit.list(TENANT)) == record.seq, "a repeated decision leaves no second record"


async def test_a_decision_is_shown_too_when_it_was_the_runner_that_did_not_know(
    parts: Parts, runner: ScriptedRunner
) -> None:
    await runner.connect()
    await parts.submit("email.send")
    job = await runner.job()
    await runner.deliver(result(job, ResultStatus.UNCERTAIN))
    await parts.dispatcher.resolve(OPERATOR, job.job_id, Verdict.SUCCEEDED, "it is in the sent folder")
    seen = await parts.dispatcher.get(TENANT, job.job_id)
    assert [one.note for one in (await parts.dispatcher.aftermath(seen)).resolutions] == ["it is in the sent folder"]


async def test_a_retry_runs_the_job_once_more_under_a_new_attempt(parts: Parts, runner: ScriptedRunner) -> None:
    lost = await doubt(parts, runner)
    await parts.dispatcher.resolve(OPERATOR, lost.job_id, Verdict.RETRY, "it never arrived")
    again = await runner.job()
    assert (again.job_id, again.attempt, again.effect_key) == (lost.job_id, 2, lost.effect_key)
    assert again.lease_id != lost.lease_id
    assert again.input == lost.input
    await parts.dispatcher.resolve(OPERATOR, lost.job_id, Verdict.RETRY, "it never arrived")  # a repeated request
    await runner.deliver(result(lost))  # of the attempt before: too late
    assert (await parts.dispatcher.get(TENANT, lost.job_id)).state == "leased"
    parts.clock.advance(1)
    await runner.finish(again)
    ended = await parts.dispatcher.get(TENANT, lost.job_id)
    assert (ended.state, ended.attempt) == ("succeeded", 2)
    beside = await parts.dispatcher.aftermath(ended)
    assert [late.attempt for late in beside.late] == [1]
    assert [one.verdict for one in beside.resolutions] == [Verdict.RETRY]
    told = [(entry.kind, entry.attempt) for entry in await parts.dispatcher.timeline(TENANT, lost.job_id)]
    assert ("resolved_retry", 1) in told
    assert ("late_result", 1) in told
    assert told[-1] == ("succeeded", 2)


async def test_whoever_waits_for_a_job_tried_again_gets_its_end(parts: Parts, runner: ScriptedRunner) -> None:
    lost = await doubt(parts, runner)
    await parts.dispatcher.resolve(OPERATOR, lost.job_id, Verdict.RETRY, "again")
    again = await runner.job()
    await runner.finish(again)
    assert (await parts.dispatcher.wait(TENANT, lost.job_id, 10)).state == "succeeded"


async def test_only_operators_of_the_tenant_resolve_and_only_what_is_uncertain(
    parts: Parts, runner: ScriptedRunner
) -> None:
    job = await doubt(parts, runner)
    viewer = Principal("api", TENANT, "v", "viewer", "tok")
    stranger = Principal("api", OTHER_TENANT, "s", "admin", "tok")
    with pytest.raises(Forbidden):
        await parts.dispatcher.resolve(viewer, job.job_id, Verdict.FAILED, "x")
    for call in (
        parts.dispatcher.resolve(stranger, job.job_id, Verdict.FAILED, "x"),
        parts.dispatcher.explain(OTHER_TENANT, job.job_id),
    ):
        with pytest.raises(JobNotFound):
            await call
    running = await parts.submit("email.send")
    with pytest.raises(NotUncertain):
        await parts.dispatcher.resolve(OPERATOR, running.job_id, Verdict.RETRY, "x")


async def test_a_job_in_doubt_cannot_be_revived_by_its_runner(parts: Parts, runner: ScriptedRunner) -> None:
    job = await doubt(parts, runner)
    opened = await runner.connect(held(job, JobPhase.STARTED))
    assert [verdict.verdict.name for verdict in opened.welcome.job_verdicts] == ["CANCEL"]
    assert (await parts.dispatcher.get(TENANT, job.job_id)).state == "uncertain"


# --- explain ----------------------------------------------------------------------------------------------------------


async def test_a_queue_is_explained_from_what_is_really_there(parts: Parts) -> None:
    full = await ScriptedRunner(parts, "full", slots=1).enroll()
    await full.connect()
    away = await ScriptedRunner(parts, "away").enroll()
    await away.connect()
    await away.disconnect()
    without = await ScriptedRunner(parts, "without", capabilities=()).enroll()
    await without.connect()
    first = await parts.submit()
    await full.job()
    second, third = await parts.submit(), await parts.submit()
    urgent = await parts.submit(priority=5)
    explained = await parts.dispatcher.explain(TENANT, third.job_id)
    assert {found.runner_id: found.refusal for found in explained.findings} == {
        "full": "no_free_slot",
        "away": "offline",
        "without": "no_capability",
    }
    assert explained.place is not None
    assert explained.place.ahead == 2
    assert (await parts.dispatcher.explain(TENANT, urgent.job_id)).place.ahead == 0  # type: ignore[union-attr]
    assert (await parts.dispatcher.explain(TENANT, second.job_id)).place.ahead == 1  # type: ignore[union-attr]
    assert explained.deadline is not None
    assert explained.deadline.at_unix_ms == third.queue_expires_unix_ms
    leased = await parts.dispatcher.explain(TENANT, first.job_id)
    assert "Runner full was given the job" in leased.summary
    assert "is connected" in leased.summary


async def test_every_end_is_explained(parts: Parts, runner: ScriptedRunner) -> None:
    job = await doubt(parts, runner)
    explained = await parts.dispatcher.explain(TENANT, job.job_id)
    assert (explained.owner, explained.deadline) == ("person", None)
    await parts.submit()
    good = await runner.job()
    await runner.finish(good)
    explained = await parts.dispatcher.explain(TENANT, good.job_id)
    assert "ended succeeded" in explained.summary
