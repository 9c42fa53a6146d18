"""A newer Core inside v1: what may be ignored, what may not, and values that are not known."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance import wire
from aisops_protocol.conformance.ground import IDEMPOTENT, Ground, demand, told
from aisops_protocol.conformance.registry import Need, Rule, check

JOB_ARM, CANCEL_ARM, PING_ARM = 12, 13, 16
EFFECT_CLASS_FIELD, MODE_FIELD = 8, 3
NEWER = 77


@check("newer.ignored", Rule.CHANGE)
async def ignored(ground: Ground) -> str:
    """A message it does not know is counted and ignored."""
    line = await ground.open()
    number = line.number()
    line.raw(wire.frame_of(line.frame(), wire.unknown(number, critical=False)))
    beat = await ground.beat(line)
    demand(beat.core_ack > number, f"it counted: core_ack above {number}", str(beat.core_ack))
    return f"ignored and counted (core_ack {beat.core_ack})"


@check("newer.critical", Rule.CHANGE)
async def critical(ground: Ground) -> str:
    """A message it does not know and that is marked critical ends the stream."""
    line = await ground.open()
    await ground.beat(line)
    line.raw(wire.frame_of(line.frame(), wire.unknown(line.number(), critical=True)))
    await ground.left(line, "the stream ended for a critical message it does not know")
    return "ended the stream"


@check("newer.field", Rule.CHANGE)
async def field(ground: Ground) -> str:
    """A field it does not know changes nothing."""
    line = await ground.open()
    line.newer(m.Ping(31_337), PING_ARM, wire.octets_field(wire.UNKNOWN_FIELD, b"from a newer Core"))
    await ground.until(lambda: line.all(m.Heartbeat, ping_nonce=31_337), "the Ping answered all the same")
    return "answered a Ping with an unknown field"


@check("newer.cancel-mode", Rule.CHANGE, Need.WORK)
async def cancel_mode(ground: Ground) -> str:
    """An unknown CancelMode is read as REQUEST."""
    line, _, job = await ground.under_way()
    line.newer(m.JobCancel(job.job_id, job.lease_id, grace_ms=1_000), CANCEL_ARM, wire.enum_value(MODE_FIELD, NEWER))
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.CANCELLED, "CANCELLED", told(result))
    return "stopped the job"


@check("newer.effect-class", Rule.CHANGE, Need.KILL, Need.WORK)
async def effect_class(ground: Ground) -> str:
    """An unknown effect class is read as at most once: after kill -9 UNCERTAIN, never called again."""
    line = await ground.open()
    effect = ground.effect(held=True)
    job = ground.job(effect, IDEMPOTENT)
    ground.lease(job)
    line.newer(job, JOB_ARM, wire.enum_value(EFFECT_CLASS_FIELD, NEWER))
    await ground.called(effect)
    await ground.crash()
    effect.release()
    await ground.open()
    result = await ground.result(job)
    demand(result.status is m.ResultStatus.UNCERTAIN, "UNCERTAIN", told(result))
    demand(len(effect.calls) == 1, "no second call", f"{len(effect.calls)} calls")
    return "UNCERTAIN after kill -9, one call"


@check("newer.offer", Rule.FROM_CORE)
async def offer(ground: Ground) -> str:
    """A credential it cannot use is answered, and the session goes on."""
    line = await ground.open()
    line.say(m.CredentialOffer("offer-1", "a_kind_of_a_newer_core", b"opaque", 1))
    said = await ground.until(lambda: line.all(m.CredentialReply, offer_id="offer-1"), "a CredentialReply")
    await ground.beat(line)
    return f"accepted: {said[0].accepted}"
