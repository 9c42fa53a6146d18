"""F6 and F7: the network between Runner and Core goes away, whole or one way, without a word to either."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from demo.stage import Stage
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import LOAD, percentile
from tests.chaos.injection.wire import BOTH, Way
from tests.chaos.network import Line, core_sees, flows_again, on_a_line, runner_sees, streams, until
from tests.chaos.trial import RATE, Trial

DETECTION_S = 45.0
FULL_LINES = 4  # side by side, the load dealt among them: one after the other they would take hours
RETURN_S = 90.0
RETURN_SHARE = 0.1  # and for a tenth of the time that jobs have waited: what was queued meanwhile is done then
SHORT_S = (1.0, 1.0, 1.0, 20.0)
FULL_S = (1.0,) * 150 + (20.0,) * 40 + (300.0,) * 8 + (1800.0,) * 2


async def partitions(trial: Trial) -> None:
    """Cut everything off for a while, again and again; in full on four lines at once."""
    durations = sorted(FULL_S if trial.full else SHORT_S, reverse=True)
    lines = FULL_LINES if trial.full else 1
    flowing: list[float] = []

    async def along(number: int) -> None:
        async def work(stage: Stage, line: Line) -> None:
            await _partitions(trial, stage, line, durations[number::lines], RATE / lines, flowing)

        await on_a_line(trial, work, f"line {number}")

    await asyncio.gather(*(along(number) for number in range(lines)))
    trial.figures |= {"jobs end again after s, p50": round(percentile(flowing, 0.5), 1), "max": round(max(flowing), 1)}


async def _partitions(
    trial: Trial, stage: Stage, line: Line, durations: list[float], rate: float, flowing: list[float]
) -> None:
    trial.rng.shuffle(durations)
    patience_s = RETURN_S + RETURN_SHARE * max(durations)
    async with trial.under_load(stage, rate=rate, patience_s=patience_s) as load:
        await load.acknowledged(10)
        for duration_s in durations:
            line.drop(*BOTH)
            await asyncio.sleep(duration_s)
            line.heal()
            flowing.append(await flows_again(trial, stage, RETURN_S + RETURN_SHARE * duration_s))
            trial.step(f"{duration_s:.0f} s")
    await _one_session(trial, stage)


async def one_way(trial: Trial) -> None:
    """Cut one direction until both ends have noticed; both directions at once, each on a stage of its own."""
    noticed: dict[str, list[float]] = {"Runner": [], "Core": []}
    flowing: list[float] = []

    async def cut(way: Way, times: int, stage: Stage, line: Line) -> None:
        async with trial.under_load(stage, patience_s=RETURN_S) as load:
            await load.acknowledged(10)
            for _ in range(times):
                line.drop(way)
                runner, core = await asyncio.gather(
                    until(lambda: not runner_sees(stage), f"the Runner noticing a cut ({way.name})", 2 * DETECTION_S),
                    until(lambda: not core_sees(stage), f"Core noticing a cut ({way.name})", 2 * DETECTION_S),
                )
                line.heal()
                noticed["Runner"].append(runner)
                noticed["Core"].append(core)
                flowing.append(await flows_again(trial, stage, RETURN_S))
                trial.step(f"{way.name.lower()}: noticed after {runner:.0f} s by the Runner, {core:.0f} s by Core")
        await _one_session(trial, stage)

    async def along(way: Way) -> None:
        async def work(stage: Stage, line: Line) -> None:
            await cut(way, trial.runs // len(BOTH), stage, line)

        await on_a_line(trial, work, way.name.lower())

    await asyncio.gather(*(along(way) for way in BOTH))
    for end, seconds in noticed.items():
        trial.figures[f"noticed by the {end} after s, max" if end == "Runner" else "by Core"] = round(max(seconds), 1)
        trial.check(max(seconds) <= DETECTION_S, f"{end} noticed only after {max(seconds):.1f} s")
    trial.figures["jobs end again after s, max"] = round(max(flowing), 1)


async def _one_session(trial: Trial, stage: Stage) -> None:
    open_now: Sequence[int] = [await asyncio.to_thread(streams, stage)]
    trial.check(open_now == [1], f"Core holds {open_now[0]} streams of one Runner")


FAULTS = (
    Fault(
        "F6",
        "partition",
        "Every packet between Runner and Core is dropped for 1 s or 20 s (in full also 5 min and 30 min).",
        f"{LOAD} (in full over four pairs of Runner and Core)",
        "lost 0, duplicated 0; jobs end again; one session",
        partitions,
        short=len(SHORT_S),
        full=len(FULL_S),
        unit="partitions",
    ),
    Fault(
        "F7",
        "one-way drop",
        "Packets of one direction are dropped until both ends have noticed.",
        LOAD,
        "noticed by both within 45 s; lost 0, duplicated 0; no double session",
        one_way,
        short=2,
        full=100,
        unit="cuts",
    ),
)
