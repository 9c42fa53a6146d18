"""The durable lane within a session: acknowledgement, repetition, rewinding, the window."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.codec import encode_runner_body
from aisops_protocol.conformance.ground import Ground, demand
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check
from aisops_protocol.conformance.transcript import Heard
from aisops_protocol.messages import JobResult

WATCH_S = 2.0
PAUSE_MS = 2_500


def seqs(line: Line) -> list[int]:
    """Numbers of the durable lane, as they came."""
    return [one.envelope.seq for one in line.numbered()]


def octets(heard: Heard) -> int:
    """Octets of a message."""
    body = heard.envelope.body
    return len(encode_runner_body(body)) if body is not None else 0


async def busy(ground: Ground, line: Line, jobs: int) -> list[m.Job]:
    """Give the runner so many jobs that end at once; each makes at least two durable messages."""
    made = [ground.job(ground.effect()) for _ in range(jobs)]
    ground.send(line, *made)
    return made


@check("ack.deletes", Rule.LANES, Need.WORK)
async def deletes(ground: Ground) -> str:
    """What is acknowledged is deleted and never sent again."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect()))
    await ground.beat(line)
    await ground.cut(line)
    last = max(seqs(line))
    again = await ground.open()
    oldest = again.greeting.oldest_unacked_seq
    demand(oldest > last, f"oldest_unacked_seq above {last} in the next Hello", str(oldest))
    await ground.beat(again)
    demand(not [seq for seq in seqs(again) if seq <= last], f"nothing up to {last} again", again.trace())
    return f"{last} acknowledged, {oldest} is the oldest in the next Hello"


@check("ack.only-so-far", Rule.LANES, Need.WORK)
async def only_so_far(ground: Ground) -> str:
    """An acknowledgement of some deletes those and no more."""
    line = await ground.open(acking=False)
    for job in await busy(ground, line, 3):
        await ground.result(job)
    middle, last = sorted(seqs(line))[2], max(seqs(line))
    line.ack(only_to=middle)
    await ground.beat(line)
    await ground.cut(line)
    again = await ground.open(watermark=middle)
    await ground.until(lambda: last in seqs(again), f"messages {middle + 1} to {last} again")
    demand(min(seqs(again)) == middle + 1, f"the lane to go on with {middle + 1}", f"{min(seqs(again))}")
    return f"{middle} of {last} acknowledged: it went on with {middle + 1}"


@check("ack.ahead", Rule.ENDING, Need.WORK)
async def ahead(ground: Ground) -> str:
    """An acknowledgement of what was never sent ends the session and deletes nothing."""
    line = await ground.open(acking=False)
    job = ground.job(ground.effect())
    await ground.done(line, job)
    line.say(m.Ack(line.greeting.queue_epoch, max(seqs(line)) + 1_000))
    await ground.left(line, "the stream ended for an acknowledgement of what was not sent")
    again = await ground.open()
    await ground.until(lambda: again.all(JobResult, job_id=job.job_id), "the result again: nothing was deleted")
    return "ended the session; the unacknowledged result came again"


@check("rewind.honoured", Rule.LANES, Need.WORK)
async def rewind(ground: Ground) -> str:
    """Asked to rewind, it sends again from that number, the same messages."""
    line = await ground.open(acking=False)
    for job in await busy(ground, line, 3):
        await ground.result(job)
    before = {one.envelope.seq: one.envelope for one in line.numbered()}
    start, last, count = sorted(before)[1], max(before), len(line.numbered())
    line.say(m.Rewind(line.greeting.queue_epoch, start))
    await ground.until(lambda: last in seqs(line)[count:], f"messages {start} to {last} again")
    again = line.numbered()[count:]
    demand(again[0].envelope.seq == start, f"the lane to go on with {start}", f"{again[0].envelope.seq}")
    changed = [one.envelope.seq for one in again if before.get(one.envelope.seq, one.envelope) != one.envelope]
    demand(not changed, "the same messages under the same numbers", f"others under {changed}")
    return f"sent {start} to {last} again, unchanged"


