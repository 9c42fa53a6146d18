"""The group committer: one thread that runs many small units of work in one transaction and pays for one fsync.

A group is whatever has queued up while the group before it was being committed; nothing waits on purpose. It runs
without savepoints, which cost more than the work itself; when a unit raises, the group is rolled back and replayed with
a savepoint around each unit, so that only the guilty one fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from aisops_core.errors import StorageUnavailable
from aisops_core.storage.checkpoints import Checkpoints

T = TypeVar("T")
GROUP_LIMIT: Final = 256
TRIES: Final = 5
"""How often a group is run that the database undoes because two groups waited for each other."""


@dataclass(slots=True, eq=False)
class _Unit:
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = field(default=None)

    def resolve(self) -> None:
        """On the loop's thread: hand over the outcome, unless nobody waits any more."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class GroupCommitter:
    """Owns the writing connection and the thread that uses it.

    Args:
        engine: The writing engine; one connection of it is used.
        typed: Turns a driver's error into the one callers should see.
        passing: Whether the database undid the group only because of another one, so that it may be run again.
        checkpoints: Looks after SQLite's log between the commits.
    """

    def __init__(
        self,
        engine: Engine,
        typed: Callable[[BaseException], BaseException],
        passing: Callable[[BaseException], bool] = lambda _: False,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._engine = engine
        self._typed = typed
        self._passing = passing
        self._checkpoints = checkpoints
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self.failing = False
        """True from a group that the database did not take until the next one that it did."""

    def start(self) -> None:
        """Connect and start the thread.

        Raises:
            StorageUnavailable: The database cannot be reached.
        """
        self._connect()
        self._thread = threading.Thread(target=self._run, name="store-committer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commit everything queued, then end the thread. Blocks; repeating it changes nothing."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def submit(self, work: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a unit at once; the future is done when its group is committed.

        Its exception is StorageUnavailable (stopped, or the database could not serve) or what the unit raised.
        """
        loop = asyncio.get_running_loop()
        unit = _Unit(work, loop, loop.create_future())
        with self._gate:
            if self._closed:
                unit.future.set_exception(StorageUnavailable("The store is closed."))
            else:
                self._queue.put(unit)
        return unit.future

    def _run(self) -> None:
        running = True
        while running:
            group, running = self._take()
            if group:
                self._commit(group)
                _resolve(group)
                self._look_after_log()
        if self._checkpoints is not None:
            self._checkpoints.stop()
        self._disconnect()

    def _look_after_log(self) -> None:
        """Between two commits: whoever waited for the last one has been told."""
        if self._checkpoints is None:
            return
        if self.failing:
            self._checkpoints.refused()
        else:
            self._checkpoints.committed()

    def _take(self) -> tuple[list[_Unit], bool]:
        """The next group (waits for its first unit) and whether there may be more."""
        group: list[_Unit] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) == GROUP_LIMIT:
                return group, True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _commit(self, group: Sequence[_Unit]) -> None:
        try:
            self._until_through(group)
            self.failing = False
        except Exception as error:  # noqa: BLE001 - the thread outlives every failure; callers get the error
            failure, self.failing = self._typed(error), True
            for unit in group:
                unit.error = failure
            self._disconnect()

    def _until_through(self, group: Sequence[_Unit]) -> None:
        """Run the group, again when another one stood in its way: two replicas may wait for each other's rows."""
        for turn in range(1, TRIES + 1):
            try:
                if not self._attempt(group, isolated=False):
                    self._attempt(group, isolated=True)
            except DBAPIError as error:
                if turn == TRIES or not self._passing(error):
                    raise
            else:
                return

    def _attempt(self, group: Sequence[_Unit], *, isolated: bool) -> bool:
        """Run the group in one transaction. False: a unit failed and everything was rolled back, try isolated."""
        connection = self._connect()
        transaction = connection.begin()
        try:
            for unit in group:
                if isolated:
                    self._run_alone(connection, unit)
                elif not self._run_bare(connection, unit):
                    transaction.rollback()
                    return False
            transaction.commit()
        except BaseException:
            _quietly(transaction.rollback)
            raise
        return True

    def _run_bare(self, connection: Connection, unit: _Unit) -> bool:
        try:
            unit.value = unit.work(connection)
        except Exception as error:
            if self._fatal(error):
                raise
            return False
        return True

    def _run_alone(self, connection: Connection, unit: _Unit) -> None:
        unit.value, unit.error = None, None
        savepoint = connection.begin_nested()
        try:
            unit.value = unit.work(connection)
            savepoint.commit()
        except Exception as error:
            if self._fatal(error):
                raise
            savepoint.rollback()
            unit.error = error

    def _fatal(self, error: Exception) -> bool:
        """True when the database, not the unit, is at fault: nobody in the group can succeed."""
        return isinstance(error, DBAPIError) and isinstance(self._typed(error), StorageUnavailable)

    def _connect(self) -> Connection:
        if self._connection is None:
            try:
                self._connection = self._engine.connect()
            except DBAPIError as error:
                raise self._typed(error) from error
        return self._connection

    def _disconnect(self) -> None:
        """Drop the connection, so that the next group begins on a fresh one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _quietly(connection.invalidate)
            _quietly(connection.close)


def _quietly(action: Callable[[], None]) -> None:
    # Cleaning up after a failure that is already being reported: a second one tells nothing new.
    with contextlib.suppress(Exception):
        action()


def _resolve(group: Sequence[_Unit]) -> None:
    """Hand the outcomes over with one wake-up per event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Unit]] = {}
    for unit in group:
        loops.setdefault(unit.loop, []).append(unit)
    for loop, units in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_all, units)
        except RuntimeError:
            continue  # that loop has been closed: nobody is waiting


def _resolve_all(units: Sequence[_Unit]) -> None:
    for unit in units:
        unit.resolve()
