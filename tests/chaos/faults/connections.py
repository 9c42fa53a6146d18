"""F8, F9 and F23: connections that are cut off, slow, lossy, or closed by somebody in between because they are idle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from demo.stage import Stage
from tests.chaos import processes
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import LOAD, percentile
from tests.chaos.injection.private_world import in_private_world
from tests.chaos.injection.proxy import ChaosProxy
from tests.chaos.injection.wire import Wire
from tests.chaos.network import NAMESPACES, core_sees, flows_again, proxied, reconnects, runner_sees, streams, until
from tests.chaos.trial import RATE, Trial

BACK_S = 60.0
FULL_LINES = 10  # side by side, the load dealt among them: one after the other they would take hours
FLAT = 0.05
SLACK_KIB = 2048  # a heap grows by arenas, however little is asked for
SLACK_FILES = 3  # a request to Core may be under way when it is looked at


# --- F8 ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """What a program holds."""

    rss_kib: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Size:
        """Look now."""
        return cls(processes.rss_kib(pid), processes.open_files(pid))


async def resets(trial: Trial) -> None:
    """Cut the connection, by a reset or in order, a random moment after it came back; in full on ten lines at once."""
    lines = FULL_LINES if trial.full else 1
    back: list[float] = []
    async with asyncio.TaskGroup() as group:
        for number in range(lines):
            group.create_task(_resets(trial, back, name=f"line {number}", cuts=trial.runs // lines, rate=RATE / lines))
    trial.figures |= {"back after s, p50": round(percentile(back, 0.5), 2), "max": round(max(back), 2)}


async def _resets(trial: Trial, back: list[float], *, name: str, cuts: int, rate: float) -> None:
    """One line; `back` gets the seconds until the Runner was back."""
    pause_s = (2.0, 20.0) if trial.full else (0.2, 1.0)
    warm = max(3, cuts // 4)
    async with proxied(trial, name) as (stage, proxy), trial.under_load(stage, rate=rate) as load:
        await load.acknowledged(10)
        sizes = {end: Size.of(pid) for end, pid in _pids(stage).items()}
        for turn in range(cuts):
            await asyncio.sleep(trial.rng.uniform(*pause_s))
            reset = trial.rng.random() < 0.5
            back.append(await _cut(stage, proxy, reset=reset))
            if turn + 1 == warm:
                sizes = {end: Size.of(pid) for end, pid in _pids(stage).items()}
            trial.step("reset" if reset else "closed")
        for end, pid in _pids(stage).items():
            _compare(trial, end, sizes[end], Size.of(pid))
        trial.check(await asyncio.to_thread(streams, stage) == 1, "Core holds streams that have ended")


async def _cut(stage: Stage, proxy: ChaosProxy, *, reset: bool) -> float:
    """Cut the connection; seconds until the Runner has another."""
    met = proxy.accepted
    await proxy.cut(reset=reset)
    return await until(lambda: proxy.accepted > met and runner_sees(stage), "the Runner's return", BACK_S)


def _pids(stage: Stage) -> dict[str, int]:
    return {"Runner": stage.runner.pid, "Core": stage.core.pid}


def _compare(trial: Trial, name: str, before: Size, after: Size) -> None:
    trial.figures[f"{name} MiB"] = f"{before.rss_kib / 1024:.1f} to {after.rss_kib / 1024:.1f}"
    trial.figures[f"{name} files"] = f"{before.files} to {after.files}"
    grown = after.rss_kib - before.rss_kib
    trial.check(grown <= FLAT * before.rss_kib + SLACK_KIB, f"{name} has grown by {grown} KiB")
    trial.check(after.files <= (1 + FLAT) * before.files + SLACK_FILES, f"{name} holds {after.files} files")


# --- F9 ---------------------------------------------------------------------------------------------------------------


async def bad_lines(trial: Trial) -> None:
    """Loss, delay and a narrow line, one after the other on one stage."""
    await in_private_world(partial(_bad_lines, trial))


async def _bad_lines(trial: Trial) -> None:
    lasting_s = 600.0 if trial.full else 10.0
    async with proxied(trial) as (stage, proxy):
        wire = Wire(stage.grpc_port)

        def late() -> None:
            proxy.latency_s = 0.2

        def prompt() -> None:
            proxy.latency_s = 0.0

        await flows_again(trial, stage)
        lost = reconnects(stage)
        async with _line(trial, stage, "5 % loss", partial(wire.lose, 5), wire.heal) as absences:
            await asyncio.sleep(lasting_s)
            trial.figures["packets lost"] = wire.swallowed()
        trial.check(not absences, f"Core called the Runner offline {len(absences)} times at 5 % loss")
        async with _line(trial, stage, "200 ms each way", late, prompt) as absences:
            await asyncio.sleep(lasting_s)
        trial.check(not absences, f"Core called the Runner offline {len(absences)} times at 200 ms")
        # What 20 jobs a second need would not fit through 64 kbit/s.
        async with _line(trial, stage, "64 kbit/s", partial(wire.narrow, "64kbit"), wire.heal, rate=3.0) as absences:
            await asyncio.sleep(lasting_s)
        trial.figures["connections lost"] = reconnects(stage) - lost


@contextlib.asynccontextmanager
async def _line(
    trial: Trial, stage: Stage, name: str, harm: Callable[[], None], heal: Callable[[], None], *, rate: float = 20.0
) -> AsyncIterator[list[float]]:
    """Load on a line that is harmed; the list gets every moment at which Core called the Runner offline."""
    absences: list[float] = []
    loop = asyncio.get_running_loop()

    async def watch() -> None:
        while True:
            if not await asyncio.to_thread(core_sees, stage):
                absences.append(loop.time())
            await asyncio.sleep(0.25)

    async with trial.under_load(stage, rate=rate) as load:
        await load.acknowledged(1)
        await asyncio.to_thread(harm)
        watching = asyncio.create_task(watch())
        try:
            yield absences
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await asyncio.to_thread(heal)
        trial.step(name)


# --- F23 --------------------------------------------------------------------------------------------------------------


async def idle_soak(trial: Trial) -> None:
    """Nothing to do, through a proxy that closes what is idle; then one job, to see that the line is what it seems."""
    lasting_s, idle_cut_s = (600.0, 60.0) if trial.full else (70.0, 20.0)
    async with proxied(trial) as (stage, proxy):
        await flows_again(trial, stage)
        proxy.idle_cut_s = idle_cut_s
        await _undisturbed(trial, stage, proxy, lasting_s)
        await flows_again(trial, stage)
        trial.figures |= {"idle s": round(lasting_s), "cut after s of silence": round(idle_cut_s)}
        trial.check(proxy.idle_cuts == 0, f"{proxy.idle_cuts} connections were idle for {idle_cut_s:.0f} s")
        trial.check(proxy.accepted == 1, f"the Runner has connected {proxy.accepted} times")
        logs = [await asyncio.to_thread(program.tail, 10_000) for program in (stage.core, stage.runner)]
        complaints = [word for word in ("ENHANCE_YOUR_CALM", "too_many_pings") for log in logs if word in log]
        trial.check(not complaints, f"the logs speak of {complaints}")
        trial.step()


async def _undisturbed(trial: Trial, stage: Stage, proxy: ChaosProxy, lasting_s: float) -> None:
    """Let time pass until it is over or the connection is lost, whichever comes first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(lasting_s):
            while proxy.accepted == 1 and proxy.connections:  # noqa: ASYNC110 - nobody tells what does not happen
                await asyncio.sleep(1.0)
    trial.check(await asyncio.to_thread(core_sees, stage), "Core does not see the Runner")


FAULTS = (
    Fault(
        "F8",
        "connections cut",
        "The connection is reset, or closed in order, a moment after it came back.",
        f"{LOAD} (in full over ten pairs of Runner and Core)",
        "lost 0, duplicated 0; memory and files of both programs flat (5 %)",
        resets,
        short=16,
        full=2000,
        unit="cuts",
    ),
    Fault(
        "F9",
        "bad lines",
        "5 % of packets lost; 200 ms more each way; 64 kbit/s.",
        f"{LOAD}; 3 jobs/s at 64 kbit/s",
        "lost 0, duplicated 0; never offline for Core at 5 % loss or 200 ms",
        bad_lines,
        short=3,
        full=3,
        unit="lines",
        needs=NAMESPACES,
        full_limit_s=2400,
    ),
    Fault(
        "F23",
        "idle connection",
        "A proxy in between closes connections on which nothing moves for 20 s (in full 60 s, for 10 minutes).",
        "none, for 70 s",
        "never closed, no ENHANCE_YOUR_CALM",
        idle_soak,
        unit="soaks",
        full_limit_s=900,
    ),
)
