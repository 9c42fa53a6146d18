"""The outbox: what is put here survives kill -9 and power loss, and reaches Core in order.

Joins the rules (`queue`, `epochs`), the table (`store`), the file (`database`) and its `upkeep`. Rows just written are
kept in memory until acknowledged, so that a connected Runner never reads back what it wrote.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from aisops_protocol.messages import Heartbeat, QueueStats, RunnerBody, RunnerEnvelope
from aisops_runner import disk
from aisops_runner.errors import RunnerError
from aisops_runner.outbox import queue, store
from aisops_runner.outbox.ballast import Ballast
from aisops_runner.outbox.beats import count_in
from aisops_runner.outbox.database import Database
from aisops_runner.outbox.filesystem import refuse_network
from aisops_runner.outbox.greeting import Inventory, note_told, note_welcome, take_inventory
from aisops_runner.outbox.locking import DataDirLock
from aisops_runner.outbox.losses import OnLoss, nobody_told, repair_of
from aisops_runner.outbox.opening import Opened, open_file
from aisops_runner.outbox.queue import Bounds, Pressure
from aisops_runner.outbox.report import BALLAST_NAME, FILE_NAME, report
from aisops_runner.outbox.room import file_bytes
from aisops_runner.outbox.rows import Row
from aisops_runner.outbox.tail import Tail
from aisops_runner.outbox.transaction import Transaction, draft
from aisops_runner.outbox.upkeep import Upkeep

__all__ = ["BALLAST_NAME", "FILE_NAME", "Outbox"]

T = TypeVar("T")

_log = structlog.get_logger("aisops_runner.outbox")


@dataclass(frozen=True, slots=True)
class _Committed:
    value: object
    rows: list[Row]
    stats: QueueStats
    rewritten: bool
    urgent: bool


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
        self._on_loss: OnLoss = nobody_told
        self._lock = lock
        self._directory = directory
        self._tail = Tail()
        self._sent_seq = 0
        self._told = False
        self._listeners: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._upkeep = Upkeep(self, self._delete_to, path=directory / FILE_NAME, opening=opening, ballast=ballast)
        self.vanished = self._upkeep.vanished

    @classmethod
    async def open(
        cls, directory: Path, *, bounds: Bounds | None = None, stamp: str = "", allow_network: bool = False
    ) -> Outbox:
        """Open the data directory's outbox, repairing what must be repaired.

        Args:
            directory: The data directory; made when absent.
            bounds: How much the lane may hold.
            stamp: Put into the name of a damaged file set aside; a sortable time, for example.
            allow_network: Take a directory on a network file system, which promises less.

        Raises:
            DataDirUnusable: Another Runner uses it, it cannot be written, it is on a network, or a newer Runner wrote
                it.
            StorageFailed: The disk refused.
        """
        if not allow_network:
            await asyncio.to_thread(refuse_network, directory)
        lock = DataDirLock(directory)
        path = directory / FILE_NAME
        try:
            opened = await asyncio.to_thread(open_file, path, stamp or str(os.getpid()))
            ballast = Ballast(directory / BALLAST_NAME)
            await asyncio.to_thread(ballast.reserve)
            database = Database(path, ballast, file_bytes(bounds or Bounds()))
        except (OSError, sqlite3.Error) as error:
            lock.release()
            raise disk.refusal(f"cannot open {path}", error, path) from error
        except RunnerError:
            lock.release()
            raise
        return cls(directory, lock=lock, database=database, ballast=ballast, opening=opened, bounds=bounds or Bounds())

    async def close(self) -> None:
        """Delete what is acknowledged, close the file and let the next Runner in."""
        try:
            await self._upkeep.finish()
        except (RunnerError, OSError) as error:
            _log.warning("the outbox was closed without its last upkeep", error=str(error))
        await self.database.close()
        self._lock.release()

    def listen(self, moved: Callable[[], None], patient: Callable[[], None]) -> None:
        """Have `moved` called (on the event loop) whenever rows were committed or acknowledged.

        Args:
            moved: What to call.
            patient: Called instead when nobody waits for the rows that were committed.
        """
        self._listeners.append((moved, patient))

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
            stats = store.stats(connection)
            dropped = store.give_way(connection, self.bounds, stats) if transaction.rows else 0
            if dropped:
                stats = store.stats(connection)
            return _Committed(value, transaction.rows, stats, transaction.rewritten or dropped > 0, transaction.urgent)

        # A caller that gives up does not undo the commit: its rows must still be seen by `take`.
        return (await self.database.write(run, self._committed)).value  # type: ignore[return-value]  # _Committed is not generic: 3.11 slots forbid it

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
        await self.transact(lambda transaction: count_in(transaction, beat, above))

    def _committed(self, done: _Committed) -> None:
        self.stats = done.stats
        if done.rewritten:
            self._tail.clear()
        self._upkeep.schedule()
        if not done.rows:
            return
        if not done.rewritten:
            self._tail.extend(done.rows)
        self.last_seq = max(self.last_seq, done.rows[-1].seq)
        for moved, patient in self._listeners:
            (moved if done.urgent else patient)()

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
            repair = repair_of(page, after_seq, self._on_loss)
            if repair is None:
                return page.rows
            await self.transact(repair)

    def ack(self, seq: int) -> None:
        """Core has committed everything up to `seq`; it is deleted soon, many rows at a time."""
        if seq <= self.acked_seq:
            return
        self.acked_seq = seq
        self._tail.forget(seq)
        self._upkeep.acknowledged()
        for moved, _ in self._listeners:
            moved()

    async def inventory(self) -> Inventory:
        """What the next Hello says about the lane; from now on Core may know its openings, and that is on the disk."""
        if not self._told:
            await self.transact(note_told)
            self._told = True
        acked = self.acked_seq
        return await self.database.read(lambda connection: take_inventory(connection, self.epoch, acked))

    async def welcomed(self, core_epoch: bytes, session_epoch: int) -> None:
        """Core knows our openings now; remember that, Core's own epoch, and which session this is."""
        await self.transact(lambda transaction: note_welcome(transaction, core_epoch, session_epoch))

    async def report(self, unix_ms: int) -> dict[str, Any]:
        """What an operator wants to know of it; see `outbox.report`.

        Raises:
            StorageFailed: The file cannot be read.
        """
        return await self.database.read(lambda connection: report(connection, self._directory, self.bounds, unix_ms))

    def pressure(self) -> Pressure:
        """How full the lane is, and what that means for new work."""
        return self.bounds.pressure(self.stats.bytes)

    async def _delete_to(self, seq: int) -> None:
        await self.transact(lambda transaction: store.delete_to(transaction.connection, seq))
