"""What holds of every frame, whatever a check is about; and what a runner does when Core's frames are wrong."""

from __future__ import annotations

from dataclasses import replace

from aisops_protocol import messages as m
from aisops_protocol.codec import encode_core_frame
from aisops_protocol.conformance.ground import Ground, demand
from aisops_protocol.conformance.referee import TWO_SESSIONS
from aisops_protocol.conformance.registry import Need, Rule, check, standing
from aisops_protocol.errors import Code

standing(
    "frames.identity", "Every frame names tenant, Runner and, from the Welcome on, session", Rule.STREAM,
    Code.IDENTITY_MISMATCH,
)  # fmt: skip
standing("frames.valid", "Every field is inside its limit", Rule.SIZES, Code.INVALID, Code.TOO_LARGE)
standing(
    "frames.in-turn", "Only what the state allows is said, each in its lane", Rule.SESSION, Code.UNEXPECTED_MESSAGE
)
standing("numbers.no-holes", "Durable messages are numbered one by one, none is missing", Rule.LANES, Code.SEQ_GAP)
standing("window.never-exceeded", "No more is unacknowledged than the window takes", Rule.LANES, Code.WINDOW_EXCEEDED)
standing("session.single", "There is one stream at a time", Rule.STREAM, TWO_SESSIONS)


@check("core.foreign-runner", Rule.STREAM, Need.WORK, apart=True)
async def foreign_runner(ground: Ground) -> str:
    """A frame that names another Runner ends the stream; nothing in it is done."""
    line = await ground.open()
    effect = ground.effect()
    frame = line.frame(m.CoreEnvelope(ground.job(effect), line.number()))
    line.raw(encode_core_frame(replace(frame, runner_id="somebody-else")))
    await ground.left(line, "the stream ended for a frame in another's name")
    demand(not effect.calls, "the job in it not done", "it was done")
    return "ended the stream; the job in the frame was not done"


@check("core.foreign-session", Rule.STREAM, Need.WORK, apart=True)
async def foreign_session(ground: Ground) -> str:
    """A frame of another session ends the stream; nothing in it is done."""
    line = await ground.open()
    effect = ground.effect()
    frame = line.frame(m.CoreEnvelope(ground.job(effect), line.number()))
    line.raw(encode_core_frame(replace(frame, session_id=b"\x5a" * 16)))
    await ground.left(line, "the stream ended for a frame of another session")
    demand(not effect.calls, "the job in it not done", "it was done")
    return "ended the stream; the job in the frame was not done"


@check("core.missing-number", Rule.FROM_CORE)
async def missing_number(ground: Ground) -> str:
    """A hole in Core's numbers ends the session."""
    line = await ground.open()
    line.number()
    line.say(m.Ping(7))
    await ground.left(line, "the stream ended for a missing message of Core")
    return "ended the stream"


@check("core.repeated-number", Rule.FROM_CORE)
async def repeated_number(ground: Ground) -> str:
    """A repeated number of Core is passed over."""
    line = await ground.open()
    await ground.beat(line)
    line.raw(encode_core_frame(line.frame(m.CoreEnvelope(m.Ping(99), line.core_seq))))
    await ground.beat(line)
    demand(not line.all(m.Heartbeat, ping_nonce=99), "no answer to a repeated message", "it was answered")
    return "passed over, and the session went on"
