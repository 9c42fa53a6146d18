"""What Core rules on the jobs a runner still holds."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance.checks.lane import seqs
from aisops_protocol.conformance.ground import Ground, demand, told
from aisops_protocol.conformance.registry import Need, Rule, check

WATCH_S = 1.5


@check("verdict.keep", Rule.JOB, Need.WORK)
async def keep(ground: Ground) -> str:
    """KEEP: the job goes on under its lease and is reported once."""
    line, effect, job = await ground.under_way()
    await ground.cut(line)
    line = await ground.open(verdicts={job.job_id: m.Verdict.KEEP})
    await ground.beat(line)
    effect.release()
    result = await ground.result(job)
    await ground.beat(line)
    demand(result.lease_id == job.lease_id, "its lease", "another")
    demand(len(effect.calls) == 1, "one call", f"{len(effect.calls)}")
    demand(len(ground.results(job)) == 1, "one result", f"{len(ground.results(job))}")
    return "one call through a reconnect, one result"


@check("verdict.cancel", Rule.JOB, Need.WORK)
async def cancel(ground: Ground) -> str:
    """CANCEL: the job is stopped."""
    line, effect, job = await ground.under_way()
    await ground.cut(line)
    line = await ground.open(verdicts={job.job_id: m.Verdict.CANCEL})
    await ground.until(lambda: not effect.under_way, "the call dropped", 20)
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.CANCELLED, "CANCELLED", told(result))
    return "the call was dropped, CANCELLED"


@check("verdict.resend", Rule.JOB, Need.WORK)
async def resend(ground: Ground) -> str:
    """RESEND_RESULT: the stored result is put into the outbox again, under a new number."""
    line = await ground.open(acking=False)
    effect = ground.effect()
    job = ground.job(effect)
    await ground.done(line, job)
    await ground.cut(line)
    last = max(seqs(line))
    again = await ground.open(watermark=last, verdicts={job.job_id: m.Verdict.RESEND_RESULT})
    found = await ground.until(lambda: again.all(m.JobResult, job_id=job.job_id), "the result, sent again")
    demand(min(seqs(again)) > last, f"a number above the watermark {last}", str(min(seqs(again))))
    demand(found[0].status is m.ResultStatus.SUCCEEDED, "SUCCEEDED", told(found[0]))
    demand(len(effect.calls) == 1, "no second call", f"{len(effect.calls)} calls")
    return f"the result came again as {min(seqs(again))}, no second call"
