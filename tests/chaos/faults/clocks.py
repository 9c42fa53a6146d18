"""F17: the wall clock of Runner or Core, or of both, is set while jobs are under way."""

from __future__ import annotations

import asyncio

from demo.stage import ROOT
from tests.chaos.fault import Fault
from tests.chaos.injection.clock import LIBFAKETIME, WallClock
from tests.chaos.network import reconnects
from tests.chaos.trial import Trial

JUMPS_S = {"+1 h": 3600, "-1 h": -3600, "-10 y": -10 * 365 * 86400}
PACE_S = 0.4
RATE = 5.0  # what the slots of one Runner can do of calls that take so long
PAUSE_S = (0.6, 1.4)


async def jumps(trial: Trial) -> None:
    """Set a clock wrong in the middle of calls, and right again in the middle of others."""
    clocks = {name: WallClock(trial.home / f"clock-{name}") for name in ("runner", "core")}
    async with trial.stage(
        runner_environment={"PYTHONPATH": clocks["runner"].search},
        core_environment={"PYTHONPATH": f"{clocks['core'].search}:{ROOT}"},
    ) as stage:
        await asyncio.to_thread(stage.pace_providers, PACE_S)
        async with trial.under_load(stage, rate=RATE) as load:
            await load.acknowledged(10)
            lost = reconnects(stage)
            for _ in range(trial.runs):
                name = trial.rng.choice(list(JUMPS_S))
                victims = trial.rng.choice((("runner",), ("core",), ("runner", "core")))
                for ahead_s in (JUMPS_S[name], 0):
                    for victim in victims:
                        clocks[victim].set(ahead_s)
                    await asyncio.sleep(trial.rng.uniform(*PAUSE_S))
                trial.step(f"{name} of {' and '.join(victims)}")
            trial.check(reconnects(stage) == lost, "a session was lost")
    # A second call of one attempt is no second lease: the sidecar refused a signature older than it may be.
    again = sorted(key for key, job in trial.tally.jobs.items() if job["attempt"] > 1)
    trial.check(not again, f"{len(again)} jobs were given out twice, {again[:3]}: a lease has expired wrongly")
    trial.check(not trial.tally.uncertain, f"uncertain: {sorted(trial.tally.uncertain)[:3]}")


FAULTS = (
    Fault(
        "F17",
        "clock jumps",
        "The wall clock of Runner, Core or both jumps by +1 h, -1 h or -10 years, and a second later back.",
        "5 jobs/s: idempotent, at most once, and with log lines; calls of 0.8 s, so that every jump falls into leases",
        "lost 0, duplicated 0; no lease expires, no session is lost",
        jumps,
        short=8,
        full=100,
        unit="jumps",
        needs=(LIBFAKETIME,),
    ),
)
