"""SQLite's log: brought in beside the commits, never inside one, and never long."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from aisops_core.storage import checkpoints
from aisops_core.storage.engine import Store
from aisops_core.storage.folding import FOLD_PAGES
from aisops_core.storage.migrate import upgrade

PAGE_BYTES = 4096
COMMITS = 3_000


def _replace(connection: Connection) -> None:
    connection.execute(text("INSERT OR REPLACE INTO meta VALUES ('x', zeroblob(20000))"))


async def test_a_long_run_keeps_the_log_short_and_the_commits_bring_nothing_in(tmp_path: Path) -> None:
    path = tmp_path / "core.db"
    upgrade(f"sqlite:///{path}")
    store = Store(f"sqlite:///{path}")
    await store.open()
    longest = 0
    for _ in range(COMMITS):
        await store.write(_replace)
        longest = max(longest, (tmp_path / "core.db-wal").stat().st_size)
    assert await store.write(lambda c: c.execute(text("PRAGMA wal_autocheckpoint")).scalar()) == 0
    assert longest < 2 * FOLD_PAGES * PAGE_BYTES
    await store.close()
    assert not (tmp_path / "core.db-wal").exists(), "the last one to close brings in what is left"
    with sqlite3.connect(path) as after:
        assert after.execute("SELECT LENGTH(value) FROM meta WHERE key = 'x'").fetchone() == (20000,)
    after.close()


async def test_a_log_that_cannot_be_brought_in_costs_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "core.db"
    upgrade(f"sqlite:///{path}")
    store = Store(f"sqlite:///{path}")
    await store.open()
    real, tries = checkpoints.sqlite3.connect, []

    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        tries.append(threading.current_thread().name)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(checkpoints.sqlite3, "connect", refuse)
    for _ in range(100):
        await store.write(_replace)
    monkeypatch.setattr(checkpoints.sqlite3, "connect", real)
    assert any(name.startswith("store-checkpoint") for name in tries)
    assert not store.failing
    await store.close()
