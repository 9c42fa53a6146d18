"""The outbox's file and the journal in it stay within their bounds, however fast jobs come."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aisops_runner.errors import StorageFailed
from aisops_runner.jobs import executor as executor_module
from aisops_runner.jobs import retention
from aisops_runner.outbox.outbox import FILE_NAME, Outbox
from aisops_runner.outbox.queue import Bounds
from aisops_runner.outbox.room import file_bytes
from tests.chaos.network import until
from tests.support.core_end import core_end
from tests.support.outbox_rows import event
from tests.support.runner_end import all_done, job, runner

pytestmark = pytest.mark.integration


async def test_the_file_ends_at_its_bound_and_goes_on_when_core_has_taken_something(tmp_path: Path):
    bounds = Bounds(max_bytes=1 << 20)
    outbox = await Outbox.open(tmp_path, bounds=bounds)

    async def fill() -> None:
        for number in range(1000):
            await outbox.put(*[event(number * 10 + n, size=4000) for n in range(10)])

    with pytest.raises(StorageFailed):
        await fill()
    stored = outbox.last_seq
    assert stored > 1000
    outbox.ack(stored // 2)
    await until(lambda: outbox.stats.messages <= stored - stored // 2, "room inside the file", 20)
    await outbox.put(event(1, size=4000))
    await outbox.close()
    assert (tmp_path / FILE_NAME).stat().st_size <= file_bytes(bounds)


async def test_one_pass_forgets_everything_that_need_not_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Slice after slice with the commits that come: a slice a minute was left behind at ten jobs a second."""
    passes = 0
    real = retention.retain

    def counted(*given: Any) -> bool:
        nonlocal passes
        passes += 1
        return real(*given)

    monkeypatch.setattr(retention, "retain", counted)
    monkeypatch.setattr(retention, "FEWEST_JOBS", 10)
    monkeypatch.setattr(retention, "RETAIN_JOBS", 10)
    monkeypatch.setattr(retention, "SLICE_ROWS", 20)
    async with core_end() as core, runner(tmp_path, core.port, slots=200) as ends:
        core.dispatch(*[job(n) for n in range(400)])
        await core.until(all_done(core, 400))
        await until(lambda: ends.outbox.acked_seq == ends.outbox.last_seq, "everything being with Core", 20)
        monkeypatch.setattr(executor_module, "RETAIN_EVERY_S", 1.0)
        core.dispatch(job(400))  # the executor looks at the time again

        async def left() -> int:
            return await ends.outbox.database.read(lambda db: db.execute("SELECT COUNT(*) FROM jobs").fetchone()[0])

        async with asyncio.timeout(20):
            while await left() > 20:  # noqa: ASYNC110 - a file sets no event
                await asyncio.sleep(0.02)
        assert passes <= 2
