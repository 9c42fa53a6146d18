"""F11: Core commits and says so, and the Runner never hears it."""

from __future__ import annotations

import asyncio

from aisops_runner.control.client import ask
from tests.chaos import oracle
from tests.chaos.fault import Fault
from tests.chaos.relay import acknowledges, relayed
from tests.chaos.trial import Trial

RATE = 40.0


async def lose_acks(trial: Trial) -> None:
    """Swallow an acknowledgement and all that follows it, cut the stream a moment later, let the Runner come back."""
    async with relayed(trial) as (stage, relay):
        async with trial.under_load(stage, rate=RATE, lines=True) as load:
            await load.acknowledged(5)
            for _ in range(trial.runs):
                await asyncio.to_thread(stage.runner.wait_for, stage.connected_runner, "the Runner's return", 60)
                await asyncio.sleep(trial.rng.uniform(0.1, 0.6))
                await relay.mute(acknowledges)
                await asyncio.sleep(trial.rng.uniform(0, 0.3))
                relay.cut()
                trial.step()
        late = await asyncio.to_thread(oracle.late_results, stage, load.prefix)
        lane = (await asyncio.to_thread(ask, stage.home / "runner", "status"))["outbox"]
    trial.figures |= {"messages in the lane": lane["last_seq"], "frames swallowed": relay.swallowed}
    trial.check(not late, f"{len(late)} results were stored again as late ones")
    trial.check(relay.swallowed >= trial.runs, "no acknowledgement was lost")


FAULTS = (
    Fault(
        "F11",
        "acknowledgement lost after commit",
        "Core's frames are swallowed from an acknowledgement on, then the stream is cut.",
        f"{RATE:.0f} jobs/s, about 200 messages/s in the lane",
        "every message is stored once; lost 0, duplicated 0",
        lose_acks,
        short=16,
        full=400,
        unit="cuts",
    ),
)
