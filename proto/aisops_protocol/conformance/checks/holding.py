"""The list of held jobs in a Hello: what it counts as left out, and what becomes of that."""

from __future__ import annotations

from collections import Counter

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.conformance.ground import Ground, demand
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.load import WIDE, Load, loaded
from aisops_protocol.conformance.registry import Need, Rule, check

FLUSH_S = 60.0
WATCH_S = 2.0


@check("held.all-named", Rule.JOB, Need.WORK)
async def all_named(ground: Ground) -> str:
    """A Hello with room for every job it holds counts none as left out, acknowledged ones included."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect()))
    await ground.beat(line)
    line.acking = False
    effect = ground.effect(held=True)
    running, ended = ground.job(effect), ground.job(ground.effect())
    ground.send(line, running)
    await ground.called(effect)
    await ground.done(line, ended)
    await ground.cut(line)
    hello = (await ground.open()).greeting
    missing = {running.job_id, ended.job_id} - {one.job_id for one in hello.held_jobs}
    demand(not missing, "both jobs it holds in the list", f"{len(missing)} missing")
    demand(hello.held_jobs_omitted == 0, "held_jobs_omitted 0: all are named", str(hello.held_jobs_omitted))
    effect.release()
    await ground.result(running)
    return f"{len(hello.held_jobs)} named, none left out"


@check("held.overfull", Rule.JOB, Need.WORK, apart=True, limit_s=120)
async def overfull(ground: Ground) -> str:
    """Holding more jobs than a Hello lists, it counts the rest; none is lost, or done again when it is sent again."""
    load = await loaded(ground)
    await ground.cut(load.line)
    line = await ground.greeted()
    left_out = counted(load, line.greeting)
    line.acking = True
    ground.welcome(line, verdicts=dict.fromkeys([*load.jobs, load.running.job_id], m.Verdict.KEEP), **WIDE)
    ground.send(line, *[load.jobs[name] for name in left_out])
    load.held.release()
    await flushed(ground, line)
    await ground.result(load.running)
    await ground.never(load.done_again, WATCH_S, "no call for a job that was left out and sent again")
    reported(ground, load, left_out)
    return f"{limits.HELD_JOBS} named, {len(left_out)} counted; {len(load.outcome)} results came, none was done again"


def counted(load: Load, hello: m.Hello) -> list[str]:
    """Judge the list of an overfull Hello; the jobs left out of it."""
    total = len(load.jobs) + 1
    rest = total - limits.HELD_JOBS
    came = f"{len(hello.held_jobs)} named, {hello.held_jobs_omitted} counted"
    fits = (len(hello.held_jobs), hello.held_jobs_omitted) == (limits.HELD_JOBS, rest)
    demand(fits, f"of {total} jobs {limits.HELD_JOBS} named and {rest} counted in held_jobs_omitted", came)
    first = hello.held_jobs[0].job_id
    demand(first == load.running.job_id, "the job that has not ended at the head of the list", first)
    named = {one.job_id for one in hello.held_jobs}
    left_out = [name for name in load.outcome if name not in named]
    right = left_out == [*load.outcome][:rest]
    demand(right, "those left out whose results come first", f"{len(left_out)} left out, others among them")
    return left_out


async def flushed(ground: Ground, line: Line) -> None:
    """Wait until everything the outbox held at the Hello is committed, and what was said since is read."""
    hello, marks = line.greeting, ground.core.ledger.marks
    asked = f"all {hello.next_seq - hello.oldest_unacked_seq} messages of the outbox"
    await ground.until(lambda: marks.get(hello.queue_epoch, 0) >= hello.next_seq - 1, asked, FLUSH_S)
    await ground.beat(line)


def reported(ground: Ground, load: Load, left_out: list[str]) -> None:
    """Judge that every job was reported as it ended, and once; again only where it was sent again."""
    results = [one for one in ground.core.ledger.of(m.JobResult) if one.job_id in load.outcome]
    reports = Counter(one.job_id for one in results)
    lost = load.outcome.keys() - reports.keys()
    demand(not lost, f"a result of each of {len(load.outcome)} jobs", f"none of {len(lost)}")
    changed = [one.job_id for one in results if one.status is not load.outcome[one.job_id].status]
    demand(not changed, "each result as it was", f"{len(changed)} others")
    twice = [name for name in reports.keys() - {*left_out} if reports[name] > 1]
    demand(not twice, "one result of each job that was not sent again", f"{len(twice)} reported twice")
