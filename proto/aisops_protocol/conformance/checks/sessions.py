"""The session a runner names as its last: what tells its disk from an older copy of it."""

from __future__ import annotations

from aisops_protocol.conformance.ground import Ground, demand, skip_unless
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check
from aisops_protocol.limits import FEATURE_SESSION_EPOCH

KILLS = 3


def last_session(line: Line) -> int:
    """The session epoch that a stream's Hello names.

    Raises:
        Skipped: The runner does not have the feature.
    """
    skip_unless(line.greeting.feature_bits & FEATURE_SESSION_EPOCH, "the runner does not have feature 1")
    return line.greeting.last_session_epoch


def epoch_of(line: Line) -> int:
    """The epoch that a stream's Welcome gave."""
    return line.welcomed.session_epoch if line.welcomed else 0


async def first_word(ground: Ground, line: Line) -> None:
    """Wait until something was said after the Hello."""
    await ground.until(lambda: len(line.heard) > 1, "a first word in the session")


@check("session-epoch.none", Rule.JOB, Need.KILL)
async def none(ground: Ground) -> str:
    """A runner that never got a Welcome names no session, however often it has called."""
    for call in ("first", "second"):
        line = await ground.greeted()
        named = last_session(line)
        demand(named == 0, f"last_session_epoch 0 in the {call} Hello, before any Welcome", str(named))
        await ground.cut(line)
    return "0 in two Hellos before the first Welcome"


@check("session-epoch.named", Rule.JOB)
async def named(ground: Ground) -> str:
    """After a reconnect the Hello names the newest session by its epoch; one without a Welcome does not count."""
    line = await ground.open()
    await ground.beat(line)
    await ground.cut(line)
    epoch = epoch_of(line)
    for call in ("next Hello", "Hello after a stream without a Welcome"):
        line = await ground.greeted()
        came = last_session(line)
        demand(came == epoch, f"last_session_epoch {epoch} in the {call}", str(came))
        await ground.cut(line)
    return f"{epoch} in the next Hello, and still after a stream without a Welcome"


@check("session-epoch.on-disk", Rule.JOB, Need.KILL)
async def on_disk(ground: Ground) -> str:
    """Each session's epoch is on the disk before anything is said in it: kill -9 at the first word does not undo it."""
    line = await ground.open()
    for _ in range(KILLS):
        await first_word(ground, line)
        await ground.crash()
        epoch, line = epoch_of(line), await ground.open()
        came = last_session(line)
        demand(came == epoch, f"last_session_epoch {epoch} after kill -9 at the first word of that session", str(came))
    return f"killed {KILLS} times at the first word of a session, it named that session each time"
