"""One SQLite file, one writer thread, group commit: many units of work share one transaction and one fsync.

No delay is added to gather units: while one commit waits for the disk, the next batch gathers by itself. A unit may run
more than once (when another unit of its batch fails, the batch is run again with the guilty one undone alone), so units
must have no effect but on the connection they are given.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from aisops_runner.errors import StorageFailed
from aisops_runner.outbox.ballast import Ballast
from aisops_runner.outbox.folding import Folding, pages_for
from aisops_runner.outbox.schema import connect

T = TypeVar("T")
Unit = Callable[[sqlite3.Connection], T]

MAX_BATCH = 512
SUSPECT_NAME = "outbox.suspect"

_FULL = 13
_POISONED = frozenset({8, 10, 11, 14, 26})  # READONLY, IOERR, CORRUPT, CANTOPEN, NOTADB
_DAMAGED = frozenset({11, 26})

_log = structlog.get_logger("aisops_runner.outbox")


@dataclass(slots=True)
class _Work:
    unit: Unit[Any]
    future: asyncio.Future[Any]
    committed: Callable[[Any], None] | None
    value: Any = None
    error: Exception | None = None


class Database:
    """The open file.

    Args:
        path: The database file; `schema.create_or_check` has made its tables.
        ballast: Space to give back when the disk is full.
        most_bytes: The file never grows beyond this; what would is refused as on a full disk. 0: no bound.
    """

    def __init__(self, path: Path, ballast: Ballast, most_bytes: int = 0) -> None:
        self._path = path
        self._ballast = ballast
        self._inbox: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._most_bytes = most_bytes
        self._log_pages = pages_for(_size_of_disk(path))
        self._writing = self._connect()
        self._reading = connect(str(path))
        self._reading.execute("PRAGMA query_only = ON")
        # It holds the log open from its first read on. A writer opened again alone would recover the log, and with it
        # the commit that could not be synced and was reported as refused.
        self._reading.execute("SELECT messages FROM counters").fetchone()
        self._broken = False
        self._log_path = str(path.with_name(f"{path.name}-wal"))
        self._folding = Folding(self._log_pages)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="outbox-read")
        self._thread = threading.Thread(target=self._run, name="outbox-write", daemon=True)
        self.closed = False
        self.commits = 0
        self.failures = 0
        self.failing = False
        """True from a commit that the disk refused until the next one that it took."""
        self._thread.start()

    def write(self, unit: Unit[T], committed: Callable[[T], None] | None = None) -> asyncio.Future[T]:
        """Run a unit in the writer's next transaction.

        Args:
            unit: Gets the connection inside an open transaction; may be run again, may raise to undo itself.
            committed: Told the unit's value on the loop once it is on the disk, before whoever waits, and also when
                nobody waits any more.

        Returns:
            A future of the unit's value, done once the commit has reached the disk. It raises what the unit raised,
            or StorageFailed when the disk refused (then nothing of the unit is stored).
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self.closed:
            future.set_exception(StorageFailed("the outbox is closed"))
        else:
            self._inbox.put(_Work(unit, future, committed))
        return future

    async def read(self, unit: Unit[T]) -> T:
        """Run a short read on its own connection; it sees every commit reported before.

        Raises:
            StorageFailed: The file cannot be read.
        """
        return await self._loop.run_in_executor(self._reader, self._read, unit)

    async def close(self) -> None:
        """Finish what was handed in, fold the log into the file and close it. Harmless when called twice."""
        if self.closed:
            return
        self.closed = True
        self._inbox.put(None)
        await self._loop.run_in_executor(self._reader, self._thread.join)
        self._reader.shutdown()
        self._reading.close()
        try:
            self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.warning("the log could not be folded into the outbox", error=str(error))
        self._writing.close()

    # --- the reader's thread ------------------------------------------------------------------------------------------

    def _read(self, unit: Unit[T]) -> T:
        try:
            return unit(self._reading)
        except sqlite3.Error as error:
            self._suspect(error)
            raise StorageFailed(f"the outbox could not be read: {error}") from error

    # --- the writer's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ended = False
        while not ended:
            work = self._inbox.get()
            batch: list[_Work] = []
            while work is not None:
                batch.append(work)
                if len(batch) == MAX_BATCH:
                    break
                try:
                    work = self._inbox.get_nowait()
                except queue.Empty:
                    break
            ended = work is None
            if batch:
                self._commit(batch)
                self._loop.call_soon_threadsafe(_settle, batch)
                self._fold_when_long()

    def _commit(self, batch: list[_Work]) -> None:
        """Commit all units together; failing that, all but the guilty; failing that, none."""
        if self._attempt(self._together, batch):
            return
        if self._attempt(self._apart, batch):
            return
        if self._fold() and self._attempt(self._apart, batch):  # the log can start again from its beginning
            return
        if self._ballast.release() and self._attempt(self._apart, batch):
            _log.error("the disk refused; the reserve was used", file=str(self._path))
            return
        self.failures += 1
        self.failing = True
        for work in batch:
            work.error = work.error or StorageFailed(
                "the disk refused to store; nothing was lost that was acknowledged"
            )

    def _attempt(self, run: Callable[[list[_Work]], None], batch: list[_Work]) -> bool:
        try:
            if self._broken:
                self._reopen()
            self._writing.execute("BEGIN IMMEDIATE")
            run(batch)
            self._writing.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a unit is the caller's code; its error is handed back to the caller
            self._undo(error)
            return False
        self.commits += 1
        self.failing = False
        self._folding.committed()
        return True

    def _together(self, batch: list[_Work]) -> None:
        for work in batch:
            work.error = None
            work.value = work.unit(self._writing)

    def _apart(self, batch: list[_Work]) -> None:
        for work in batch:
            work.error = None
            self._writing.execute("SAVEPOINT unit")
            try:
                work.value = work.unit(self._writing)
            except Exception as error:
                if _fatal(error):
                    raise
                work.error = error
                self._writing.execute("ROLLBACK TO unit")
            self._writing.execute("RELEASE unit")

    def _fold_when_long(self) -> None:
        try:
            log_bytes = os.stat(self._log_path).st_size  # noqa: PTH116 - a Path would cost more than the call
        except OSError:
            log_bytes = 0
        if self._folding.due(log_bytes):
            self._fold()

    def _fold(self) -> bool:
        """Bring the log into the file; True when that worked. A failure costs no row: the log keeps them."""
        try:
            _, pages, _ = self._writing.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._folding.folded(pages)
        except sqlite3.Error as error:
            self._folding.failed()
            self._undo(error)
            return False
        return True

    def _undo(self, error: Exception) -> None:
        """Roll back; after a fault of the disk, never go on with the same handle."""
        try:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and _primary(error) in _POISONED:
                self._broken = True
                self._suspect(error)
                self._reopen()
        except sqlite3.Error as again:
            _log.error("the outbox could not be opened again", error=str(again), file=str(self._path))

    def _reopen(self) -> None:
        """Work on a fresh handle; when that fails, the next commit tries again."""
        self._writing.close()
        self._writing = self._connect()
        self._broken = False

    def _connect(self) -> sqlite3.Connection:
        connection = connect(str(self._path))
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        # What the log grew to while it could not be folded goes back to the disk when it starts again.
        connection.execute(f"PRAGMA journal_size_limit = {2 * self._log_pages * page_bytes}")
        if self._most_bytes:
            connection.execute(f"PRAGMA max_page_count = {self._most_bytes // page_bytes}")
        return connection

    def _suspect(self, error: sqlite3.Error) -> None:
        """Leave a mark, so that the next start checks every row instead of failing at the same place again."""
        _log.error("the outbox file failed", error=str(error), file=str(self._path))
        if _primary(error) in _DAMAGED:
            try:
                (self._path.parent / SUSPECT_NAME).touch(mode=0o600)
            except OSError as failed:
                _log.error("the damage could not be marked", error=str(failed))


def _size_of_disk(path: Path) -> int:
    disk = os.statvfs(path.parent)
    return disk.f_blocks * disk.f_frsize


def _settle(batch: list[_Work]) -> None:
    for work in batch:
        if work.error is None and work.committed is not None:
            try:
                work.committed(work.value)
            except Exception:  # noqa: BLE001 - the others of the batch must be told all the same
                _log.exception("what was committed could not be passed on")
        if work.future.done():
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.value)


def _primary(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _fatal(error: Exception) -> bool:
    """True when the fault is the disk's, not the unit's."""
    return isinstance(error, sqlite3.Error) and (_primary(error) == _FULL or _primary(error) in _POISONED)
