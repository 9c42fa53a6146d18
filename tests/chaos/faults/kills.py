"""F1–F3: kill -9 of Runner and Core under load, in random order, a random moment after everything came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from demo.stage import Stage
from tests.chaos.fault import Fault
from tests.chaos.trial import Trial

PAUSE_S = 0.7
BACK_P99_S = {"runner": 5.0, "core": 30.0}


def kill(stage: Stage, victims: Sequence[str]) -> None:
    """End programs as a crash would, start them again in another order, and wait for the Runner's connection."""
    for name in victims:
        getattr(stage, name).kill()
    for name in reversed(victims):
        if name == "core":
            stage.start_core()
        else:
            stage.runner.start()
    stage.runner.wait_for(stage.connected_runner, "the Runner's return", 60)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def torment(trial: Trial, choose: Callable[[Trial], Sequence[str]], *, lines: bool = False) -> None:
    """Kill `runs` times under load; with `lines`, no line of a log may be missing either."""
    back: list[float] = []
    slowest = 0.0
    async with trial.shared() as stage, trial.under_load(stage, lines=lines) as load:
        await load.acknowledged(1)
        for _ in range(trial.runs):
            await asyncio.sleep(trial.rng.uniform(0, PAUSE_S))
            victims = choose(trial)
            slowest = max(slowest, *(BACK_P99_S[name] for name in victims))
            began = time.monotonic()
            await asyncio.to_thread(kill, stage, victims)
            back.append(time.monotonic() - began)
            trial.step(" and ".join(victims))
    trial.figures |= {"back online p50 s": round(percentile(back, 0.5), 2), "p99": round(percentile(back, 0.99), 2)}
    trial.check(percentile(back, 0.99) < slowest, f"back online only after {max(back):.1f} s")


def only(victim: str) -> Callable[[Trial], Sequence[str]]:
    """Always the same victim."""
    return lambda trial: (victim,)


def both(trial: Trial) -> Sequence[str]:
    """Both, in random order; they are started in the other one."""
    victims = ["runner", "core"]
    trial.rng.shuffle(victims)
    return victims


LOAD = "20 jobs/s: idempotent, at most once, and with log lines"
NOTHING = "lost 0, duplicated 0, unexpected 0; uncertain only at-most-once jobs"
FAULTS = (
    Fault(
        "F1",
        "kill -9 Runner",
        "SIGKILL to the Runner at a random instant.",
        LOAD,
        f"{NOTHING}; back online p99 < 5 s",
        lambda trial: torment(trial, only("runner")),
        short=20,
        full=1000,
        unit="kills",
        shared=True,
    ),
    Fault(
        "F2",
        "kill -9 Core",
        "SIGKILL to Core at a random instant.",
        LOAD,
        f"{NOTHING}; back online < 30 s",
        lambda trial: torment(trial, only("core"), lines=True),
        short=15,
        full=500,
        unit="kills",
        shared=True,
    ),
    Fault(
        "F3",
        "kill -9 both",
        "SIGKILL to both in random order; started again in the other one.",
        LOAD,
        f"{NOTHING}; back online < 30 s",
        lambda trial: torment(trial, both),
        short=10,
        full=500,
        unit="kills",
        shared=True,
    ),
)
