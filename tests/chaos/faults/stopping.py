"""F26: SIGTERM to Runner and Core at any moment, while they start included."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence

from demo.program import Program
from demo.stage import Stage
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import LOAD, percentile
from tests.chaos.trial import Trial

PATIENCE_S = 45.0
START_UP_S = 1.5
UNPREPARED = -signal.SIGTERM
"""How a program ends that is told to stop before it has begun to listen for that; nothing was under way."""


def terminate(program: Program) -> tuple[int, float]:
    """Ask a program to stop; its exit code and how long it took."""
    began = time.monotonic()
    return program.stop(2 * PATIENCE_S), time.monotonic() - began


async def stop_at_once(programs: Sequence[Program]) -> list[tuple[int, float]]:
    """Ask several to stop at the same time."""
    return list(await asyncio.gather(*(asyncio.to_thread(terminate, program) for program in programs)))


def bring_up(stage: Stage) -> None:
    """Start what is not running and wait for the connection."""
    if not stage.core.running():
        stage.start_core()
    if not stage.runner.running():
        stage.runner.start()
    stage.runner.wait_for(stage.connected_runner, "the Runner's return", 60)


async def terminate_everything(trial: Trial) -> None:
    """SIGTERM to one or both, every third time while they start."""
    took: list[float] = []
    async with trial.shared() as stage, trial.under_load(stage) as load:
        await load.acknowledged(3)
        for turn in range(trial.runs):
            names = trial.rng.choice((("runner",), ("core",), ("core", "runner")))
            programs = [getattr(stage, name) for name in names]
            await asyncio.sleep(trial.rng.uniform(0, 0.7))
            ends = await stop_at_once(programs)
            if turn % 3 == 2:
                for program in programs:
                    program.start()
                await asyncio.sleep(trial.rng.uniform(0, START_UP_S))
                early = await stop_at_once(programs)
                trial.check(all(code in {0, UNPREPARED} for code, _ in early), f"SIGTERM at start: exit codes {early}")
                took += [seconds for _, seconds in early]
            trial.check(all(code == 0 for code, _ in ends), f"SIGTERM to {names}: exit codes {ends}")
            took += [seconds for _, seconds in ends]
            await asyncio.to_thread(bring_up, stage)
            trial.step(" and ".join(names))
    trial.figures |= {"exit p50 s": round(percentile(took, 0.5), 2), "max": round(max(took), 2)}
    trial.check(max(took) <= PATIENCE_S, f"a program took {max(took):.1f} s to stop")
    trial.check(not trial.tally.uncertain, "an orderly stop left jobs uncertain")


FAULTS = (
    Fault(
        "F26",
        "SIGTERM during everything",
        "SIGTERM to Runner, Core or both at a random instant, also while they start.",
        LOAD,
        f"exit code 0 within {PATIENCE_S:.0f} s; lost 0, duplicated 0, uncertain 0",
        terminate_everything,
        short=9,
        full=300,
        unit="stops",
        shared=True,
    ),
)
