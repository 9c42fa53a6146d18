"""What a session leaves in a Runner's memory once it is over: nothing."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from aisops_protocol.messages import LogEvent, LogLevel
from aisops_protocol.session import RunnerSession
from aisops_runner.adapters.calls import JobLog
from tests.support.core_end import core_end
from tests.support.runner_end import runner

pytestmark = pytest.mark.integration


async def test_a_session_that_was_cut_leaves_nothing_behind(tmp_path: Path):
    """Also where the collector looks seldom, as it does in the program: else each reconnect costs the Runner 56 kB."""
    async with core_end() as core, runner(tmp_path, core.port) as ends:
        gc.collect()
        gc.disable()
        try:
            for cut in range(5):
                ends.executor.log(JobLog("", LogLevel.INFO, f"line {cut}", 1, "test"))
                await core.until(lambda seen=cut: len(core.of(LogEvent)) > seen)
                core.cut()
            ends.executor.log(JobLog("", LogLevel.INFO, "the last line", 1, "test"))
            await core.until(lambda: len(core.of(LogEvent)) == 6)
            left = sum(isinstance(one, RunnerSession) for one in gc.get_objects())
        finally:
            gc.enable()
        assert (core.streams, left) == (6, 1)
