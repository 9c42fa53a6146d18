"""The store: groups that fail alone, crashes, a full or closed database, and one schema however it was made."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from aisops_core.errors import ConfigError, StorageUnavailable, StorageVersionMismatch
from aisops_core.storage import migrate
from aisops_core.storage.engine import Store, build_engine
from aisops_core.storage.gather import Gather
from aisops_core.storage.hot import HotQuery, HotStatement
from aisops_core.storage.schema import HEAD_REVISION, meta, metadata, tenants


def put(key: str) -> Any:
    def unit(connection: Connection) -> str:
        connection.execute(insert(meta).values(key=key, value=b"v"))
        return key

    return unit


async def keys(store: Store) -> set[str]:
    return set(await store.read(lambda connection: list(connection.execute(select(meta.c.key)).scalars())))


@pytest.fixture
async def store(url: str) -> Any:
    opened = Store(url)
    await opened.open()
    yield opened
    await opened.close()


async def test_a_guilty_unit_fails_alone(store: Store) -> None:
    def guilty(connection: Connection) -> None:
        connection.execute(insert(meta).values(key="guilty", value=b"v"))
        raise ValueError("mine")

    units = [store.write(put(f"k{n}")) for n in range(40)]
    units[20:20] = [store.write(guilty), store.write(put("k3"))]
    outcomes = await asyncio.gather(*units, return_exceptions=True)
    assert isinstance(outcomes[20], ValueError)
    assert type(outcomes[21]).__name__ == "IntegrityError"
    assert [o for n, o in enumerate(outcomes) if n not in {20, 21}] == [f"k{n}" for n in range(40)]
    assert await keys(store) == {f"k{n}" for n in range(40)}


async def test_a_hot_statement_fails_like_any_other(store: Store) -> None:
    adding = HotStatement(insert(meta), ("key", "value"))

    def twice(connection: Connection) -> None:
        adding.many(connection, [("secret-key", b"1"), ("secret-key", b"2")])

    units = [store.write(put("before")), store.write(twice), store.write(put("behind"))]
    outcomes = await asyncio.gather(*units, return_exceptions=True)
    assert isinstance(outcomes[1], IntegrityError)
    assert outcomes[::2] == ["before", "behind"]
    assert await keys(store) == {"before", "behind"}


async def test_hot_queries_of_one_read_see_one_moment_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'core.sqlite'}"
    migrate.upgrade(url)
    counting = HotQuery(select(meta.c.key).where(meta.c.key != bindparam("b_key")), ("b_key",))
    store = Store(url)
    await store.open()
    loop = asyncio.get_running_loop()

    def twice(connection: Connection) -> tuple[int, int]:
        first = len(counting.rows(connection, ""))
        asyncio.run_coroutine_threadsafe(store.write(put("later")), loop).result(10)
        return first, len(counting.rows(connection, ""))

    first, second = await store.read(twice)
    assert first == second == len(await keys(store)) - 1
    await store.close()


async def test_units_run_in_the_order_they_were_handed_in(store: Store) -> None:
    order: list[int] = []
    await asyncio.gather(*(store.write(lambda _, n=n: order.append(n)) for n in range(600)))
    assert order == list(range(600))


async def test_a_read_sees_what_a_write_has_returned(store: Store) -> None:
    for n in range(20):
        await store.write(put(f"r{n}"))
        assert f"r{n}" in await keys(store)


async def test_closing_commits_what_is_queued_and_then_refuses(url: str) -> None:
    store = Store(url)
    await store.open()
    queued = [asyncio.create_task(store.write(put(f"q{n}"))) for n in range(300)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*queued) == [f"q{n}" for n in range(300)]
    for call in (store.write(put("after")), store.read(lambda c: None)):
        with pytest.raises(StorageUnavailable):
            await call
    await store.close()
    await store.open()
    assert len(await keys(store)) == 300
    await store.close()


async def test_a_cancelled_caller_disturbs_nobody(store: Store) -> None:
    abandoned = asyncio.create_task(store.write(put("abandoned")))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert await store.write(put("next")) == "next"
    assert "next" in await keys(store)


async def test_gathered_items_get_their_own_outcome(store: Store) -> None:
    def apply(connection: Connection, items: Any) -> list[Any]:
        for item in items:
            connection.execute(insert(meta).values(key=item, value=b"v"))
        return [LookupError(item) if item == "odd" else item.upper() for item in items]

    gather: Gather[str, str] = Gather(lambda items: store.write(lambda connection: apply(connection, items)))
    items = [*(f"g{n}" for n in range(50)), "odd", "g7"]
    outcomes = await asyncio.gather(*(gather.add(item) for item in items), return_exceptions=True)
    assert outcomes[:50] == [f"G{n}" for n in range(50)]
    assert isinstance(outcomes[50], LookupError)
    assert type(outcomes[51]).__name__ == "IntegrityError"
    assert {f"g{n}" for n in range(50)} <= await keys(store)


async def test_a_full_database_is_unavailable_and_recovers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'core.db'}"
    migrate.upgrade(url)
    store = Store(url)
    await store.open()
    assert store._committer is not None
    pages = await store.write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())

    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")

    def large(connection: Connection) -> None:
        connection.execute(insert(meta).values(key="large", value=b"x" * 1_000_000))

    await store.write(limit)
    outcomes = await asyncio.gather(store.write(put("neighbour")), store.write(large), return_exceptions=True)
    assert any(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    assert "large" not in await keys(store)
    assert await store.write(put("after")) == "after", "a fresh connection has no such limit"
    await store.close()


async def test_a_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisops_core.storage.engine.BUSY_TIMEOUT_S", 0.05)
    url = f"sqlite:///{tmp_path / 'core.db'}"
    migrate.upgrade(url)
    store = Store(url)
    await store.open()
    holder = build_engine(url, writer=True)
    with holder.connect() as connection, connection.begin(), pytest.raises(StorageUnavailable, match="locked"):
        await store.write(put("x"))
    holder.dispose()
    assert await store.write(put("x")) == "x"
    await store.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "not a url", "sqlite+aiosqlite:///x"])
def test_other_databases_are_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError):
        build_engine(url, writer=True)


async def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}"
    with pytest.raises(StorageUnavailable):
        migrate.upgrade(url)
    with pytest.raises(StorageUnavailable):
        await Store(url).open()


CRASHING = """
import asyncio, sys
from sqlalchemy import insert
from aisops_core.storage.engine import Store
from aisops_core.storage.schema import meta

