"""kill -9 of Runner and Core under load: no result lost, no effect twice.

The seed is printed; CHAOS_SEED replays the same order of kills. RUNNER_KILLS and CORE_KILLS change how many.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from pathlib import Path

import pytest

from demo.messages import plugin_environment
from demo.stage import Stage
from tests.chaos.load import Load
from tests.chaos.tally import Tally

RUNNER_KILLS = int(os.environ.get("RUNNER_KILLS", "20"))
CORE_KILLS = int(os.environ.get("CORE_KILLS", "10"))
RATE = 20.0
KEY = re.compile(r"chaos-\d+\.")

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("stage"), pytest.mark.timeout(600)]


def kill(stage: Stage, victim: str) -> None:
    """End one program as a crash would, start it again, and wait until the Runner is connected to Core."""
    program = getattr(stage, victim)
    program.kill()
    if victim == "core":
        stage.start_core()
    else:
        program.start()
    stage.runner.wait_for(stage.connected_runner, "the Runner's return", 60)


async def torment(stage: Stage, load: Load, seed: int) -> None:
    """Kill in random order, a random moment after everything has come back."""
    rng = random.Random(seed)
    victims = ["runner"] * RUNNER_KILLS + ["core"] * CORE_KILLS
    rng.shuffle(victims)
    try:
        for victim in victims:
            await asyncio.sleep(rng.uniform(0, 1.0))
            await asyncio.to_thread(kill, stage, victim)
    finally:
        load.stop()


def count_effects(stage: Stage, tally: Tally) -> None:
    """Count at the providers: what they carried out, by the key in the message's text."""
    received = stage.received()
    tally.recognised = stage.counts()["kakao"]["duplicates"]
    for provider in ("kakao", "slack"):
        for message in received.get(provider, ()):
            found = KEY.search(message["text"])
            tally.effects[found.group() if found else message["text"]] += 1


async def test_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """20 × kill -9 of the Runner and 10 × of Core at 20 jobs/s: lost 0, duplicated 0, unexpected 0."""
    seed = int(os.environ.get("CHAOS_SEED", str(time.time_ns() % 1_000_000)))
    tally = Tally()
    with Stage(tmp_path / "stage") as stage:
        stage.plugin_env = plugin_environment(stage.start_providers())
        stage.start_core()
        stage.create_runner()
        stage.start_runner()
        load = Load(stage, RATE, tally)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            group.create_task(torment(stage, load, seed))
        await load.read_back()
        count_effects(stage, tally)
    with capsys.disabled():
        print(f"\n{RUNNER_KILLS} Runner and {CORE_KILLS} Core kills, seed {seed}: {tally.line()}")

    assert tally.acknowledged == tally.attempted
    assert not tally.lost
    assert not tally.duplicated
    assert not tally.unexpected
    assert all(tally.jobs[key]["capability"] == "slack.send" for key in tally.uncertain)
