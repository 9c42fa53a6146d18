"""F10: Runner or Core stopped by SIGSTOP for longer than a lease and its grace, with jobs under way."""

from __future__ import annotations

import asyncio
import os
import signal

from demo.stage import Stage
from tests.chaos import oracle
from tests.chaos.fault import Fault
from tests.chaos.ground import another_runner
from tests.chaos.trial import Trial

LEASE_S, GRACE_S = 2.0, 2.0
CORE_LINES = (f"lease_s = {LEASE_S}", f"reconnect_grace_s = {GRACE_S}", "heartbeat_s = 0.5")
PACE_S = 0.3
RATE = 10.0


async def freeze(trial: Trial, pid: int) -> None:
    """Stop a process for longer than its leases live."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(LEASE_S + GRACE_S + trial.rng.uniform(1.5, 3.0))
    finally:
        os.kill(pid, signal.SIGCONT)


async def freeze_in_turn(trial: Trial) -> None:
    """Freeze the Runner and Core in turn, while a second Runner is there to be given what the first one holds."""
    async with trial.stage(core_lines=CORE_LINES) as stage, another_runner(stage, "second") as second:
        await asyncio.to_thread(stage.pace_providers, PACE_S)
        async with trial.under_load(stage, rate=RATE) as load:
            await load.acknowledged(20)
            for turn in range(trial.runs):
                victim = "core" if turn % 2 else trial.rng.choice(("runner", "second"))
                await freeze(trial, _pid(stage, second, victim))
                await asyncio.sleep(trial.rng.uniform(0.5, 1.5))
                trial.step(victim)
        late = await asyncio.to_thread(oracle.late_results, stage, load.prefix)
    trial.figures |= {"late results": sum(late.values()), "jobs with one": len(late)}
    trial.check(late, "no lease was lost: nothing was tried")
    strangers = [key for key in late if trial.tally.jobs[key]["state"] not in {"succeeded", "uncertain"}]
    trial.check(not strangers, f"a late result stands beside another end: {strangers[:3]}")


def _pid(stage: Stage, second: Stage, victim: str) -> int:
    programs = {"core": stage.core, "runner": stage.runner, "second": second.runner}
    return programs[victim].pid


FAULTS = (
    Fault(
        "F10",
        "SIGSTOP beyond the lease",
        "Runner or Core is frozen for longer than lease and grace, with calls under way; a second Runner is connected.",
        "10 jobs/s, calls of 0.6 s",
        "no second effect; a result under a lost lease is kept as late; uncertain only at-most-once jobs",
        freeze_in_turn,
        short=4,
        full=100,
        unit="freezes",
    ),
)
