"""Everything at once: jobs in a stream that is cut again and again, and a runner that is killed again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aisops_protocol import messages as m
from aisops_protocol.conformance.effects import Effect
from aisops_protocol.conformance.findings import Skipped, Unmet
from aisops_protocol.conformance.ground import AT_MOST_ONCE, CONNECT_S, IDEMPOTENT, Ground, demand
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check

JOBS = 60
CUTS, KILLS = 14, 4
CUT_S, KILL_S = (0.05, 0.9), (0.3, 2.0)
SETTLE_S = 60.0
HALF = 0.5
Work = list[tuple[m.Job, Effect]]


class Storm:
    """Answers streams as a Core does, and strikes at the open one.

    Args:
        ground: Where.
        work: Every job; sent whenever the runner does not hold it and has not reported it.

    Attributes:
        lines: The streams it has welcomed.
    """

    def __init__(self, ground: Ground, work: Work) -> None:
        self.lines: list[Line] = []
        self._ground, self._work = ground, work
        self._calm = False
        self._trouble: Skipped | Unmet | None = None

    async def serve(self) -> None:
        """Welcome every stream; half of them get no acknowledgement until the storm is over. Ends when cancelled."""
        try:
            await self._serve()
        except (Skipped, Unmet) as trouble:  # for `_until` to raise, where the check waits
            self._trouble = trouble

    async def _until(self, condition: Callable[[], object], expected: str, within_s: float) -> None:
        """Wait; raise what serving ended with, if it did."""
        await self._ground.until(lambda: self._trouble or condition(), expected, within_s)
        if self._trouble is not None:
            raise self._trouble

    async def _serve(self) -> None:
        while True:
            acking = self._ground.chance(f"line {len(self.lines)}").random() < HALF
            line = await self._ground.open(within_s=2 * CONNECT_S, acking=acking or self._calm)
            self.lines.append(line)
            held = {one.job_id for one in (line.greeting.held_jobs)}
            known = self._ground.core.ledger
            left = [one for one, _ in self._work if one.job_id not in held and not known.results(one.job_id)]
            if left and not line.over:
                self._ground.send(line, *left)

    async def rage(self, times: int, pause: tuple[float, float], strike: Callable[[Line], Awaitable[None]]) -> None:
        """Strike so often, each time at a random moment of an open session; half of the commits lose their Ack."""
        for number in range(times):
            chance = self._ground.chance(f"strike {number}")
            await self._until(lambda: self.lines and self.lines[-1].open, "an open session", 2 * CONNECT_S)
            await self._ground.pass_time(chance.uniform(*pause))
            if chance.random() < HALF:
                self.lines[-1].commit()
            await strike(self.lines[-1])

    async def settle(self) -> None:
        """Acknowledge everything from now on, and wait until every job has a result in the ledger."""
        self._calm = True
        if self.lines[-1].open:
            self.lines[-1].acking = True
            self.lines[-1].ack()
        ledger = self._ground.core.ledger
        every = f"a result of each of {len(self._work)} jobs"
        await self._until(lambda: all(ledger.results(job.job_id) for job, _ in self._work), every, SETTLE_S)


@asynccontextmanager
async def storm(ground: Ground, work: Work) -> AsyncIterator[Storm]:
    """A storm whose Core answers for as long as the block runs."""
    made = Storm(ground, work)
    serving = asyncio.create_task(made.serve())
    try:
        yield made
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def make(ground: Ground) -> Work:
    """Half the jobs of each effect class."""
    work = []
    for number in range(JOBS):
        effect = ground.effect()
        work.append((ground.job(effect, AT_MOST_ONCE if number % 2 else IDEMPOTENT), effect))
    return work


def judge(ground: Ground, work: Work, *, uncertain: bool) -> str:
    """Count what came of every job.

    Raises:
        Unmet: A job was reported twice, done twice, done under two keys, or uncertain without need.
    """
    unsure = 0
    for job, effect in work:
        results = ground.core.ledger.results(job.job_id)
        demand(len(results) == 1, f"one result of {job.job_id}", f"{len(results)}")
        if job.effect_class is m.EffectClass.AT_MOST_ONCE:
            demand(len(effect.calls) <= 1, f"one call at most of {job.job_id}", f"{len(effect.calls)}")
        demand(effect.keys <= {job.effect_key}, f"one key for {job.job_id}", f"{effect.keys}")
        status = results[0].status
        maybe = uncertain and job.effect_class is m.EffectClass.AT_MOST_ONCE and status is m.ResultStatus.UNCERTAIN
        demand(maybe or status is m.ResultStatus.SUCCEEDED, f"{job.job_id} SUCCEEDED", status.name)
        unsure += maybe
    return f"{len(work)} jobs: lost 0, reported twice 0, done twice 0, uncertain {unsure}"


@check("storm.cuts", Rule.JOB, Need.WORK, apart=True, limit_s=150)
async def cuts(ground: Ground) -> str:
    """Sixty jobs through fourteen cuts at random moments: each reported once, done once."""
    work = make(ground)
    async with storm(ground, work) as raging:
        await raging.rage(CUTS, CUT_S, ground.cut)
        await raging.settle()
    return judge(ground, work, uncertain=False)


@check("storm.kills", Rule.JOB, Need.KILL, Need.WORK, apart=True, limit_s=150)
async def kills(ground: Ground) -> str:
    """Sixty jobs through kill -9 four times at random moments: each reported once, done once."""
    work = make(ground)

    async def strike(_line: Line) -> None:
        await ground.crash()

    async with storm(ground, work) as raging:
        await raging.rage(KILLS, KILL_S, strike)
        await raging.settle()
    return judge(ground, work, uncertain=True)
