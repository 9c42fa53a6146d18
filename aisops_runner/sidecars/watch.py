"""Watching one run of a sidecar until something ends it: its exit, silence, or idleness.

On the way it notes when the plugin cannot serve its provider, which is no reason to end it. What an end means for the
plugin is for the `Sidecar` to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aisops_runner.sidecars.run import Run
from aisops_runner.sidecars.settings import SupervisorSettings


async def watch(
    run: Run,
    settings: SupervisorSettings,
    *,
    idle_for: Callable[[], float],
    note: Callable[[str], None],
) -> str | None:
    """Look at a run again and again: often after its start, then as often as the settings say.

    Args:
        run: Up, and answering.
        settings: How often, and how much silence and idleness is let pass.
        idle_for: Seconds since it was last of use; 0 while it is.
        note: Told, at every look it answers, why it cannot serve its provider; empty when it can.

    Returns:
        Why the run failed; None when it is sound and has been idle for long enough to be stopped.
    """
    misses = 0
    pause_s = settings.degraded_poll_s
    while True:
        await asyncio.wait((run.process.exited,), timeout=_until_next_look_s(settings, pause_s, idle_for()))
        if run.process.exited.done():
            return run.process.exit_reason()
        if idle_for() >= settings.idle_stop_s and not settings.prewarm:
            return None
        run.process.tell_dropped()
        misses = 0 if await run.client.healthy() else misses + 1
        if misses >= settings.liveness_misses:
            return f"did not answer {misses} health checks in a row"
        if not misses:
            note(await run.client.readiness())
        pause_s = min(pause_s * 2, settings.liveness_s)


def _until_next_look_s(settings: SupervisorSettings, pause_s: float, idle_s: float) -> float:
    """Sooner after a start, and when idleness is about to be reached."""
    if settings.prewarm:
        return min(pause_s, settings.liveness_s)
    return min(pause_s, settings.liveness_s, max(0.01, settings.idle_stop_s - idle_s))
