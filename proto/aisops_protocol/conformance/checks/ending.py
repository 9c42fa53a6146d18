"""Ending a session in order: Core drains, or the runner is told to stop."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance.checks.lane import busy, seqs
from aisops_protocol.conformance.ground import CONNECT_S, Ground, demand
from aisops_protocol.conformance.registry import Need, Rule, check

PAUSE_MS = 2_000
SPARE_S = 0.25
STOP_S = 60.0


@check("drain.returns", Rule.SESSION)
async def returns(ground: Ground) -> str:
    """Asked to drain, it half-closes and comes back after the pause, not before."""
    line = await ground.open()
    await ground.beat(line)
    line.say(m.Drain(PAUSE_MS, "the conformance kit says so"))
    await ground.until(lambda: line.half_closed or line.left, "the stream half-closed")
    demand(line.half_closed, "a half-close", "a cut")
    again = await ground.greeted()
    waited = again.opened_at - line.over_at
    demand(waited >= PAUSE_MS / 1000 - SPARE_S, f"{PAUSE_MS} ms of pause", f"{waited * 1000:.0f} ms")
    return f"half-closed, came back after {waited:.1f} s"


@check("drain.flushes", Rule.SESSION, Need.WORK)
async def flushes(ground: Ground) -> str:
    """Draining, it waits for the acknowledgement of what it has sent."""
    line = await ground.open(acking=False)
    for job in await busy(ground, line, 3):
        await ground.result(job)
    line.say(m.Drain(0, "the conformance kit says so"))
    await ground.beat(line)
    demand(not line.left, "it to wait for the Ack", "the end of the stream")
    last = max(seqs(line))
    line.ack()
    await ground.until(lambda: line.half_closed or line.left, "the stream half-closed after the Ack")
    demand(line.half_closed, "a half-close", "a cut")
    again = await ground.open()
    oldest = again.greeting.oldest_unacked_seq
    demand(oldest > last, f"oldest_unacked_seq above {last}", str(oldest))
    return f"waited for the Ack of {last}, then half-closed"


@check("drain.keeps-jobs", Rule.SESSION, Need.WORK)
async def keeps_jobs(ground: Ground) -> str:
    """Running jobs go on through a drain and are reported once."""
    line, effect, job = await ground.under_way()
    await ground.beat(line)
    line.say(m.Drain(0, "the conformance kit says so"))
    await ground.until(lambda: line.half_closed, "the stream half-closed", CONNECT_S)
    line = await ground.open()
    effect.release()
    await ground.result(job)
    await ground.beat(line)
    demand(len(effect.calls) == 1, "one call", f"{len(effect.calls)}")
    demand(len(ground.results(job)) == 1, "one result", f"{len(ground.results(job))}")
    return "one call through the drain, one result"


@check("goodbye.idle", Rule.SESSION, Need.KILL)
async def idle(ground: Ground) -> str:
    """Told to stop (SIGTERM), it says goodbye and ends with exit code 0."""
    line = await ground.open()
    await ground.beat(line)
    ground.life.terminate()
    await ground.until(lambda: line.all(m.RunnerGoodbye) or line.left, "a RunnerGoodbye", STOP_S)
    said = line.all(m.RunnerGoodbye)
    demand(said, "a RunnerGoodbye before the end of the stream", line.trace())
    demand(not said[0].unfinished, "no job unfinished", ", ".join(said[0].unfinished))
    await ground.until(lambda: ground.life.exit_code is not None, "its end", STOP_S)
    demand(ground.life.exit_code == 0, "exit code 0", str(ground.life.exit_code))
    return "goodbye, exit code 0"


@check("goodbye.unfinished", Rule.SESSION, Need.KILL, Need.WORK, apart=True, limit_s=150)
async def unfinished(ground: Ground) -> str:
    """Stopped while a job does not end, the goodbye names it and the journal keeps it."""
    line, effect, job = await ground.under_way(timeout_ms=600_000)
    ground.life.terminate()
    await ground.until(lambda: line.all(m.RunnerGoodbye) or line.left, "a RunnerGoodbye", STOP_S)
    demand(line.all(m.RunnerGoodbye), "a RunnerGoodbye before the end of the stream", line.trace())
    said = line.all(m.RunnerGoodbye)[0]
    await ground.until(lambda: ground.life.exit_code is not None, "its end", STOP_S)
    if not ground.results(job):
        demand(job.job_id in said.unfinished, f"{job.job_id} named as unfinished", f"{said.unfinished}")
    effect.release()
    await ground.life.start()
    await ground.open()
    result = await ground.result(job)
    demand(effect.keys == {job.effect_key}, "one key", f"{effect.keys}")
    return f"named in the goodbye; after the restart {result.status.name}"
