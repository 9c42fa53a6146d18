"""F14: the disk of the Runner, or of Core, is full, and has room again a little later."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from aisops_runner.control.client import ask
from aisops_runner.errors import RunnerError
from demo.program import get_json
from demo.stage import Stage
from tests.chaos.fault import ROOT, Fault, tool
from tests.chaos.faults.kills import LOAD
from tests.chaos.injection.private_world import in_private_world, mount_small_disk
from tests.chaos.network import until
from tests.chaos.trial import Trial

MIB = 1024 * 1024
RUNNER_BYTES, CORE_BYTES = 4 * MIB, 16 * MIB
FULL_S = (0.5, 2.0)
PATIENCE_S = 30.0
STEP_BYTES = 64 * 1024


async def full_disks(trial: Trial) -> None:
    """In turn the Runner's disk, which is tiny, and Core's are filled to the last octet and freed again."""
    await in_private_world(partial(_full_disks, trial))


async def _full_disks(trial: Trial) -> None:
    def prepare(stage: Stage) -> None:
        mount_small_disk(stage.home / "runner", RUNNER_BYTES)
        mount_small_disk(stage.home / "core", CORE_BYTES)

    async with trial.stage(prepare=prepare) as stage, trial.under_load(stage) as load:
        await load.acknowledged(20)
        pids = (stage.runner.pid, stage.core.pid)
        for turn in range(trial.runs):
            name = "core" if turn % 3 == 2 else "runner"
            fine = partial(core_fine if name == "core" else runner_fine, stage)
            with _filled(stage.home / name):
                noticed = await until(partial(_not, fine), f"{name} saying that its disk is full", PATIENCE_S)
                await asyncio.sleep(trial.rng.uniform(*FULL_S))
            back = await until(fine, f"{name} being itself again", PATIENCE_S)
            trial.step(f"disk of {name}: told after {noticed:.1f} s, itself again {back:.1f} s after there was room")
        trial.check(pids == (stage.runner.pid, stage.core.pid), "a program was started again")
        trial.check(stage.runner.running() and stage.core.running(), "a program has ended")


@contextlib.contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """No octet is free on the disk."""
    filler = disk / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(STEP_BYTES))
        yield
    finally:
        filler.unlink()


def _not(condition: Callable[[], bool]) -> bool:
    return not condition()


def runner_fine(stage: Stage) -> bool:
    """Whether the Runner can store what it must."""
    with contextlib.suppress(RunnerError):
        return not ask(stage.home / "runner", "status")["outbox"]["failing"]
    return False


def core_fine(stage: Stage) -> bool:
    """Whether Core says it is ready."""
    return get_json(f"{stage.url}/readyz") is not None


FAULTS = (
    Fault(
        "F14",
        "disk full",
        "The Runner's disk of 4 MiB, or Core's of 16 MiB, is filled to the last octet for a moment.",
        LOAD,
        "lost 0; Runner and Core say so and are themselves again when there is room; none ends",
        full_disks,
        short=6,
        full=50,
        unit="fillings",
        needs=(ROOT, tool("mount")),
    ),
)
