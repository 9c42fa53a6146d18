"""F4 and F5: sidecars killed in the middle of calls, and the Runner killed away from over them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path

from demo.program import wait_until
from demo.stage import Stage
from tests.chaos import processes
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import NOTHING, percentile
from tests.chaos.trial import Trial

PLUGINS = ("slack", "kakao", "witness")
RATE = 20.0
RUSH = 24
RESTART_S = 2.0
GONE_S = 2.0


def recorded(stage: Stage, plugin: str) -> int | None:
    """Process id of a plugin's sidecar, as the Runner has recorded it."""
    path = stage.home / "runner" / "plugins" / "run" / f"{plugin}.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        pid = int(json.loads(path.read_text())["pid"])
        if Path(f"/proc/{pid}").exists():
            return pid
    return None


def all_up(stage: Stage) -> None:
    """Wait until every plugin that has jobs has a process."""
    for plugin in PLUGINS:
        wait_until(lambda plugin=plugin: recorded(stage, plugin), f"a sidecar of {plugin}")  # type: ignore[misc]


def kill_sidecar(stage: Stage, plugin: str) -> float:
    """Kill a plugin's process; seconds until it has another."""
    victim = wait_until(lambda: recorded(stage, plugin), f"a sidecar of {plugin}")
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: (pid := recorded(stage, plugin)) and pid != victim, f"another sidecar of {plugin}")
    return time.monotonic() - began


def new_life(stage: Stage) -> None:
    """Stop the Runner as an operator does and start it: its memory of crashes is its own."""
    stage.runner.stop()
    stage.start_runner()
    all_up(stage)


def left_over(stage: Stage) -> str:
    """Orphans and zombies, in words, when they do not go away by themselves."""
    runner = stage.runner.pid

    def tidy() -> bool:
        orphans = [one for one in processes.sidecars(stage.home) if one.parent != runner]
        return not orphans and not processes.zombies(runner)

    try:
        wait_until(lambda: tidy() or None, "orphans and zombies going away", GONE_S)
    except Exception:  # noqa: BLE001 - the words matter
        orphans = [one.pid for one in processes.sidecars(stage.home) if one.parent != runner]
        return f"orphans {orphans}, zombies {[one.pid for one in processes.zombies(runner)]}"
    return ""


async def kill_sidecars(trial: Trial) -> None:
    """Kill each plugin's process in turn while it has calls, then give the Runner a new life.

    A third crash within the hour is quarantine, by design: so each plugin is killed once in each life.
    """
    again: list[float] = []
    async with trial.shared() as stage, trial.under_load(stage, rate=RATE) as load:
        await load.acknowledged(3)
        await asyncio.to_thread(all_up, stage)
        order: list[str] = []
        while trial.done < trial.runs:
            if not order:
                order = trial.rng.sample(PLUGINS, len(PLUGINS))
                if trial.done:
                    await asyncio.to_thread(new_life, stage)
            await asyncio.sleep(trial.rng.uniform(0.1, 0.6))
            await load.burst(RUSH)  # many calls at once: they travel in batches to plugins that take them
            plugin = order.pop()
            again.append(await asyncio.to_thread(kill_sidecar, stage, plugin))
            trial.step(plugin)
            if problem := await asyncio.to_thread(left_over, stage):
                trial.check(not problem, problem)
    trial.figures |= {"started again p50 s": round(percentile(again, 0.5), 2), "max": round(max(again), 2)}
    trial.check(max(again) < RESTART_S, f"a sidecar was started again only after {max(again):.1f} s")
    hit = trial.tally.recovered | trial.tally.uncertain
    trial.check(hit, "no kill met a call")


async def kill_host(trial: Trial) -> None:
    """Kill the Runner away from over its sidecars, count what is left of them, start it again."""
    gone: list[float] = []
    async with trial.shared() as stage, trial.under_load(stage) as load:
        await load.acknowledged(3)
        for _ in range(trial.runs):
            await asyncio.to_thread(all_up, stage)
            await asyncio.sleep(trial.rng.uniform(0, 0.5))
            began = time.monotonic()
            stage.runner.kill()
            await asyncio.to_thread(wait_until, lambda: not processes.sidecars(stage.home), "no sidecar left", 30)
            gone.append(time.monotonic() - began)
            await asyncio.to_thread(stage.start_runner)
            trial.step()
        log = stage.runner.log.read_text(errors="replace")
    trial.figures |= {"sidecars gone p50 s": round(percentile(gone, 0.5), 2), "max": round(max(gone), 2)}
    trial.check(max(gone) < GONE_S, f"a sidecar outlived the Runner by {max(gone):.1f} s")
    trial.check("ddress already in use" not in log, "the next start met an address in use")


FAULTS = (
    Fault(
        "F4",
        "kill -9 sidecar in a call",
        "SIGKILL to a plugin's process while it has calls.",
        "20 jobs/s to three plugins, 24 at once before each kill",
        f"one terminal state for each job; another process within {RESTART_S:.0f} s; 0 orphans, 0 zombies; {NOTHING}",
        kill_sidecars,
        short=9,
        full=500,
        unit="kills",
        shared=True,
    ),
    Fault(
        "F5",
        "kill -9 Runner over sidecars",
        "SIGKILL to the Runner; its sidecars are left alone.",
        "20 jobs/s to three plugins",
        f"0 sidecars after {GONE_S:.0f} s; the next start meets no conflict; {NOTHING}",
        kill_host,
        short=6,
        full=200,
        unit="kills",
        shared=True,
    ),
)
