"""A disk that takes seconds for every commit: heartbeats go on, because nobody on the event loop waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from aisops_runner.outbox.database import Database
from tests.support.core_end import core_end
from tests.support.outbox_rows import event
from tests.support.runner_end import job, runner

pytestmark = pytest.mark.integration
STUCK_S = 2.0


async def test_heartbeats_are_on_time_while_a_commit_takes_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = threading.Event()
    whole = Database._commit

    def commit(self: Database, batch: list[object]) -> None:
        if stuck.is_set():
            time.sleep(STUCK_S)  # on the writer's thread, as an fsync that does not return
        whole(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "_commit", commit)
    async with core_end(heartbeat_ms=100) as core, runner(tmp_path, core.port) as ends:
        await core.until(lambda: len(core.beats) >= 2)
        stuck.set()
        storing = asyncio.ensure_future(ends.outbox.put(event(1)))
        core.dispatch(*[job(number) for number in range(4)])
        arrivals = [time.monotonic()]

        def over() -> bool:
            if len(core.beats) > counted + len(arrivals) - 1:
                arrivals.append(time.monotonic())
            return storing.done()

        counted = len(core.beats)
        await core.until(over)
        stuck.clear()
        await storing
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert len(gaps) >= 8
    assert max(gaps) < 1.0
