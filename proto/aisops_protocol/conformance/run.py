"""Makes the checks, several at a time, and judges the frames of all of them.

A check that kills its runner, or waits long for it, has one of its own. The others share a few, each used by one check
at a time; what fails there is made again with a fresh runner, and that counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from aisops_protocol.conformance.findings import Finding, Verdict
from aisops_protocol.conformance.registry import Check, Need, every
from aisops_protocol.conformance.station import Settings, Station, Tally

__all__ = ["Settings", "examine"]

FIRST = "hello.first"
PLAIN = "job.runs"

Tell = Callable[[Finding], None]


async def examine(settings: Settings, chosen: Sequence[Check], tell: Tell) -> list[Finding]:
    """Make checks.

    Args:
        settings: How.
        chosen: Which; standing ones are judged by what the others bring, or by an ordinary job when there are none.
        tell: Called with each finding as it comes.

    Returns:
        The findings, in the order of the registry.

    Raises:
        OSError: An address cannot be had, or a TLS file cannot be read.
    """
    known = every()
    scripted = [check for check in chosen if check.script is not None]
    scripted = scripted or [check for check in known if check.id == PLAIN]
    tally = Tally()
    made: dict[str, Finding] = {}

    def note(finding: Finding) -> None:
        made[finding.check.id] = finding
        if finding.check in chosen:
            tell(finding)

    if settings.launch is None:
        await _attached(settings, scripted, tally, note)
    else:
        await _started(settings, scripted, tally, note)
    for check in chosen:
        if check.script is None:
            note(_judged(check, tally))
    return [made[check.id] for check in known if check in chosen]


async def _attached(settings: Settings, checks: Sequence[Check], tally: Tally, note: Tell) -> None:
    """One runner, which somebody else started, goes through all checks one after the other."""
    async with Station(settings, tally) as station:
        for check in checks:
            wanting = next((need for need in (Need.KILL, Need.OWN) if need in check.needs), None)
            if wanting is not None:
                note(Finding(check, Verdict.SKIPPED, wanting.value))
            else:
                note(await station.make(check))


async def _started(settings: Settings, checks: Sequence[Check], tally: Tally, note: Tell) -> None:
    """The kit starts the runners. When one does not even connect, nothing else is tried."""
    first = next(check for check in every() if check.id == FIRST)
    opening = await _fresh(settings, first, tally)
    if first in checks:
        note(opening)
    rest = [check for check in checks if check is not first]
    if opening.verdict is not Verdict.PASSED:
        for check in rest:
            note(replace(opening, check=check, verdict=Verdict.SKIPPED if first in checks else opening.verdict))
        return
    waiting = deque(sorted(rest, key=lambda check: (not check.apart, -check.limit_s)))  # the long ones first
    async with asyncio.TaskGroup() as group:
        for _ in range(min(settings.at_once, len(waiting))):
            group.create_task(_work(settings, waiting, tally, note))


async def _work(settings: Settings, waiting: deque[Check], tally: Tally, note: Tell) -> None:
    """Make checks while there are any."""
    while waiting and waiting[0].apart:
        note(await _fresh(settings, waiting.popleft(), tally))
    while waiting:
        waiting = await _shared(settings, waiting, tally, note)


async def _shared(settings: Settings, waiting: deque[Check], tally: Tally, note: Tell) -> deque[Check]:
    """Make checks with one runner until one fails; that one is made again with a fresh runner."""
    async with Station(settings, tally) as station:
        while waiting:
            check = waiting.popleft()
            found = await station.make(check)
            if found.verdict in {Verdict.PASSED, Verdict.SKIPPED}:
                note(found)
                continue
            again = await _fresh(settings, check, tally)
            if again.verdict is Verdict.PASSED:
                was = f"{again.seen}; on a runner that had other checks behind it: {found.seen}"
                again = replace(again, seen=was)
            note(again)
            break
    return waiting


async def _fresh(settings: Settings, check: Check, tally: Tally) -> Finding:
    """Make one check with a runner of its own, of which nothing is left afterwards."""
    async with Station(settings, tally) as station:
        return await station.make(check)


def _judged(check: Check, tally: Tally) -> Finding:
    """A standing check, from what all others brought."""
    found = [breach for breach in tally.breaches if breach.code in check.codes]
    if found:
        expected = f"no {' or '.join(sorted(check.codes))} in {tally.frames} frames"
        return Finding(check, Verdict.FAILED, f"{found[0]} ({len(found)} in all)", expected)
    if not tally.frames:
        return Finding(check, Verdict.SKIPPED, "no frame came")
    return Finding(check, Verdict.PASSED, f"{tally.frames} frames of {tally.streams} streams")
