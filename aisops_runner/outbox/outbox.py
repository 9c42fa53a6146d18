"""The outbox: what is put here survives kill -9 and power loss, and reaches Core in order.

Joins the rules (`queue`, `epochs`), the table (`store`) and the file (`database`). Rows just written are kept in memory
until acknowledged, so that a connected Runner never reads back what it wrote.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from aisops_protocol.messages import EpochStart, Heartbeat, QueueStats, RunnerBody, RunnerEnvelope
from aisops_runner.errors import DataDirUnusable, RunnerError
from aisops_runner.outbox import highwater, queue, schema, store
from aisops_runner.outbox.ballast import Ballast
from aisops_runner.outbox.database import Database
from aisops_runner.outbox.locking import DataDirLock
from aisops_runner.outbox.opening import HIGHWATER_NAME, Opened, open_file, openings_of
from aisops_runner.outbox.queue import Bounds, Pressure
from aisops_runner.outbox.rows import Row
from aisops_runner.outbox.tail import Tail
from aisops_runner.outbox.transaction import Transaction, draft

T = TypeVar("T")
OnLoss = Callable[[Transaction, int, int], None]

FILE_NAME = "outbox.db"
BALLAST_NAME = "outbox.ballast"
TRIM_ROWS = 1000
TRIM_AFTER_S = 1.0

_log = structlog.get_logger("aisops_runner.outbox")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a Hello says about the lane (see `messages.Hello`)."""

    queue_epoch: bytes
    epoch_start_seq: int
    next_seq: int
    oldest_unacked_seq: int
    previous_epochs: tuple[EpochStart, ...]
    journal_id: bytes
    last_core_epoch: bytes
    stats: QueueStats


@dataclass(frozen=True, slots=True)
class _Committed:
    value: object
    rows: list[Row]
    stats: QueueStats
    rewritten: bool


