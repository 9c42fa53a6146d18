"""F12: the Runner's data folder is copied; both copies are started, then an old copy is put back in its place."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from typing import Any

from aisops_runner.control.client import ask
from aisops_runner.errors import RunnerError
from demo.program import StageError, get_text, wait_until
from demo.stage import Stage
from tests.chaos import oracle
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import NOTHING
from tests.chaos.ground import build
from tests.chaos.load import Load
from tests.chaos.trial import Trial
from tests.chaos.witness import CAPABILITY

FOUND_S = 10.0
PACE_S = 0.2
LONG_S, LONG_JOBS, LONG_PATIENCE_S = 6.0, 4, 45.0
BACKLOG = 40
"""Submitted at once before the copy is made: more than there are slots, so that some jobs wait in the journal."""


def clone_of(stage: Stage, name: str) -> Stage:
    """A second machine with a copy of the Runner's folder, and the same name and token."""
    clone = build(stage.home / name, runner_lines=stage.runner_lines)
    text = stage.runner_config.read_text().replace(f'"{stage.home}/runner"', f'"{clone.home}/runner"')
    clone.runner_config.touch(mode=0o600)
    clone.runner_config.write_text(text)
    copy_folder(stage, clone)
    return clone


def copy_folder(source: Stage, target: Stage) -> None:
    """Make one Runner's folder what another's is; neither may run."""
    shutil.rmtree(target.home / "runner", ignore_errors=True)
    skip = shutil.ignore_patterns("control.sock", "run")
    shutil.copytree(source.home / "runner", target.home / "runner", ignore=skip)


def uplink(stage: Stage) -> dict[str, Any]:
    """A Runner's own account of its connection; empty while it does not answer."""
    with contextlib.suppress(RunnerError):
        return dict(ask(stage.home / "runner", "status")["core"])
    return {}


def connected(stage: Stage) -> bool:
    """Whether the Runner itself says that it is connected."""
    return uplink(stage).get("state") == "connected"


def running(stage: Stage) -> int | None:
    """How many calls the Runner has under way; None while it does not answer."""
    with contextlib.suppress(RunnerError):
        return int(ask(stage.home / "runner", "status")["jobs"]["running"])
    return None


def held(stage: Stage) -> int:
    """How many jobs the Runner holds; 0 while it does not answer."""
    with contextlib.suppress(RunnerError):
        return int(ask(stage.home / "runner", "status")["jobs"]["held"])
    return 0


def work_off(stage: Stage) -> None:
    """Wait until a Runner that has just been started has done what its journal held."""
    stage.runner.wait_for(lambda: running(stage) or None, "the first calls")
    stage.runner.wait_for(lambda: running(stage) == 0 or None, "the last call being done")


def streams(stage: Stage) -> int:
    """How many streams Core serves."""
    for line in get_text(f"{stage.url}/metrics").splitlines():
        if line.startswith("aisops_core_runner_streams "):
            return int(float(line.split()[1]))
    raise StageError("Core does not say how many streams it serves")


def meet(stage: Stage, clone: Stage) -> float:
    """Start the clone beside the connected original; seconds from when it begins to call until it is told.

    It calls once it has taken up the jobs that its journal holds; there always are some.
    """
    clone.runner.start()
    clone.runner.wait_for(lambda: held(clone) or None, "the clone's jobs", 60)
    began = time.monotonic()
    clone.runner.wait_for(lambda: "DUPLICATE_INSTANCE" in uplink(clone).get("last_error", "") or None, "the refusal")
    return time.monotonic() - began


def take_over(clone: Stage) -> None:
    """The original is gone: its copy gets in; refused once, it would by itself try again after a minute."""
    clone.runner.kill()
    clone.runner.start()
    clone.runner.wait_for(lambda: connected(clone) or None, "the clone's connection", 60)


async def fill_the_journal(trial: Trial, stage: Stage, load: Load, *, cold: bool) -> None:
    """Kill the Runner while its journal names jobs whose calls are under way or, `cold`, wait for their sidecars."""
    if cold:
        stage.runner.kill()
    await load.burst(BACKLOG)
    if cold:
        await asyncio.to_thread(stage.start_runner)
    await asyncio.sleep(trial.rng.uniform(0.1, 0.3))
    stage.runner.kill()


def long_job(key: str, number: int) -> dict[str, Any]:
    """A job that is still under way when the disk is put back."""
    return {"capability": CAPABILITY, "input": {"text": key, "sleep_s": LONG_S}}


async def set_back(trial: Trial, stage: Stage, load: Load, name: str) -> None:
    """Put a disk back to before what the Runner last told; it works without Core for a while before it can tell more.

    It then gives the same numbers to other messages. Those of the long jobs' results must not be taken for what bore
    these numbers before.
    """
    long = trial.load(stage, mix=(long_job,))
    await long.burst(LONG_JOBS)
    await asyncio.sleep(0.5)
    stage.runner.kill()
    image = await asyncio.to_thread(clone_of, stage, name)
    await asyncio.to_thread(stage.start_runner)
    await load.burst(BACKLOG)
    await asyncio.sleep(LONG_S / 3)
    stage.runner.kill()
    stage.core.kill()
    await asyncio.to_thread(copy_folder, image, stage)
    stage.runner.start()
    await asyncio.to_thread(work_off, stage)
    await asyncio.to_thread(stage.start_core)
    await asyncio.to_thread(wait_until, lambda: connected(stage) or None, "the Runner set back", 60)
    await oracle.settle(stage, long, trial.tally, LONG_PATIENCE_S)


async def clone_and_restore(trial: Trial) -> None:
    """Copy, start both, let the copy take over, put the old copy back on the original machine; then set a disk back."""
    found: list[float] = []
    async with trial.stage() as stage, trial.under_load(stage, rate=10.0) as load:
        await asyncio.to_thread(stage.pace_providers, PACE_S)
        for turn in range(trial.runs):
            await fill_the_journal(trial, stage, load, cold=turn % 2 == 1)
            clone = await asyncio.to_thread(clone_of, stage, f"clone-{turn}")
            image = await asyncio.to_thread(clone_of, stage, f"image-{turn}")
            try:
                await asyncio.to_thread(stage.start_runner)
                found.append(await asyncio.to_thread(meet, stage, clone))
                trial.check(connected(stage), "the original lost its session to the clone")
                trial.check(streams(stage) == 1, f"{streams(stage)} sessions of one Runner")
                await asyncio.sleep(trial.rng.uniform(0, 1))
                stage.runner.kill()
                await asyncio.to_thread(take_over, clone)
                await asyncio.sleep(trial.rng.uniform(0.5, 1.5))
            finally:
                await asyncio.to_thread(clone.stop)
            await asyncio.to_thread(copy_folder, image, stage)
            await asyncio.to_thread(stage.start_runner)
            await asyncio.to_thread(wait_until, lambda: connected(stage) or None, "the restored Runner")
            await set_back(trial, stage, load, f"old-{turn}")
            trial.step()
    trial.figures |= {"clone told after max s": round(max(found), 2)}
    trial.check(max(found) <= FOUND_S, f"the clone was found only after {max(found):.1f} s")


FAULTS = (
    Fault(
        "F12",
        "two clones, an image put back",
        "The Runner's folder is copied with jobs in it; both run, the copy takes over, then the old one is put back; "
        "and a folder is put back while Core is away.",
        "10 jobs/s and 40 at once before each copy",
        f"exactly one session; the clone is told DUPLICATE_INSTANCE within {FOUND_S:.0f} s; {NOTHING}",
        clone_and_restore,
        short=2,
        full=50,
        unit="copies",
    ),
)
