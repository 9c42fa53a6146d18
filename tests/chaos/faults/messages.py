"""F20: messages lost, repeated, reordered and replayed between the real machines, in process and without I/O.

The worlds are those of the unit tests; here they live longer and more often, and every design that is broken on purpose
must be found out by the same check.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.chaos.fault import Fault
from tests.chaos.tally import Counts
from tests.chaos.trial import Trial
from tests.unit.protocol import job_mutants, mutants
from tests.unit.protocol.job_world import JOB_OPERATIONS, JobWorld
from tests.unit.protocol.world import OPERATIONS, World

SLICE = 250
MUTANT_LIVES = 2_000
LENGTHS = (60, 120, 250)


@dataclass
class Lives:
    """What a number of schedules came to: messages and jobs that there were, and how many of which promise broke."""

    schedules: int = 0
    messages: int = 0
    jobs: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)

    def add(self, other: Lives) -> None:
        """Both together."""
        self.schedules += other.schedules
        self.messages += other.messages
        self.jobs += other.jobs
        self.broken += other.broken
        self.seeds += other.seeds


def live(kind: type[World], seeds: Sequence[int], *, until_broken: bool = False) -> Lives:
    """Play one schedule for each seed."""
    lives = Lives()
    operations = JOB_OPERATIONS if issubclass(kind, JobWorld) else OPERATIONS
    for seed in seeds:
        chance = random.Random(seed)
        world = kind(seed)
        try:
            for operation in ["connect", *chance.choices(operations, k=chance.choice(LENGTHS))]:
                world.do(operation)
            world.settle()
            found = world.broken_promises()
        except Exception as error:  # noqa: BLE001 - a machine that breaks down breaks its promises
            found = [f"broke down: {error!r}"]
        lives.schedules += 1
        lives.messages += len(world.outbox.history)
        if isinstance(world, JobWorld):
            lives.jobs.update(job.state.value for job in world.table.values())
        lives.broken.update(map(_promise, found))
        lives.seeds += [seed] if found else []
        if found and until_broken:
            break
    return lives


def _promise(found: str) -> str:
    for word in ("stored twice", "effects", "never ended", "without an effect", "ended twice", "lost", "out of order"):
        if word in found:
            return word
    return found


async def play(trial: Trial) -> None:
    """Every schedule with jobs, and another without; then every mutant until it is caught."""
    lives = Lives()
    seeds = [trial.rng.getrandbits(32) for _ in range(trial.runs)]
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        slices: list[tuple[type[World], list[int]]] = []
        for at in range(0, len(seeds), SLICE):
            slices += [(JobWorld, seeds[at : at + SLICE]), (World, seeds[at : at + SLICE])]
        for future in asyncio.as_completed([loop.run_in_executor(pool, live, *one) for one in slices]):
            lives.add(await future)
            trial.done = lives.schedules // 2
            trial.say(f"{lives.schedules} schedules, {sum(lives.broken.values())} promises broken")
        broken = (*mutants.MUTANTS, *job_mutants.MUTANTS)
        tried = [loop.run_in_executor(pool, _hunt, kind, trial.seed) for kind in broken]
        caught = dict(zip(broken, await asyncio.gather(*tried), strict=True))
    for kind, found in caught.items():
        trial.check(found.seeds, f"the broken design {kind.__name__} was not caught in {MUTANT_LIVES} schedules")
    trial.done = trial.runs
    trial.counts = _counts(lives)
    trial.figures |= {
        "schedules": lives.schedules,
        "broken designs caught": sum(bool(one.seeds) for one in caught.values()),
    }
    trial.check(not lives.broken, f"{dict(lives.broken)} with schedules {lives.seeds[:5]}")


def _hunt(kind: type[World], seed: int) -> Lives:
    return live(kind, range(seed, seed + MUTANT_LIVES), until_broken=True)


def _counts(lives: Lives) -> Counts:
    total = lives.messages + lives.jobs.total()
    broken = lives.broken
    return Counts(
        attempted=total,
        acknowledged=total,
        lost=broken["lost"] + broken["never ended"] + broken["without an effect"],
        unexpected=broken.total() - sum(broken[name] for name in _COUNTED),
        duplicated=broken["stored twice"] + broken["effects"] + broken["ended twice"],
        uncertain=lives.jobs["uncertain"],
    )


_COUNTED = ("lost", "never ended", "without an effect", "stored twice", "effects", "ended twice")

FAULTS = (
    Fault(
        "F20",
        "messages repeated, reordered, replayed",
        "Frames are lost, repeated and reordered, streams cut, leases lapsed, machines restarted and disks set back.",
        "the real session, execution and job machines in process; log messages and jobs of both effect classes",
        "every promise holds in every schedule; every design broken on purpose is caught",
        play,
        short=2_000,
        full=20_000,
        unit="schedules",
        limit_s=180,
    ),
)
