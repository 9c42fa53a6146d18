"""Going on after a reconnect, a restart, or a Core that forgot."""

from __future__ import annotations

import secrets

from aisops_protocol import messages as m
from aisops_protocol.conformance.checks.lane import busy, seqs
from aisops_protocol.conformance.ground import SOON_S, Ground, demand
from aisops_protocol.conformance.registry import Need, Rule, check

OFFLINE_S = 120.0


@check("resume.repeats", Rule.LANES, Need.WORK)
async def repeats(ground: Ground) -> str:
    """What was not acknowledged comes again: same number, same message, same id."""
    line = await ground.open(acking=False)
    for job in await busy(ground, line, 3):
        await ground.result(job)
    before = {one.envelope.seq: one.envelope for one in line.numbered()}
    await ground.cut(line)
    again = await ground.open()
    await ground.until(lambda: before.keys() <= set(seqs(again)), f"messages {min(before)} to {max(before)} again")
    for one in again.numbered():
        known = before.get(one.envelope.seq)
        demand(known in {None, one.envelope}, f"message {one.envelope.seq} as it was", "another body or message_id")
    return f"{len(before)} unacknowledged messages came again, unchanged"


@check("resume.watermark", Rule.RESUMING, Need.WORK)
async def watermark(ground: Ground) -> str:
    """After the Welcome it sends from the watermark on: above it, never below."""
    line = await ground.open(acking=False)
    for job in await busy(ground, line, 3):
        await ground.result(job)
    middle, last = sorted(seqs(line))[2], max(seqs(line))
    await ground.cut(line)
    again = await ground.open(watermark=middle)
    await ground.until(lambda: last in seqs(again), f"messages {middle + 1} to {last}")
    demand(min(seqs(again)) == middle + 1, f"{middle + 1} first", str(min(seqs(again))))
    return f"welcomed at {middle}, it sent {middle + 1} to {last}"


@check("resume.ack-lost", Rule.RESUMING, Need.WORK)
async def ack_lost(ground: Ground) -> str:
    """An Ack lost on the way is made up for by the Welcome's watermark."""
    line = await ground.open(acking=False)
    await ground.done(line, ground.job(ground.effect()))
    last = line.commit()
    await ground.cut(line)
    again = await ground.open()
    await ground.done(again, ground.job(ground.effect()))
    demand(min(seqs(again)) == last + 1, f"nothing up to {last} again, which is committed", str(min(seqs(again))))
    return f"{last} was committed and its Ack lost: it went on with {last + 1}"


@check("resume.watermark-ahead", Rule.RESUMING, Need.WORK)
async def watermark_ahead(ground: Ground) -> str:
    """A Welcome beyond what it has numbered ends the session."""
    line = await ground.open(acking=False)
    job = ground.job(ground.effect())
    await ground.done(line, job)
    await ground.cut(line)
    line = await ground.greeted()
    ground.welcome(line, watermark=(line.greeting.next_seq) + 100)
    await ground.left(line, "the stream ended for a watermark above its numbers")
    again = await ground.open(watermark=line.greeting.oldest_unacked_seq - 1)
    await ground.until(lambda: again.all(m.JobResult, job_id=job.job_id), "the result again: nothing was deleted")
    return "ended the session and deleted nothing"


@check("epoch.new", Rule.RESUMING, Need.KILL, Need.WORK)
async def epoch(ground: Ground) -> str:
    """Each opening of the outbox has a new queue epoch; earlier ones are listed with their beginnings."""
    line = await ground.open(acking=False)
    await ground.done(line, ground.job(ground.effect()))
    last = max(seqs(line))
    await ground.crash()
    again = await ground.open()
    was, now = line.greeting, again.greeting
    demand(now.queue_epoch != was.queue_epoch, "another queue epoch after kill -9", "the same")
    listed = {one.epoch: one.start_seq for one in now.previous_epochs}
    demand(was.queue_epoch in listed, "the epoch before in previous_epochs", f"{len(listed)} others")
    begun = listed[was.queue_epoch]
    demand(begun == was.epoch_start_seq, f"it to begin at {was.epoch_start_seq}", str(begun))
    demand(now.epoch_start_seq > last, f"the new epoch to begin above {last}", str(now.epoch_start_seq))
    return f"a new epoch from {now.epoch_start_seq} on, the one before from {begun} on"


