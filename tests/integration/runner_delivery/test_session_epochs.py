"""The Runner names the newest session that its disk knows of, whatever became of it since."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aisops_protocol.limits import FEATURE_SESSION_EPOCH
from tests.support.core_end import core_end
from tests.support.runner_end import runner

pytestmark = pytest.mark.integration


async def test_every_session_is_on_the_disk_before_the_runner_says_anything_in_it(tmp_path: Path):
    """Each Runner is dropped, as a crash does, once its first heartbeat has arrived."""
    async with core_end() as core:
        for _ in range(3):
            before = len(core.beats)
            async with runner(tmp_path, core.port):
                await core.until(lambda known=before: len(core.beats) > known)
            with closing(sqlite3.connect(tmp_path / "outbox.db")) as file:
                (kept,) = file.execute("SELECT value FROM meta WHERE name = 'session_epoch'").fetchone()
            assert int(kept) == core.streams
        assert [hello.last_session_epoch for hello in core.hellos] == [0, 1, 2]
        assert {hello.feature_bits for hello in core.hellos} == {FEATURE_SESSION_EPOCH}


async def test_a_reconnect_names_the_session_before(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port):
        await core.until(lambda: len(core.beats) == 1)
        core.cut()
        await core.until(lambda: len(core.beats) == 2)
        assert [hello.last_session_epoch for hello in core.hellos] == [0, 1]


async def test_a_salvaged_file_keeps_its_last_session(tmp_path: Path):
    async with core_end() as core:
        async with runner(tmp_path, core.port):
            await core.until(lambda: bool(core.beats))
        with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as file:
            file.execute("DROP TABLE counters")
        async with runner(tmp_path, core.port) as ends:
            await core.until(lambda: len(core.beats) == 2)
            assert ends.outbox.salvaged
        assert [hello.last_session_epoch for hello in core.hellos] == [0, 1]
