"""Cancelling a job: before it came, while it waits, while it runs, after its end."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance.checks.work import full
from aisops_protocol.conformance.ground import AT_MOST_ONCE, Ground, demand, told
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check

WATCH_S = 1.5


async def state(ground: Ground, line: Line, job: m.Job, *phases: m.CancelPhase) -> m.CancelState:
    """Wait for a CancelState of a job with one of these phases."""
    words = " or ".join(phase.name for phase in phases)

    def found() -> list[m.CancelState]:
        return [one for one in line.all(m.CancelState, job_id=job.job_id) if one.phase in phases]

    return (await ground.until(found, f"a CancelState {words} of {job.job_id}"))[0]


@check("cancel.overtakes", Rule.JOB, Need.WORK)
async def overtakes(ground: Ground) -> str:
    """A cancellation ahead of its job is remembered: the job ends CANCELLED, nothing is done."""
    line = await ground.open()
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    line.say(m.JobCancel(job.job_id, job.lease_id))
    said = await state(ground, line, job, m.CancelPhase.REMEMBERED)
    demand(said.lease_id == job.lease_id, "the lease of the JobCancel", "another")
    ground.send(line, job)

    def ended() -> list[m.JobResult] | list[m.JobReject]:
        return ground.results(job) or line.all(m.JobReject, job_id=job.job_id)

    end = (await ground.until(ended, "a JobResult CANCELLED"))[0]
    cancelled = isinstance(end, m.JobReject) or end.status is m.ResultStatus.CANCELLED
    demand(cancelled, "CANCELLED", told(end) if isinstance(end, m.JobResult) else "")
    await ground.never(lambda: effect.calls, WATCH_S, "no call")
    return "REMEMBERED, then CANCELLED without a call"


@check("cancel.running", Rule.JOB, Need.WORK)
async def running(ground: Ground) -> str:
    """A running job is stopped: REQUESTED, the call is dropped, CANCELLED."""
    line, effect, job = await ground.under_way()
    line.say(m.JobCancel(job.job_id, job.lease_id, grace_ms=2_000))
    await state(ground, line, job, m.CancelPhase.REQUESTED, m.CancelPhase.STOPPED)
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.CANCELLED, "CANCELLED", told(result))
    await ground.until(lambda: not effect.under_way, "the call dropped")
    return "CANCELLED, the call was dropped"


@check("cancel.waiting", Rule.JOB, Need.WORK)
async def waiting(ground: Ground) -> str:
    """A waiting job is cancelled without a call."""
    line = await ground.open()
    before = await full(ground, line)
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    ground.send(line, job)
    await ground.accepted(line, job)
    line.say(m.JobCancel(job.job_id, job.lease_id))
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.CANCELLED, "CANCELLED", told(result))
    line.say(m.JobCancel(before[0].job_id, before[0].lease_id))
    await ground.never(lambda: effect.calls, WATCH_S, "no call")
    return "CANCELLED while it waited, no call"


@check("cancel.done", Rule.JOB, Need.WORK)
async def done(ground: Ground) -> str:
    """A finished job wins over its cancellation: TOO_LATE, the result stands."""
    line = await ground.open()
    job = ground.job(ground.effect())
    await ground.done(line, job)
    await ground.beat(line)
    line.say(m.JobCancel(job.job_id, job.lease_id))
    said = await state(ground, line, job, *m.CancelPhase)
    demand(said.phase is m.CancelPhase.TOO_LATE, "TOO_LATE", said.phase.name)
    await ground.beat(line)
    statuses = {one.status for one in ground.results(job)}
    demand(statuses == {m.ResultStatus.SUCCEEDED}, "no result but SUCCEEDED", f"{statuses}")
    return "TOO_LATE, the result stood"


@check("cancel.at-most-once", Rule.JOB, Need.WORK)
async def careful(ground: Ground) -> str:
    """A cancelled at-most-once job that was called is never called again and says whether it may have happened."""
    line, effect, job = await ground.under_way(AT_MOST_ONCE)
    line.say(m.JobCancel(job.job_id, job.lease_id, grace_ms=2_000))
    result = await ground.result(job)
    allowed = {m.ResultStatus.CANCELLED, m.ResultStatus.UNCERTAIN}
    demand(result.status in allowed, "CANCELLED or UNCERTAIN", told(result))
    demand(result.error and result.error.ambiguous, "an error marked ambiguous: the call had left", told(result))
    await ground.never(lambda: len(effect.calls) > 1, WATCH_S, "no second call")
    return f"{result.status.name}, marked ambiguous"