class Outbox:
    """The durable lane of one Runner. Made by `Outbox.open`; closed by `close`.

    Attributes:
        salvaged: The file was damaged when it was opened, and rows may be missing.
        vanished: Set once the file is no longer where it was opened: somebody removed or replaced the data directory,
            and whatever is stored from then on is lost with this process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        lock: DataDirLock,
        database: Database,
        ballast: Ballast,
        opening: Opened,
        bounds: Bounds,
    ) -> None:
        self.database = database
        self.bounds = bounds
        self.epoch = opening.epoch
        self.stats = opening.stats
        self.acked_seq = opening.oldest - 1
        self.last_seq = opening.next_seq - 1
        self.salvaged = opening.salvaged
        self.vanished = asyncio.Event()
        self._path = directory / FILE_NAME
        self._inode = opening.inode
        self._on_loss: OnLoss = _no_more
        self._highwater_path = directory / HIGHWATER_NAME
        self._highwater_seq = self.last_seq
        self._lock = lock
        self._ballast = ballast
        self._tail = Tail()
        self._sent_seq = 0
        self._trimmed_seq = self.acked_seq
        self._timer: asyncio.TimerHandle | None = None
        self._upkeep: set[asyncio.Future[None]] = set()
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, directory: Path, *, bounds: Bounds | None = None, stamp: str = "") -> Outbox:
        """Open the data directory's outbox, repairing what must be repaired.

        Args:
            directory: The data directory; made when absent.
            bounds: How much the lane may hold.
            stamp: Put into the name of a damaged file set aside; a sortable time, for example.

        Raises:
            DataDirUnusable: Another Runner uses it, it cannot be written, or a newer Runner wrote it.
        """
        lock = DataDirLock(directory)
        path = directory / FILE_NAME
        try:
            opened = await asyncio.to_thread(open_file, path, stamp or str(os.getpid()))
            ballast = Ballast(directory / BALLAST_NAME)
            await asyncio.to_thread(ballast.reserve)
            database = Database(path, ballast)
        except (OSError, sqlite3.Error) as error:
            lock.release()
            raise DataDirUnusable(f"cannot open {path}: {error}", key="data_dir") from error
        except RunnerError:
            lock.release()
            raise
        return cls(directory, lock=lock, database=database, ballast=ballast, opening=opened, bounds=bounds or Bounds())

    async def close(self) -> None:
        """Delete what is acknowledged, close the file and let the next Runner in."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        try:
            await self._keep_up()
        except (RunnerError, OSError) as error:
            _log.warning("the outbox was closed without its last upkeep", error=str(error))
        await self.database.close()
        self._lock.release()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called (on the event loop) whenever rows were committed or acknowledged."""
        self._listeners.append(listener)

    def on_loss(self, unit: OnLoss) -> None:
        """Have `unit` run, in the same commit, when rows turn out to be damaged or gone: it gets their numbers."""
        self._on_loss = unit

    # --- in -----------------------------------------------------------------------------------------------------------

    async def transact(self, unit: Callable[[Transaction], T]) -> T:
        """Run a unit of work; its rows join the lane in the same commit.

        Args:
            unit: Works on the transaction only; it may be run again.

        Raises:
            StorageFailed: Nothing of it is stored.
        """

        def run(connection: sqlite3.Connection) -> _Committed:
            transaction = Transaction(connection)
            value = unit(transaction)
            transaction.finish()
            dropped = store.give_way(connection, self.bounds) if transaction.rows else 0
            rewritten = transaction.rewritten or dropped > 0
            return _Committed(value, transaction.rows, store.stats(connection), rewritten)

        future = self.database.write(run)
        future.add_done_callback(self._committed)
        # Shielded: a caller that gives up does not undo the commit, and its rows must still be seen by `take`.
        return (await asyncio.shield(future)).value  # type: ignore[return-value]  # _Committed is not generic: 3.11 slots forbid it

    async def put(self, *bodies: RunnerBody) -> None:
        """Store messages; when this returns they will reach Core, unless their class allows dropping.

        Raises:
            EnvelopeTooLarge: One breaks a limit of the contract; none is stored.
            StorageFailed: The disk refused; none is stored.
        """
        drafts = [draft(body) for body in bodies]
        await self.transact(lambda transaction: transaction.append(*drafts))

    async def note_offline(self, beat: Heartbeat) -> None:
        """Store a heartbeat that could not be sent; beats not sent yet are counted together in one row.

        Args:
            beat: With `offline_beats` and `offline_ms` of this beat alone.
        """
        above = max(self._sent_seq, self.acked_seq)

        def unit(transaction: Transaction) -> None:
            found = store.find_slot(transaction.connection, "heartbeat", above)
            if found is None or not isinstance(found[1], Heartbeat):
                transaction.append(draft(beat))
                return
            seq, old = found[0], found[1]
            beats, lasted_ms = old.offline_beats + beat.offline_beats, old.offline_ms + beat.offline_ms
            merged = draft(replace(beat, offline_beats=beats, offline_ms=lasted_ms))
            store.replace_payload(transaction.connection, seq, merged)
            transaction.rewritten = True

        await self.transact(unit)

    def _committed(self, future: asyncio.Future[_Committed]) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        done = future.result()
        self.stats = done.stats
        if done.rewritten:
            self._tail.clear()
        self._schedule_upkeep()
        if not done.rows:
            return
        if not done.rewritten:
            self._tail.extend(done.rows)
        self.last_seq = max(self.last_seq, done.rows[-1].seq)
        for listener in self._listeners:
            listener()

    # --- out ----------------------------------------------------------------------------------------------------------

    async def take(self, after_seq: int, max_messages: int, max_bytes: int) -> list[RunnerEnvelope]:
        """What to send next. Nothing is removed: only `ack` removes.

        Args:
            after_seq: Last number handed to the wire in this session.
            max_messages: Messages the window still takes.
            max_bytes: Octets the window still takes.

        Raises:
            StorageFailed: The file cannot be read.
        """
        if after_seq >= self.last_seq or max_messages <= 0 or max_bytes <= 0:
            return []
        rows = self._tail.after(after_seq, max_messages)
        if rows is None:
            rows = await self._scan(after_seq, max_bytes)
        chosen = queue.select(rows, after_seq, max_messages, max_bytes)
        self._sent_seq = max(self._sent_seq, chosen[-1].seq if chosen else 0)
        return [queue.to_envelope(row, after_seq) for row in chosen]

    async def _scan(self, after_seq: int, max_bytes: int) -> list[Row]:
        """Read a page back; what is damaged or missing on it is closed over and reported first."""
        while True:
            page = await self.database.read(lambda connection: store.scan(connection, after_seq, max_bytes))
            present = [(row.low, row.seq) for row in page.rows]
            hole = (after_seq + 1, present[0][0] - 1) if present and present[0][0] > after_seq + 1 else None
            if page.damaged:
                _log.error("damaged rows were set aside", seqs=page.damaged)
                await self.transact(partial(_report, damaged=page.damaged, on_loss=self._on_loss))
            elif hole is not None:
                _log.error("numbers are missing from the outbox", low=hole[0], high=hole[1])
                await self.transact(partial(_close_over, hole=hole, on_loss=self._on_loss))
            else:
                return page.rows

    def ack(self, seq: int) -> None:
        """Core has committed everything up to `seq`; it is deleted soon, many rows at a time."""
        if seq <= self.acked_seq:
            return
        self.acked_seq = seq
        self._tail.forget(seq)
        if seq - self._trimmed_seq >= TRIM_ROWS and not self._upkeep:
            self._start_upkeep()
        else:
            self._schedule_upkeep()
        for listener in self._listeners:
            listener()

    async def inventory(self) -> Inventory:
        """What the next Hello says about the lane."""
        epoch, acked = self.epoch, self.acked_seq

        def unit(connection: sqlite3.Connection) -> Inventory:
            openings = openings_of(connection)
            return Inventory(
                queue_epoch=epoch,
                epoch_start_seq=openings[-1].start_seq,
                next_seq=store.next_seq(connection),
                oldest_unacked_seq=max(acked + 1, store.oldest(connection)),
                previous_epochs=tuple(EpochStart(one.epoch, one.start_seq) for one in openings[:-1]),
                journal_id=schema.get_meta(connection, "journal_id"),
                last_core_epoch=schema.get_meta(connection, "core_epoch"),
                stats=store.stats(connection),
            )

        return await self.database.read(unit)

    async def welcomed(self, core_epoch: bytes) -> None:
        """Core knows this opening now; remember that, and Core's own epoch."""
        epoch = self.epoch

        def unit(transaction: Transaction) -> None:
            transaction.connection.execute("UPDATE epochs SET welcomed = 1 WHERE epoch = ?", (epoch,))
            schema.set_meta(transaction.connection, "core_epoch", core_epoch)

        await self.transact(unit)

    def pressure(self) -> Pressure:
        """How full the lane is, and what that means for new work."""
        return self.bounds.pressure(self.stats.bytes)

    # --- upkeep -------------------------------------------------------------------------------------------------------

    def _schedule_upkeep(self) -> None:
        if self._timer is None and not self.database.closed:
            self._timer = asyncio.get_running_loop().call_later(TRIM_AFTER_S, self._start_upkeep)

    def _start_upkeep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task = asyncio.ensure_future(self._keep_up())
        self._upkeep.add(task)
        task.add_done_callback(self._upkeep_done)

    def _upkeep_done(self, task: asyncio.Future[None]) -> None:
        self._upkeep.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("upkeep of the outbox failed; it will be tried again", error=str(task.exception()))
            self._schedule_upkeep()

    async def _keep_up(self) -> None:
        """Delete what is acknowledged, and record how far the lane has got."""
        if not await asyncio.to_thread(self._in_place):
            if not self.vanished.is_set():
                _log.error("the outbox was removed while in use; what is stored now is not kept", file=str(self._path))
            self.vanished.set()
            return
        if not self._ballast.held:
            await asyncio.to_thread(self._ballast.reserve)
        acked, last = self.acked_seq, self.last_seq
        if acked > self._trimmed_seq:
            await self.transact(lambda transaction: store.delete_to(transaction.connection, acked))
            self._trimmed_seq = acked
        if last > self._highwater_seq:
            await asyncio.to_thread(highwater.save, self._highwater_path, last, self.epoch)
            self._highwater_seq = last

    def _in_place(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False


def _report(transaction: Transaction, damaged: Sequence[int], on_loss: OnLoss) -> None:
    transaction.rewritten = True
    transaction.rows.extend(store.quarantine(transaction.connection, damaged, "checksum mismatch"))
    for seq in damaged:
        on_loss(transaction, seq, seq)


def _close_over(transaction: Transaction, hole: tuple[int, int], on_loss: OnLoss) -> None:
    transaction.rewritten = True
    transaction.rows.extend(store.fill(transaction.connection, [hole], "rows missing from the outbox file"))
    on_loss(transaction, *hole)


def _no_more(_transaction: Transaction, _low: int, _high: int) -> None:
    """Nobody has asked to hear of losses."""
