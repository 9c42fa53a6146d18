"""One fault being tried: its chance, its ground, and what it found."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from demo.stage import Stage
from tests.chaos import oracle
from tests.chaos.fault import Fault
from tests.chaos.ground import Ground, Prepare, started
from tests.chaos.load import MIX, Load
from tests.chaos.tally import Counts, Tally

SAY_EVERY_S = 3.0
RATE = 20.0  # jobs a second that flow while something is injected


class Trial:
    """What a fault is given.

    Attributes:
        runs: How often to inject it.
        full: Whether this is the full form.
        rng: The fault's own chance; the same seed gives the same.
        home: A folder of its own.
        tally: For faults that count jobs.
        counts: What was counted below jobs, added to the tally's figures.
        figures: Measurements beside the counts.
        problems: What did not hold.
    """

    def __init__(
        self, fault: Fault, *, seed: int, full: bool, home: Path, ground: Ground, say: Callable[[str], None]
    ) -> None:
        self.fault, self.seed, self.full, self.home, self.say = fault, seed, full, home, say
        self.runs = fault.full if full else fault.short
        self.rng = random.Random(f"{fault.id} {seed}")
        self.tally = Tally()
        self.counts = Counts()
        self.figures: dict[str, float | int | str] = {}
        self.problems: list[str] = []
        self.done = 0
        self._ground = ground
        self._said = 0.0
        self._loads = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a program that is started without a stage is given besides, so that the self-test can break it too."""
        return {"PYTHONPATH": ":".join(map(str, self._ground.search))} if self._ground.search else {}

    def check(self, holds: object, otherwise: str) -> bool:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(otherwise)
        return bool(holds)

    def step(self, doing: str = "") -> None:
        """One more injection is over."""
        self.done += 1
        now = time.monotonic()
        if now - self._said >= SAY_EVERY_S or self.done == self.runs:
            self._said = now
            self.say(f"{self.done}/{self.runs} {self.fault.unit}{f' · {doing}' if doing else ''}")

    def shared(self) -> AbstractAsyncContextManager[Stage]:
        """The stage that stays up between faults."""
        return self._ground.shared()

    def stage(
        self,
        name: str = "stage",
        *,
        core_environment: Mapping[str, str] | None = None,
        runner_environment: Mapping[str, str] | None = None,
        core_options: tuple[str, ...] = (),
        core_lines: tuple[str, ...] = (),
        runner_lines: tuple[str, ...] = (),
        prepare: Prepare | None = None,
    ) -> AbstractAsyncContextManager[Stage]:
        """A stage of this fault alone."""
        return started(
            self.home / name,
            core_environment=core_environment,
            runner_environment=runner_environment,
            core_options=core_options,
            core_lines=core_lines,
            runner_lines=runner_lines,
            search=self._ground.search,
            prepare=prepare,
        )

    def load(self, stage: Stage, *, rate: float = RATE, mix: object = MIX) -> Load:
        """Jobs for this fault; several loads of one trial have keys of their own."""
        self._loads += 1
        return Load(stage, self.tally, f"{self.fault.id}.{self.seed}.{self._loads}", rate=rate, mix=mix)

    @asynccontextmanager
    async def under_load(
        self, stage: Stage, *, rate: float = RATE, patience_s: float = 90.0, lines: bool = False
    ) -> AsyncIterator[Load]:
        """A steady load meanwhile; afterwards every job's end is awaited and everything is counted.

        With `lines`, every line of a log that a job wrote counts too: for faults that leave the Runner alive.
        """
        load = self.load(stage, rate=rate)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            try:
                yield load
            finally:
                load.stop()
        await oracle.settle(stage, load, self.tally, patience_s, lines=lines)

    def totals(self) -> Counts:
        """The figures of the row."""
        return self.tally.counts() + self.counts

    def judge(self) -> None:
        """The promises that hold for every fault."""
        totals = self.totals()
        self.check(totals.attempted, "nothing was attempted")
        self.check(totals.acknowledged <= totals.attempted, "more was acknowledged than attempted")
        self.check(self.done >= self.runs, f"injected {self.done} of {self.runs} times")
        for name in ("lost", "unexpected", "duplicated"):
            keys = sorted(getattr(self.tally, name))
            detail = f": {', '.join(map(self._describe, keys[:5]))}" if keys else ""
            self.check(not getattr(totals, name), f"{getattr(totals, name)} {name}{detail}")

    def _describe(self, key: str) -> str:
        job = self.tally.jobs.get(key, {})
        error = (job.get("error") or {}).get("code", "")
        return f"{key} ({job.get('capability', '?')} {job.get('state', '?')} {error} effects {self.tally.effects[key]})"