async def main(url):
    store = Store(url)
    await store.open()
    async def one(task):
        for n in range(100_000):
            key = f"{task}-{n}"
            await store.write(lambda c: c.execute(insert(meta).values(key=key, value=b"v")).rowcount)
            sys.stdout.write(key + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*(one(task) for task in range(32)))

asyncio.run(main(sys.argv[1]))
"""


async def test_after_kill_9_every_acknowledged_unit_is_there(url: str) -> None:
    acknowledged = await asyncio.to_thread(_write_until_killed, url)
    store = Store(url)
    await store.open()
    missing = set(acknowledged) - await keys(store)
    await store.close()
    assert len(acknowledged) >= 500
    assert not missing


def _write_until_killed(url: str) -> list[str]:
    """What a writing process said was durable before it was killed in the middle of its work."""
    with subprocess.Popen([sys.executable, "-c", CRASHING, url], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(500)]
        os.kill(writer.pid, signal.SIGKILL)
        return acknowledged + writer.stdout.read().split("\n")[:-1]


# --- the schema -------------------------------------------------------------------------------------------------------


def test_a_fresh_database_is_created_once(url: str) -> None:
    assert migrate.current(url) == HEAD_REVISION
    assert not migrate.upgrade(url).changed


def test_migrations_lead_to_the_metadata(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    engine = build_engine(url, writer=True)
    with engine.begin() as connection:
        shape = _shape(connection)
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        migrate.run_migrations(connection, "head")
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD_REVISION
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        assert compare_metadata(context, metadata) == []
        assert _shape(connection) == shape
    engine.dispose()


def _shape(connection: Connection) -> dict[str, Any]:
    inspector = inspect(connection)

    def index(found: Any) -> str:
        options = {key: str(value) for key, value in found.get("dialect_options", {}).items()}
        return str((found["name"], found["column_names"], found.get("expressions"), found["unique"], options))

    return {
        table: (
            # In any order: a column added by a migration stands last.
            sorted((c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in inspector.get_columns(table)),
            sorted(map(index, inspector.get_indexes(table))),
            sorted(str(sorted(key.items())) for key in inspector.get_foreign_keys(table)),
            inspector.get_pk_constraint(table)["constrained_columns"],
        )
        for table in metadata.tables
    }


def test_a_newer_database_is_refused(url: str) -> None:
    engine = build_engine(url, writer=True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(insert(tenants).values(tenant_id="kept", name="kept", created_unix_ms=1))
    with pytest.raises(StorageVersionMismatch):
        migrate.upgrade(url)
    with engine.connect() as connection:
        assert connection.execute(select(tenants.c.tenant_id)).scalars().all() == ["kept"]
    engine.dispose()
