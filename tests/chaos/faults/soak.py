"""F27: a long time under load with a random nemesis; memory and file descriptors stay flat."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from demo.program import Program
from demo.stage import Stage
from tests.chaos import processes
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import LOAD, NOTHING, kill
from tests.chaos.faults.sidecars import PLUGINS, recorded
from tests.chaos.faults.stopping import bring_up
from tests.chaos.load import Load
from tests.chaos.relay import Relay, acknowledges, relayed
from tests.chaos.trial import Trial

WARM_UP = 0.25
GENTLE = 0.65
"""Shares of the time: programs are first left to warm up, then tormented without being restarted, then killed too."""
PAUSE_S = (0.5, 3.0)
SHORT_GROWTH_KIB = 12 * 1024
SLOPE_KIB_PER_H = 1024
STEADY_S = 1800.0
RUSH, REST_S = 100, 4.0
MORE_FILES = 16
"""The Runner's connections to its plugins are kept as they were last needed, up to a call's concurrency each."""


class Nemesis:
    """Things that go wrong, drawn by chance; `gentle` ones leave Core and Runner running."""

    def __init__(self, trial: Trial, stage: Stage, relay: Relay) -> None:
        self._trial, self._stage, self._relay = trial, stage, relay
        self._hurt: set[str] = set()
        self.did: Counter[str] = Counter()
        self.gentle: Sequence[Callable[[], Awaitable[None]]] = (
            self.cut, self.away, self.lose_acks, self.freeze_runner, self.freeze_core, self.kill_sidecar,
        )  # fmt: skip
        self.rough: Sequence[Callable[[], Awaitable[None]]] = (
            self.kill_runner, self.kill_core, self.kill_both, self.stop_runner, self.stop_core,
        )  # fmt: skip

    async def strike(self, *, rough: bool) -> None:
        """Do one thing and let the Runner come back."""
        deed = self._trial.rng.choice((*self.gentle, *self.rough) if rough else self.gentle)
        self.did[deed.__name__] += 1
        await deed()
        await asyncio.to_thread(bring_up, self._stage)

    async def cut(self) -> None:
        """Cut the stream."""
        self._relay.cut()

    async def away(self) -> None:
        """No way to Core for some seconds."""
        self._relay.closed = True
        self._relay.cut()
        await asyncio.sleep(self._trial.rng.uniform(0.5, 3))
        self._relay.closed = False

    async def lose_acks(self) -> None:
        """Acknowledgements are lost, then the stream is cut."""
        await self._relay.mute(acknowledges)
        self._relay.cut()

    async def freeze_runner(self) -> None:
        """The Runner stands still."""
        await self._freeze(self._stage.runner)

    async def freeze_core(self) -> None:
        """Core stands still."""
        await self._freeze(self._stage.core)

    async def kill_sidecar(self) -> None:
        """A plugin's process is killed: once in a life of the Runner, for the third time is quarantine by design."""
        if fresh := [name for name in PLUGINS if name not in self._hurt and recorded(self._stage, name)]:
            name = self._trial.rng.choice(fresh)
            self._hurt.add(name)
            os.kill(recorded(self._stage, name) or 0, signal.SIGKILL)

    async def kill_runner(self) -> None:
        """kill -9."""
        await self._kill("runner")

    async def kill_core(self) -> None:
        """kill -9."""
        await self._kill("core")

    async def kill_both(self) -> None:
        """kill -9 of both."""
        await self._kill("runner", "core")

    async def stop_runner(self) -> None:
        """SIGTERM."""
        await asyncio.to_thread(self._stage.runner.stop)
        self._hurt.clear()

    async def stop_core(self) -> None:
        """SIGTERM."""
        await asyncio.to_thread(self._stage.core.stop)

    async def _kill(self, *names: str) -> None:
        await asyncio.to_thread(kill, self._stage, names)
        if "runner" in names:
            self._hurt.clear()

    async def _freeze(self, program: Program) -> None:
        os.kill(program.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._trial.rng.uniform(0.5, 3))
        finally:
            os.kill(program.pid, signal.SIGCONT)


async def soak(trial: Trial) -> None:
    """Warm up, torment, kill; `runs` is the length in minutes."""
    length_s = 60.0 * trial.runs
    async with relayed(trial) as (stage, relay), trial.under_load(stage) as load:
        nemesis = Nemesis(trial, stage, relay)
        await load.acknowledged(3)
        began = time.monotonic()
        await _torment(trial, nemesis, began + WARM_UP * length_s, began, rough=False)
        first = await _measure(stage, load)
        gentle_from = time.monotonic()
        await _torment(trial, nemesis, began + GENTLE * length_s, began, rough=False)
        _judge(trial, first, await _measure(stage, load), time.monotonic() - gentle_from)
        await _torment(trial, nemesis, began + length_s, began, rough=True)
    trial.figures["strikes"] = nemesis.did.total()


async def _torment(trial: Trial, nemesis: Nemesis, until: float, began: float, *, rough: bool) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(trial.rng.uniform(*PAUSE_S))
        await nemesis.strike(rough=rough)
        minutes = int((time.monotonic() - began) / 60)
        while trial.done < min(minutes, trial.runs):
            trial.step(f"{nemesis.did.total()} strikes")
    if rough:
        trial.done = trial.runs


async def _measure(stage: Stage, load: Load) -> dict[str, tuple[int, int]]:
    """Resident memory (KiB) and open files of Core and Runner, at rest after a rush that has filled every pool."""
    rate, load.rate = load.rate, 0.5
    await load.burst(RUSH)
    await asyncio.sleep(REST_S)
    load.rate = rate
    programs = (stage.core, stage.runner)
    return {one.name: (processes.rss_kib(one.pid), processes.open_files(one.pid)) for one in programs}


def _judge(trial: Trial, first: dict[str, tuple[int, int]], last: dict[str, tuple[int, int]], seconds: float) -> None:
    """In a short run memory may still settle; over half an hour and more its slope is what the promise is about."""
    for name, (rss, files) in last.items():
        grown, more = rss - first[name][0], files - first[name][1]
        trial.figures |= {f"{name} MiB": round(rss / 1024, 1), f"{name} KiB more": grown, f"{name} files more": more}
        allowed = SLOPE_KIB_PER_H * seconds / 3600 if seconds >= STEADY_S else SHORT_GROWTH_KIB
        trial.check(grown <= allowed, f"{name} grew by {grown} KiB in {seconds:.0f} s")
        trial.check(more <= MORE_FILES, f"{name} holds {more} files more")


FAULTS = (
    Fault(
        "F27",
        "soak with a random nemesis",
        "Cuts, lost acknowledgements, absence, freezes, sidecars killed; later kill -9 and SIGTERM of both programs.",
        LOAD,
        f"{NOTHING}; file descriptors flat; memory flat (over an hour: slope < 1 MiB/h)",
        soak,
        short=2,
        full=60,
        unit="minutes",
        limit_s=300,
    ),
)
