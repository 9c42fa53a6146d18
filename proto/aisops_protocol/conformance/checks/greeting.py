"""How a runner introduces itself."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.conformance.ground import CAPABILITIES, CONNECT_S, SOON_S, Ground, demand, skip_unless
from aisops_protocol.conformance.registry import Need, Rule, check
from aisops_protocol.limits import HELLO_TIMEOUT_S

WATCH_S = 2.0
LATE_S = 10.0


@check("hello.first", Rule.SESSION)
async def first(ground: Ground) -> str:
    """The stream begins with a Hello, within 10 s and inside every limit."""
    line = await ground.call()
    await ground.until(lambda: line.hello, "a well-formed Hello", HELLO_TIMEOUT_S)
    demand(isinstance(line.heard[0].envelope.body, m.Hello), "the Hello first", line.trace())
    return f"after {line.heard[0].at - line.opened_at:.2f} s, version {line.greeting.agent_version}"


@check("hello.credential", Rule.STREAM)
async def credential(ground: Ground) -> str:
    """The call's metadata carries `authorization: Bearer <runner token>`."""
    skip_unless(ground.token, "the kit was not told the token (--token-file)")
    line = await ground.call()
    sent = line.metadata.get("authorization", "")
    came = "another token" if sent else "no authorization"
    demand(sent == f"Bearer {ground.token}", "the token it was given", came)
    return "the token it was given"


@check("hello.capabilities", Rule.JOB)
async def capabilities(ground: Ground) -> str:
    """The Hello offers the two test capabilities with their effect classes."""
    line = await ground.greeted()
    offered = {one.name: one.effect_class for one in (line.greeting.capabilities)}
    if not CAPABILITIES.keys() <= offered.keys():  # it may greet again once its plugins have described themselves
        ground.welcome(line)
        line = await ground.greeted(SOON_S)
        offered = {one.name: one.effect_class for one in (line.greeting.capabilities)}
    for name, effect in CAPABILITIES.items():
        came = f"{name} {offered[name].name}" if name in offered else f"only {', '.join(sorted(offered)) or 'none'}"
        demand(offered.get(name) is effect, f"{name} offered as {effect.name}", came)
    return ", ".join(f"{name} {effect.name}" for name, effect in CAPABILITIES.items())


@check("hello.alone", Rule.SESSION, Need.WORK)
async def alone(ground: Ground) -> str:
    """Nothing goes ahead of the Welcome, though the outbox is full."""
    line = await ground.open(acking=False)
    await ground.done(line, ground.job(ground.effect()))
    await ground.cut(line)
    line = await ground.greeted()
    await ground.never(lambda: len(line.heard) > 1, WATCH_S, f"silence for {WATCH_S:.0f} s, until Welcome")
    ground.welcome(line)
    await ground.until(line.numbered, "the outbox after the Welcome")
    return f"{line.heard[1]} and what follows came after the Welcome"


@check("hello.timeout", Rule.SESSION, apart=True, limit_s=75)
async def timeout(ground: Ground) -> str:
    """Without an answer within 10 s it hangs up and tries again."""
    line = await ground.greeted()
    await ground.left(line, "the stream ended for want of a Welcome", HELLO_TIMEOUT_S + LATE_S)
    waited = line.over_at - line.heard[0].at
    demand(waited >= HELLO_TIMEOUT_S - 1, "10 s of patience", f"it hung up after {waited:.1f} s")
    await ground.greeted(CONNECT_S)
    return f"hung up after {waited:.1f} s, and called again"


@check("hello.version", Rule.SESSION)
async def version(ground: Ground) -> str:
    """A version outside of its range is not spoken: it ends the stream."""
    line = await ground.greeted()
    top = line.greeting.protocol_max
    ground.welcome(line, protocol=top + 1)
    await ground.left(line, f"the stream ended, since version {top + 1} was asked for")
    demand(len(line.heard) == 1, "nothing more said", line.trace())
    return f"ended the stream when asked for version {top + 1}"


@check("hello.instance", Rule.SESSION)
async def instance(ground: Ground) -> str:
    """The instance id stays while the process lives."""
    line = await ground.open()
    await ground.cut(line)
    again = await ground.open()
    demand(line.greeting.instance_id == again.greeting.instance_id, "the same instance_id after a reconnect", "another")
    return "the same after a reconnect"


@check("hello.restart", Rule.SESSION, Need.KILL)
async def restart(ground: Ground) -> str:
    """A restarted process draws another instance id and keeps its journal id."""
    line = await ground.open()
    await ground.crash()
    again = await ground.open()
    demand(line.greeting.instance_id != again.greeting.instance_id, "another instance_id after kill -9", "the same")
    demand(line.greeting.journal_id == again.greeting.journal_id, "the same journal_id after kill -9", "another")
    return "another instance, the same journal"


@check("hello.held", Rule.SESSION, Need.WORK)
async def held(ground: Ground) -> str:
    """The Hello lists the jobs it holds, with lease, attempt and phase."""
    line = await ground.open(acking=False)
    effect = ground.effect(held=True)
    running, ended = ground.job(effect, attempt=3), ground.job(ground.effect())
    ground.send(line, running)
    await ground.called(effect)
    await ground.done(line, ended)
    await ground.cut(line)
    line = await ground.open()
    found = {one.job_id: one for one in (line.greeting.held_jobs)}
    for job, phase in ((running, m.JobPhase.STARTED), (ended, m.JobPhase.DONE)):
        wanted = m.HeldJob(job.job_id, job.lease_id, job.attempt, phase)
        demand(found.get(job.job_id) == wanted, f"{job.job_id} held, {phase.name}", f"{found.get(job.job_id)}")
    effect.release()
    await ground.result(running)
    return "a running job as STARTED, one whose result is not acknowledged as DONE"