@check("window.messages", Rule.LANES, Need.WORK)
async def window(ground: Ground) -> str:
    """No more messages are unacknowledged than max_inflight_messages."""
    most = 3
    line = await ground.open(acking=False, max_inflight_messages=most)
    jobs = await busy(ground, line, 6)
    await ground.until(lambda: len(line.numbered()) >= most, f"{most} messages")
    await ground.never(lambda: len(line.numbered()) > most, WATCH_S, f"no more than {most} without an Ack")
    line.acking = True
    line.ack()
    for job in jobs:
        await ground.result(job)
    return f"stopped at {most}, went on after each Ack"


@check("window.octets", Rule.LANES, Need.WORK)
async def window_octets(ground: Ground) -> str:
    """No more octets are unacknowledged than max_inflight_bytes, the last message apart."""
    most, size = 20_000, 6_000
    line = await ground.open(acking=False, max_inflight_bytes=most)
    jobs = [ground.job(ground.effect(pad=size)) for _ in range(8)]
    ground.send(line, *jobs)
    await ground.until(lambda: sum(octets(one) for one in line.numbered()) >= most - 2 * size, "a window's worth")

    def over() -> bool:
        return sum(octets(one) for one in line.numbered()[:-1]) >= most

    await ground.never(over, WATCH_S, f"no message once {most} octets are unacknowledged")
    line.acking = True
    line.ack()
    for job in jobs:
        await ground.result(job)
    return f"stopped near {most} octets, went on after each Ack"


@check("window.smaller", Rule.LANES, Need.WORK)
async def smaller(ground: Ground) -> str:
    """An Ack may make the window smaller."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect()))
    line.acking = False
    line.ack(messages=2)
    await ground.beat(line)
    before = line.acked
    jobs = await busy(ground, line, 4)

    def unacked() -> int:
        return len([seq for seq in seqs(line) if seq > before])

    await ground.until(lambda: unacked() >= 2, "two more messages")
    await ground.never(lambda: unacked() > 2, WATCH_S, "no more than 2 without an Ack")
    line.acking = True
    line.ack(messages=256)
    for job in jobs:
        await ground.result(job)
    return "two messages at a time once the Ack said so"


@check("slow.pauses", Rule.LANES, Need.WORK)
async def slow(ground: Ground) -> str:
    """Slow pauses the durable lane; heartbeats go on, and afterwards everything comes."""
    line = await ground.open()
    await ground.done(line, ground.job(ground.effect()))
    line.say(m.Slow(PAUSE_MS))
    await ground.beat(line)
    count = len(line.numbered())
    effect = ground.effect()
    job = ground.job(effect)
    ground.send(line, job)
    await ground.called(effect)
    paused = WATCH_S * 0.75
    await ground.never(lambda: len(line.numbered()) > count, paused, "no durable message while paused")
    await ground.beat(line)
    await ground.result(job)
    return f"silent for {PAUSE_MS} ms but for heartbeats, then the result came"


@check("numbers.unique", Rule.LANES, Need.WORK)
async def unique(ground: Ground) -> str:
    """A number is given once: no other message under it, in this session or a later one."""
    line = await ground.open(acking=False)
    first = await busy(ground, line, 2)
    for job in first:
        await ground.result(job)
    await ground.cut(line)
    again = await ground.open(watermark=line.acked)
    for job in await busy(ground, again, 2):
        await ground.result(job)
    seen: dict[int, m.RunnerEnvelope] = {}
    for one in (*line.numbered(), *again.numbered()):
        known = seen.setdefault(one.envelope.seq, one.envelope)
        demand(known == one.envelope, f"one message under number {one.envelope.seq}", f"{one} and another")
    return f"{len(seen)} numbers, each one message"
