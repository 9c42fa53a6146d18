"""kill -9 in every phase of a job."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance.checks.work import full
from aisops_protocol.conformance.ground import AT_MOST_ONCE, CONNECT_S, IDEMPOTENT, Ground, demand, told
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check

PAUSE_MS = 60_000
WATCH_S = 2.0


def known(line: Line, job: m.Job) -> bool:
    """Whether the runner still knows a job: it holds it, or its outbox has something about it."""
    held = any(one.job_id == job.job_id for one in line.greeting.held_jobs)
    return held or any(getattr(one.envelope.body, "job_id", "") == job.job_id for one in line.numbered())


@check("crash.journal-first", Rule.JOB, Need.KILL, Need.WORK)
async def journal_first(ground: Ground) -> str:
    """The job is in the journal before anything happens outside."""
    line = await ground.open()
    line.say(m.Slow(PAUSE_MS))  # so that nothing but the journal can tell of the job
    await ground.beat(line)
    effect = ground.effect(held=True)
    job = ground.job(effect, AT_MOST_ONCE)
    ground.send(line, job)
    await ground.called(effect)
    await ground.crash()
    again = await ground.open()
    await ground.until(lambda: known(again, job), f"{job.job_id} held, or told of by the outbox, after kill -9", 5)
    accepts = await ground.until(lambda: again.all(m.JobAccept, job_id=job.job_id), "its JobAccept out of the outbox")
    demand(accepts[0].lease_id == job.lease_id, "its lease", "another")
    return "killed at the moment of the call: the job and its JobAccept were on the disk"


@check("crash.idempotent", Rule.JOB, Need.KILL, Need.WORK)
async def idempotent(ground: Ground) -> str:
    """Killed while it ran, an idempotent job is called again under the same key."""
    _, effect, job = await ground.under_way(IDEMPOTENT)
    await ground.crash()
    effect.release()
    await ground.open()
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.SUCCEEDED, "SUCCEEDED", told(result))
    demand(effect.keys == {job.effect_key}, f"the key {job.effect_key} in every call", f"{sorted(effect.keys)}")
    demand(len(effect.calls) > 1, "a second call", "none")
    return f"{len(effect.calls)} calls under one key, then SUCCEEDED"


@check("crash.at-most-once", Rule.JOB, Need.KILL, Need.WORK)
async def at_most_once(ground: Ground) -> str:
    """Killed while it ran, an at-most-once job ends UNCERTAIN and is never called again."""
    _, effect, job = await ground.under_way(AT_MOST_ONCE)
    await ground.crash()
    effect.release()
    again = await ground.open()
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.UNCERTAIN, "UNCERTAIN", told(result))
    ground.send(again, job)
    await ground.never(lambda: len(effect.calls) > 1, WATCH_S, "no second call, not even when Core sends it again")
    return "UNCERTAIN, one call"


@check("crash.waiting", Rule.JOB, Need.KILL, Need.WORK)
async def waiting(ground: Ground) -> str:
    """Killed while it waited, a job was never called and runs after the restart."""
    line = await ground.open()
    before = await full(ground, line)
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    ground.send(line, job)
    await ground.accepted(line, job)
    await ground.kill()
    demand(not effect.calls, "no call while it waits", "a call")
    await ground.life.start()
    again = await ground.open(verdicts={one.job_id: m.Verdict.CANCEL for one in before})
    result = await ground.result(job, CONNECT_S)
    demand(result.status is m.ResultStatus.SUCCEEDED, "SUCCEEDED: nothing had happened outside", told(result))
    demand(len(effect.calls) == 1, "one call", f"{len(effect.calls)}")
    demand(again.open, "the session still open", "its end")
    return "accepted before the kill, done after it"


@check("crash.done", Rule.JOB, Need.KILL, Need.WORK)
async def done(ground: Ground) -> str:
    """Killed after the end, the result is sent; the job is not done again."""
    line = await ground.open(acking=False)
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    first = await ground.done(line, job)
    await ground.crash()
    again = await ground.open()
    results = await ground.until(lambda: again.all(m.JobResult, job_id=job.job_id), "the result after kill -9")
    demand(results[0] == first, "the result as it was", told(results[0]))
    await ground.never(lambda: len(effect.calls) > 1, WATCH_S / 2, "no second call")
    return "the same result out of the outbox, one call"


@check("crash.acknowledged", Rule.JOB, Need.KILL, Need.WORK)
async def acknowledged(ground: Ground) -> str:
    """A job whose result is acknowledged is not done again after kill -9."""
    line = await ground.open()
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    await ground.done(line, job)
    await ground.beat(line)
    await ground.crash()
    again = await ground.open()
    ground.send(again, job)
    await ground.until(lambda: again.all(m.JobResult, job_id=job.job_id), "the stored result, for the job sent again")
    demand(len(effect.calls) == 1, "no second call", f"{len(effect.calls)} calls")
    return "sent again after the restart, it was answered from the journal"