@check("numbers.run-on", Rule.RESUMING, Need.KILL, Need.WORK)
async def run_on(ground: Ground) -> str:
    """Numbers run on after kill -9: no number is given a second time."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect()))
    await ground.beat(line)
    last = max(seqs(line))
    await ground.crash()
    again = await ground.open()
    start = again.greeting.next_seq
    demand(start > last, f"next_seq above {last}, which was sent before", str(start))
    await ground.done(again, ground.job(ground.effect()))
    demand(min(seqs(again)) > last, f"numbers above {last}", str(min(seqs(again))))
    return f"{last} was sent before the kill, {min(seqs(again))} after it"


@check("resume.outbox-kept", Rule.JOB, Need.KILL, Need.WORK)
async def outbox_kept(ground: Ground) -> str:
    """What was stored and not sent survives kill -9."""
    line = await ground.open(acking=False)
    jobs = await busy(ground, line, 4)
    for job in jobs:
        await ground.result(job)
    before = {one.envelope.seq: one.envelope for one in line.numbered()}
    await ground.crash()
    again = await ground.open()
    await ground.until(lambda: before.keys() <= set(seqs(again)), f"messages {min(before)} to {max(before)} again")
    for one in again.numbered():
        known = before.get(one.envelope.seq)
        demand(known in {None, one.envelope}, f"message {one.envelope.seq} as it was before the kill", str(one))
    return f"{len(before)} messages came again after kill -9, unchanged"


@check("core-epoch.results-again", Rule.RESUMING, Need.WORK)
async def core_restored(ground: Ground) -> str:
    """A Core restored from a backup gets the results of the last day again."""
    line = await ground.open()
    jobs = await busy(ground, line, 3)
    for job in jobs:
        await ground.result(job)
    await ground.beat(line)
    await ground.cut(line)
    ground.core.ledger.rows.clear()
    ground.core.epoch = secrets.token_bytes(16)
    again = await ground.open()
    every = {job.job_id for job in jobs}
    await ground.until(
        lambda: every <= {one.job_id for one in again.all(m.JobResult)}, f"the results of all {len(jobs)} jobs again"
    )
    third = len(again.numbered())
    await ground.cut(again)
    last = await ground.open()
    demand(last.greeting.last_core_epoch == ground.core.epoch, "the new core_epoch in the next Hello", "another")
    await ground.beat(last)
    demand(not last.all(m.JobResult), "the results once, not with every session", last.trace())
    return f"{len(jobs)} acknowledged results came again ({third} messages), once"


@check("offline.told", Rule.LANES, apart=True, limit_s=150)
async def offline(ground: Ground) -> str:
    """A time without contact is told by one coalesced Heartbeat in the durable lane."""
    line = await ground.open()
    await ground.beat(line)
    await ground.cut(line)
    for _ in range(2):  # two sessions that never get their Welcome: twenty seconds at least
        line = await ground.greeted(OFFLINE_S)
        await ground.left(line, "the stream ended for want of a Welcome", SOON_S + 5)
    line = await ground.open(within_s=OFFLINE_S)
    await ground.until(
        lambda: [one for one in line.numbered() if isinstance(one.envelope.body, m.Heartbeat)],
        "a numbered Heartbeat with offline_beats above 0",
        SOON_S,
    )
    told = [beat for beat in line.all(m.Heartbeat) if beat.offline_beats]
    demand(len(told) == 1, "one, coalesced", f"{len(told)}")
    demand(told[0].offline_ms > 0, "offline_ms above 0", "0")
    return f"{told[0].offline_beats} beats, {told[0].offline_ms / 1000:.0f} s"
