"""Jobs in the ordinary course, sent twice, leased again, refused."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

from aisops_protocol import messages as m
from aisops_protocol.conformance.ground import AT_MOST_ONCE, IDEMPOTENT, Ground, demand, skip_unless, told
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check

WATCH_S = 2.0
MOST_SLOTS = 64


async def full(ground: Ground, line: Line) -> list[m.Job]:
    """Keep every slot busy with a job that does not end; the jobs.

    Raises:
        Skipped: The runner has too many slots for that.
    """
    slots = line.greeting.job_slots
    skip_unless(0 < slots <= MOST_SLOTS, f"the runner has {slots} slots; give it 1 to {MOST_SLOTS}")
    effect = ground.effect(held=True)
    jobs = [ground.job(effect) for _ in range(slots)]
    ground.send(line, *jobs)
    await ground.called(effect, slots)
    return jobs


@check("job.runs", Rule.JOB, Need.WORK)
async def runs(ground: Ground) -> str:
    """A job is accepted, done once under its effect key, and reported once with its output."""
    line = await ground.open()
    for capability in (IDEMPOTENT, AT_MOST_ONCE):
        effect = ground.effect()
        job = ground.job(effect, capability, attempt=2)
        result = await ground.done(line, job)
        demand(effect.keys == {job.effect_key}, f"Idempotency-Key {job.effect_key}", f"{effect.keys}")
        demand(len(effect.calls) == 1, "one call", f"{len(effect.calls)}")
        demand((result.lease_id, result.attempt) == (job.lease_id, 2), "its lease and attempt in the result", "others")
        demand(json.loads(result.output) == json.loads(effect.answer()), "the answer as its output", "something else")
        accepts = line.all(m.JobAccept, job_id=job.job_id)
        demand(accepts == [m.JobAccept(job.job_id, job.lease_id, 2)], "one JobAccept under its lease", f"{accepts}")
        await ground.beat(line)
        demand(len(ground.results(job)) == 1, "one result", f"{len(ground.results(job))}")
    return "one JobAccept, one call, one result, for both effect classes"


@check("job.accept-first", Rule.JOB, Need.WORK)
async def accept_first(ground: Ground) -> str:
    """The JobAccept has a lower number than the JobResult."""
    line = await ground.open()
    jobs = [ground.job(ground.effect()) for _ in range(5)]
    ground.send(line, *jobs)
    for job in jobs:
        await ground.result(job)
    kinds = (m.JobAccept, m.JobResult)
    for job in jobs:
        own = [one.envelope.body for one in line.numbered() if getattr(one.envelope.body, "job_id", "") == job.job_id]
        order = [type(body) for body in own if isinstance(body, kinds)]
        demand(order == list(kinds), "JobAccept, then JobResult", ", ".join(kind.__name__ for kind in order))
    return f"of {len(jobs)} jobs at once, each was accepted before it was reported"


@check("job.failure-retried", Rule.JOB, Need.WORK)
async def failure(ground: Ground) -> str:
    """A failure with nothing done is tried again under the same key."""
    line = await ground.open()
    effect = ground.effect(status=503)
    job = ground.job(effect, timeout_ms=20_000)
    ground.send(line, job)
    await ground.called(effect)
    effect.status = 200
    result = await ground.result(job, 25)
    demand(effect.keys == {job.effect_key}, "one key for all calls", f"{effect.keys}")
    failed = result.status is m.ResultStatus.FAILED
    demand(
        failed or result.status is m.ResultStatus.SUCCEEDED, "SUCCEEDED, or FAILED without another try", told(result)
    )
    return f"{len(effect.calls)} calls under one key, then {result.status.name}"


@check("job.timeout", Rule.JOB, Need.WORK)
async def timeout(ground: Ground) -> str:
    """timeout_ms ends a call: TIMED_OUT, or UNCERTAIN when it may have happened."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect()))  # the plugin may have to start first
    seen = []
    for capability, allowed in (
        (IDEMPOTENT, {m.ResultStatus.TIMED_OUT}),
        (AT_MOST_ONCE, {m.ResultStatus.UNCERTAIN}),
    ):
        effect = ground.effect(held=True)
        job = ground.job(effect, capability, timeout_ms=1_500)
        ground.send(line, job)
        await ground.called(effect)
        result = await ground.result(job)
        demand(result.status in allowed, " or ".join(one.name for one in allowed), told(result))
        seen.append(f"{capability}: {result.status.name}")
    return ", ".join(seen)


