"""The store: opens the database and offers the one way to write and the one way to read.

SQLite and PostgreSQL share every line above this file; what differs between them (transactions begin by hand on SQLite,
pragmas, how each says that it is full or gone) is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from aisops_core.errors import ConfigError, StorageUnavailable
from aisops_core.storage.checkpoints import Checkpoints
from aisops_core.storage.committer import GroupCommitter

T = TypeVar("T")
READERS: Final = 4
BUSY_TIMEOUT_S: Final = 10.0

_PRAGMAS: Final = (
    "auto_vacuum=INCREMENTAL",  # counts only before the first table is made, and before the log is switched on
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "wal_autocheckpoint=0",  # see `checkpoints`
    "journal_size_limit=33554432",
)
_SQLITE_UNAVAILABLE: Final = (
    "SQLITE_FULL",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_NOMEM",
    "SQLITE_PROTOCOL",
)
_POSTGRES_PASSING: Final = ("40001", "40P01")  # serialization failure, deadlock
# Classes: connection, transaction rollback (deadlock, serialization), resources, lock not available, operator, system.
_POSTGRES_UNAVAILABLE: Final = ("08", "40", "53", "55P03", "57", "58")


def unavailable(error: DBAPIError) -> bool:
    """True when the database could not serve, as opposed to refusing what it was asked."""
    if error.connection_invalidated:
        return True
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_SQLITE_UNAVAILABLE)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRES_UNAVAILABLE)
    return type(error.orig).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}


def typed(error: BaseException) -> BaseException:
    """The error as the rest of Core should see it: `StorageUnavailable`, or unchanged."""
    if isinstance(error, DBAPIError) and unavailable(error):
        # The driver's own first line: it names the cause and, unlike the full text, no statement and no values.
        words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        return StorageUnavailable(f"The database is not available: {words[0]}.")
    return error


def passing(error: BaseException) -> bool:
    """True when PostgreSQL undid the transaction only because of another one (deadlock, serialization)."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _POSTGRES_PASSING


def build_engine(url: str | URL, *, writer: bool, connections: int = 1) -> Engine:
    """An engine for the writer (BEGIN IMMEDIATE) or for readers.

    Raises:
        ConfigError: The URL is not one of SQLite or of PostgreSQL through psycopg, or its driver is missing.
    """
    try:
        target = make_url(url)
        if target.get_backend_name() == "sqlite":
            return _sqlite(target, begin="BEGIN IMMEDIATE" if writer else "BEGIN", connections=connections)
        if target.drivername == "postgresql+psycopg":
            return create_engine(
                target, pool_size=connections, max_overflow=0, pool_pre_ping=True, pool_timeout=BUSY_TIMEOUT_S
            )
    except ModuleNotFoundError as error:
        message = f"The driver {error.name!r} for this database is not installed."
        raise ConfigError(message, advice="Install `aisops-core[postgres]`.") from error
    except SQLAlchemyError as error:
        raise ConfigError("The database URL cannot be read.") from error
    raise ConfigError(
        f"Databases of the kind {target.drivername!r} are not supported.",
        advice="Use sqlite:///path or postgresql+psycopg://host/name.",
    )


def _sqlite(url: URL, *, begin: str, connections: int) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin when we say so
        for pragma in _PRAGMAS:
            # To the end: a disk that refuses the write-ahead log says so only after the first row.
            connection.execute(f"PRAGMA {pragma}").fetchall()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", start)
    return engine


class Store:
    """The database of one Core process. `open()` before use, `close()` at the end."""

    def __init__(self, url: str | URL) -> None:
        self._url = url
        self._writer: Engine | None = None
        self._readers: Engine | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._committer: GroupCommitter | None = None

    async def open(self) -> None:
        """Connect and start the committer. The schema must be in place (`storage.migrate.upgrade`).

        Raises:
            ConfigError: The URL cannot be used.
            StorageUnavailable: The database cannot be reached.
        """
        self._writer = build_engine(self._url, writer=True)
        self._readers = build_engine(self._url, writer=False, connections=READERS)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._committer = GroupCommitter(self._writer, typed, passing, self._checkpoints())
        try:
            await asyncio.to_thread(self._committer.start)
            await self.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Commit what is queued, then let go of every connection and thread. Repeating it changes nothing."""
        if self._committer is not None:
            await asyncio.to_thread(self._committer.stop)
            self._committer = None
        if self._threads is not None:
            threads, self._threads = self._threads, None
            await asyncio.to_thread(threads.shutdown)
        for engine in (self._writer, self._readers):
            if engine is not None:
                await asyncio.to_thread(engine.dispose)
        self._writer = self._readers = None

    async def write(self, unit: Callable[[Connection], T]) -> T:
        """Run a unit of work and return its value once it is durable.

        Args:
            unit: Database work only, and repeatable: when a neighbour in its group fails, it runs a second time. What
                should follow from it (wake-ups, acknowledgements) belongs after the await.

        Raises:
            StorageUnavailable: The database could not serve; nothing was stored (or, on a lost connection, perhaps).
            Exception: Whatever the unit raised; nothing of it was stored.
        """
        return await self.begin(unit)

    def begin(self, unit: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a unit of work at once, for those who want another unit right behind it; otherwise like `write`.

        Units queued without an await between them run in this order, and as a rule in one transaction.

        Raises:
            StorageUnavailable: The store is closed.
        """
        if self._committer is None:
            raise StorageUnavailable("The store is closed.")
        return self._committer.submit(unit)

    def _checkpoints(self) -> Checkpoints | None:
        file = make_url(self._url).database
        return Checkpoints(Path(file)) if self.embedded and file else None

    @property
    def embedded(self) -> bool:
        """True for SQLite, which one process at a time serves."""
        return make_url(self._url).get_backend_name() == "sqlite"

    @property
    def failing(self) -> bool:
        """True while the last group of writes could not be committed."""
        return self._committer is not None and self._committer.failing

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query against committed data, in a reader thread.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        if self._threads is None or self._readers is None:
            raise StorageUnavailable("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, _read, self._readers, query)


def _read(engine: Engine, query: Callable[[Connection], T]) -> T:
    try:
        with engine.connect() as connection:
            return query(connection)
    except DBAPIError as error:
        raise typed(error) from error
