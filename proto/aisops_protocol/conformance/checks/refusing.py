"""What a runner does when Core will not have it: which words it waits how long for."""

from __future__ import annotations

import time

from aisops_protocol import messages as m
from aisops_protocol.conformance.ground import Ground, demand
from aisops_protocol.conformance.line import End
from aisops_protocol.conformance.registry import Need, Rule, check
from aisops_protocol.errors import REASON_METADATA_KEY, RETRY_AFTER_METADATA_KEY, Refusal

SLOW_S = 60.0
WATCH_S = 62.0
AFTER_MS = 4_000
SPARE_S = 0.25
BACK_S = 30.0
BACK_OFF_S = 60.0


def refusal(word: Refusal, status: str, retry_after_ms: int = 0) -> End:
    """An RPC that Core ends instead of saying Welcome."""
    after = ((RETRY_AFTER_METADATA_KEY, str(retry_after_ms)),) if retry_after_ms else ()
    return End(status, "refused by the conformance kit", ((REASON_METADATA_KEY, word.value), *after))


async def refused(ground: Ground, end: End) -> float:
    """Let the runner in once, cut it off, refuse it once; when that was, in monotonic seconds."""
    line = await ground.open()
    await ground.beat(line)
    calls = len(ground.core.calls)
    ground.core.refusal = end
    await ground.cut(line)
    await ground.until(lambda: len(ground.core.calls) > calls, "another call after the cut", BACK_S)
    ground.core.refusal = None
    return ground.core.calls[-1]


async def back(ground: Ground, since: float, at_least_s: float, within_s: float) -> float:
    """Wait for the next call, which must not come too early; seconds since the refusal."""
    await ground.greeted(within_s)
    waited = ground.core.calls[-1] - since
    demand(waited >= at_least_s - SPARE_S, f"no call for {at_least_s:.0f} s", f"a call after {waited:.1f} s")
    return waited


@check("refusal.overloaded", Rule.ENDING, apart=True, limit_s=120)
async def overloaded(ground: Ground) -> str:
    """OVERLOADED: it comes back with back-off, after aisops-retry-after-ms and not before."""
    since = await refused(ground, refusal(Refusal.OVERLOADED, "UNAVAILABLE", AFTER_MS))
    waited = await back(ground, since, AFTER_MS / 1000, BACK_OFF_S)
    return f"asked to wait {AFTER_MS / 1000:.0f} s, it came back after {waited:.1f} s"


@check("refusal.duplicate", Rule.ENDING, apart=True, limit_s=120)
async def duplicate(ground: Ground) -> str:
    """DUPLICATE_INSTANCE: it comes back with back-off."""
    since = await refused(ground, refusal(Refusal.DUPLICATE_INSTANCE, "ALREADY_EXISTS"))
    waited = await back(ground, since, 0, BACK_OFF_S)
    return f"came back after {waited:.1f} s"


@check("refusal.unauthenticated", Rule.ENDING, apart=True, limit_s=180)
async def unauthenticated(ground: Ground) -> str:
    """UNAUTHENTICATED: it waits a minute at least, and does come back."""
    since = await refused(ground, refusal(Refusal.UNAUTHENTICATED, "UNAUTHENTICATED"))
    waited = await back(ground, since, SLOW_S, 2 * SLOW_S)
    return f"came back after {waited:.1f} s"


@check("refusal.revoked", Rule.ENDING, Need.OWN, apart=True, limit_s=150)
async def revoked(ground: Ground) -> str:
    """REVOKED: it waits far longer than a minute."""
    since = await refused(ground, refusal(Refusal.REVOKED, "PERMISSION_DENIED"))
    calls = len(ground.core.calls)
    await ground.never(
        lambda: len(ground.core.calls) > calls, WATCH_S, f"no call for {WATCH_S:.0f} s (the rule: 15 min)"
    )
    return f"no call for {time.monotonic() - since:.0f} s"


@check("goodbye.retry-after", Rule.ENDING, apart=True, limit_s=120)
async def retry_after(ground: Ground) -> str:
    """A CoreGoodbye's retry_after_ms is kept."""
    line = await ground.open()
    await ground.beat(line)
    line.say(m.CoreGoodbye(Refusal.OVERLOADED, "the conformance kit says so", AFTER_MS))
    line.end(refusal(Refusal.OVERLOADED, "UNAVAILABLE", AFTER_MS), after_saying=True)
    since = time.monotonic()
    await ground.until(lambda: line.over, "the end of the stream")
    waited = await back(ground, since, AFTER_MS / 1000, BACK_OFF_S)
    return f"asked to wait {AFTER_MS / 1000:.0f} s, it came back after {waited:.1f} s"