@check("job.large-input", Rule.SIZES, Need.WORK)
async def large_input(ground: Ground) -> str:
    """An input of nearly 1 MiB is taken."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect(), fill=1_000_000))
    return "1,000,000 octets"


@check("duplicate.running", Rule.JOB, Need.WORK)
async def duplicate_running(ground: Ground) -> str:
    """The same job again while it runs is not begun again."""
    line, effect, job = await ground.under_way(AT_MOST_ONCE)
    ground.send(line, job)
    await ground.beat(line)
    await ground.never(lambda: len(effect.calls) > 1, WATCH_S / 2, "no second call")
    effect.release()
    await ground.result(job)
    await ground.never(lambda: len(effect.calls) > 1, WATCH_S / 2, "no second call")
    distinct = {(one.status, one.output) for one in ground.results(job)}
    demand(len(distinct) == 1, "one result", f"{len(distinct)} different ones")
    return "one call, one result"


@check("duplicate.waiting", Rule.JOB, Need.WORK)
async def duplicate_waiting(ground: Ground) -> str:
    """The same job again while it waits is done once."""
    line = await ground.open()
    before = await full(ground, line)
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    ground.send(line, job)
    await ground.beat(line)
    ground.send(line, job)
    await ground.beat(line)
    demand(not effect.calls, "it to wait for a slot", "it was called")
    line.say(m.JobCancel(before[0].job_id, before[0].lease_id))
    await ground.result(job)
    await ground.never(lambda: len(effect.calls) > 1, WATCH_S, "one call")
    return "waited for a slot, was done once"


@check("duplicate.done", Rule.JOB, Need.WORK)
async def duplicate_done(ground: Ground) -> str:
    """The same job again after its end is not done again; its stored result comes again."""
    line = await ground.open()
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE)
    first = await ground.done(line, job)
    await ground.beat(line)
    ground.send(line, job)
    await ground.until(lambda: len(ground.results(job)) > 1, "the stored result again")
    demand(len(effect.calls) == 1, "no second call", f"{len(effect.calls)} calls")
    again = ground.results(job)[1]
    same = (again.status, again.output) == (first.status, first.output)
    demand(same, "the same result", told(again))
    return "one call; the stored result came again"


@check("lease.newest", Rule.JOB, Need.WORK)
async def lease_newest(ground: Ground) -> str:
    """A result carries the newest lease it was given."""
    line, effect, job = await ground.under_way()
    newer = replace(job, lease_id=secrets.token_bytes(16), attempt=2)
    ground.send(line, newer)
    beat = await ground.beat(line)
    await ground.until(lambda: line.all(m.Heartbeat)[-1:] and newer.lease_id in line.all(m.Heartbeat)[-1].leases,
                       "a Heartbeat that lists the newer lease")  # fmt: skip
    effect.release()
    result = await ground.result(job)
    demand(
        result.lease_id == newer.lease_id and result.attempt == 2,
        "the newer lease and attempt 2",
        f"attempt {result.attempt}",
    )
    demand(len(effect.calls) == 1, "one call", f"{len(effect.calls)}")
    return f"one call; the result is under the newer lease ({len(beat.leases)} held)"


@check("lease.after-end", Rule.JOB, Need.WORK)
async def lease_after_end(ground: Ground) -> str:
    """Leased again after its end, the stored result comes under the new lease."""
    line = await ground.open()
    effect = ground.effect()
    job = ground.job(effect)
    await ground.done(line, job)
    await ground.beat(line)
    newer = replace(job, lease_id=secrets.token_bytes(16), attempt=2)
    ground.send(line, newer)
    await ground.until(
        lambda: line.all(m.JobResult, job_id=job.job_id, lease_id=newer.lease_id), "the result under the new lease"
    )
    demand(len(effect.calls) == 1, "no second call", f"{len(effect.calls)} calls")
    return "one call; the stored result came under the new lease"


@check("lease.lapsed", Rule.JOB, Need.WORK)
async def lease_lapsed(ground: Ground) -> str:
    """A job whose lease lapsed during an outage still ends in one result."""
    line = await ground.open(lease_ms=500)
    effect = ground.effect(held=True)
    job = ground.job(effect, lease_ms=500)
    ground.send(line, job)
    await ground.called(effect)
    await ground.cut(line)
    line = await ground.greeted()
    await ground.pass_time(1.0)  # an outage longer than the lease
    ground.welcome(line)
    effect.release()
    result = await ground.result(job)
    demand(len(effect.calls) == 1, "one call", f"{len(effect.calls)}")
    return f"{result.status.name}, one call"


@check("reject.unknown-capability", Rule.JOB, Need.WORK)
async def unknown_capability(ground: Ground) -> str:
    """A capability it does not offer is rejected, nothing is done."""
    line = await ground.open()
    effect = ground.effect()
    job = ground.job(effect, "conformance.nobody-offers-this")
    ground.send(line, job)
    rejected = (await ground.until(lambda: line.all(m.JobReject, job_id=job.job_id), "a JobReject"))[0]
    wanted = m.RejectReason.UNKNOWN_CAPABILITY
    demand(rejected.reason is wanted, wanted.name, rejected.reason.name)
    demand(rejected.lease_id == job.lease_id, "its lease", "another")
    demand(not effect.calls, "no call", "a call")
    return "UNKNOWN_CAPABILITY, nothing called"


@check("reject.hash", Rule.JOB, Need.WORK)
async def wrong_hash(ground: Ground) -> str:
    """An input that does not match its SHA-256 is rejected, nothing is done."""
    line = await ground.open()
    effect = ground.effect()
    job = ground.job(effect, input_sha256=b"\x01" * 32)
    ground.send(line, job)
    rejected = (await ground.until(lambda: line.all(m.JobReject, job_id=job.job_id), "a JobReject"))[0]
    demand(rejected.reason is m.RejectReason.SCHEMA, "SCHEMA", rejected.reason.name)
    demand(not effect.calls, "no call", "a call")
    return "SCHEMA, nothing called"


@check("reject.start-by", Rule.JOB, Need.WORK)
async def start_by(ground: Ground) -> str:
    """A job that cannot start within start_by_ms is given back, nothing is done."""
    line = await ground.open()
    before = await full(ground, line)
    effect = ground.effect()
    job = ground.job(effect, AT_MOST_ONCE, start_by_ms=800)
    ground.send(line, job)

    def given_back() -> list[m.JobReject] | list[m.JobResult]:
        return line.all(m.JobReject, job_id=job.job_id) or ground.results(job)

    back = (await ground.until(given_back, "a JobReject, or a JobResult TIMED_OUT"))[0]
    late = isinstance(back, m.JobResult) and back.status is not m.ResultStatus.TIMED_OUT
    demand(not late, "TIMED_OUT when it had been accepted", told(back) if isinstance(back, m.JobResult) else "")
    line.say(m.JobCancel(before[0].job_id, before[0].lease_id))
    await ground.never(lambda: effect.calls, WATCH_S, "no call though a slot came free later")
    return f"a {type(back).__name__}, nothing called"
