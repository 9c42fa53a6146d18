"""Heartbeats, Pings, and noticing that Core has gone silent."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance.ground import Ground, demand
from aisops_protocol.conformance.registry import Need, Rule, check
from aisops_protocol.limits import HEARTBEAT_JITTER, SILENCE_S

INTERVAL_MS = 1_000
BEATS = 6
SPARE_S = 0.35
PROMPT_S = 2.0


@check("beat.first", Rule.LIVENESS)
async def first(ground: Ground) -> str:
    """A Heartbeat comes at once after the Welcome."""
    line = await ground.open(heartbeat_interval_ms=60_000)
    await ground.until(lambda: line.all(m.Heartbeat), "a Heartbeat at once", PROMPT_S)
    beat = next(one for one in line.heard if isinstance(one.envelope.body, m.Heartbeat))
    demand(beat.envelope.seq == 0, "it in the volatile lane", f"number {beat.envelope.seq}")
    return f"{(beat.at - line.heard[0].at) * 1000:.0f} ms after the Hello"


@check("beat.interval", Rule.LIVENESS)
async def interval(ground: Ground) -> str:
    """Heartbeats keep the Welcome's interval, within 20 %."""
    line = await ground.open(heartbeat_interval_ms=INTERVAL_MS)
    await ground.until(lambda: len(line.all(m.Heartbeat)) > BEATS, f"{BEATS + 1} heartbeats", BEATS * 2.5)
    at = [one.at for one in line.heard if isinstance(one.envelope.body, m.Heartbeat)][: BEATS + 1]
    mean = (at[-1] - at[0]) / BEATS
    least, most = (INTERVAL_MS / 1000 * (1 + sign * HEARTBEAT_JITTER) for sign in (-1, 1))
    demand(
        least - SPARE_S <= mean <= most + SPARE_S,
        f"{least:.1f} to {most:.1f} s between beats",
        f"{mean:.2f} s on average",
    )
    return f"{mean:.2f} s on average, asked for {INTERVAL_MS / 1000:.1f} s"


@check("beat.leases", Rule.LIVENESS, Need.WORK)
async def leases(ground: Ground) -> str:
    """A Heartbeat lists the leases still worked on, and no other."""
    line, effect, job = await ground.under_way()
    beat = await ground.beat(line)
    demand(job.lease_id in beat.leases, "the running job's lease", f"{len(beat.leases)} others")
    effect.release()
    await ground.result(job)
    beat = await ground.beat(line)
    demand(job.lease_id not in beat.leases, "no lease of a job that has ended", "its lease")
    return "listed while it ran, not after its end"


@check("beat.confirms", Rule.FROM_CORE)
async def confirms(ground: Ground) -> str:
    """A Heartbeat confirms the highest number of Core it has received."""
    line = await ground.open()
    await ground.beat(line)
    asked = line.core_seq + 1  # the next Ping
    beat = await ground.beat(line)
    demand(beat.core_ack >= asked, f"core_ack {asked} or more", str(beat.core_ack))
    demand(beat.core_ack <= line.core_seq, f"core_ack {line.core_seq} at most", str(beat.core_ack))
    return f"core_ack {beat.core_ack}"


@check("ping.answered", Rule.LIVENESS)
async def ping(ground: Ground) -> str:
    """A Ping is answered at once by a Heartbeat with its nonce."""
    line = await ground.open(heartbeat_interval_ms=60_000)
    await ground.beat(line)
    line.say(m.Ping(4711))
    await ground.until(lambda: line.all(m.Heartbeat, ping_nonce=4711), "a Heartbeat with nonce 4711", PROMPT_S)
    return "answered with its nonce"


@check("ping.busy", Rule.LIVENESS, Need.WORK)
async def busy(ground: Ground) -> str:
    """A Ping is answered in time while large results are on their way."""
    line = await ground.open(max_inflight_bytes=4_000_000)
    jobs = [ground.job(ground.effect(pad=200_000)) for _ in range(12)]
    ground.send(line, *jobs)
    line.say(m.Ping(815))
    await ground.until(lambda: line.all(m.Heartbeat, ping_nonce=815), "a Heartbeat with nonce 815", 2 * PROMPT_S)
    for job in jobs:
        await ground.result(job)
    return "answered with 2.4 MB of results under way"


@check("pong.unasked", Rule.LIVENESS)
async def unasked(ground: Ground) -> str:
    """A Pong that answers nothing is passed over."""
    line = await ground.open()
    line.say(m.Pong(1, 123_456))
    await ground.beat(line)
    return "passed over"


@check("silence.noticed", Rule.LIVENESS, apart=True, limit_s=120)
async def silence(ground: Ground) -> str:
    """After 45 s without a word from Core it hangs up and calls again."""
    line = await ground.open()
    await ground.beat(line)
    line.ponging = line.acking = False
    since = line.heard[-1].at
    await ground.left(line, "the stream ended for silence", SILENCE_S + 15)
    waited = line.over_at - since
    demand(waited >= SILENCE_S - 2, f"{SILENCE_S:.0f} s of patience", f"it hung up after {waited:.0f} s")
    await ground.greeted()
    return f"hung up after {waited:.0f} s, and called again"
