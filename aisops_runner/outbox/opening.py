"""Opening the outbox file: repair, a new epoch, and a report of what was lost. Blocking; used once at start."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from aisops_protocol.limits import PREVIOUS_EPOCHS
from aisops_protocol.messages import Event, GapReport, QueueStats
from aisops_runner.outbox import epochs, highwater, schema, store, sums
from aisops_runner.outbox.epochs import Opening
from aisops_runner.outbox.salvage import Salvage, open_or_salvage

HIGHWATER_NAME = "outbox.hwm"

_log = structlog.get_logger("aisops_runner.outbox")


@dataclass(frozen=True, slots=True)
class Opened:
    """What the file holds at opening, and the epoch that begins.

    `inode` is the file itself, whatever its name may come to stand for; `salvaged` is True when it is a new file made
    of what could be read of a damaged one.
    """

    epoch: bytes
    next_seq: int
    oldest: int
    stats: QueueStats
    inode: int
    salvaged: bool


def open_file(path: Path, stamp: str) -> Opened:
    """Repair, begin a new epoch, and put on record what was lost.

    Args:
        path: The database file; made when absent.
        stamp: Put into the name of a damaged file set aside.

    Raises:
        DataDirUnusable: The file was written by a newer Runner.
        OSError, sqlite3.Error: The disk refuses.
    """
    salvage = open_or_salvage(path, stamp)
    known = highwater.load(path.with_name(HIGHWATER_NAME))
    path.chmod(0o600)
    connection = schema.connect(str(path))
    try:
        connection.execute("BEGIN IMMEDIATE")
        epoch = _begin_epoch(connection)
        _report_losses(connection, salvage, known)
        connection.execute("COMMIT")
        return Opened(
            epoch,
            store.next_seq(connection),
            store.oldest(connection),
            store.stats(connection),
            inode=path.stat().st_ino,
            salvaged=salvage is not None,
        )
    finally:
        connection.close()


def _begin_epoch(connection: sqlite3.Connection) -> bytes:
    epoch = os.urandom(16)
    start = store.next_seq(connection)
    known = openings_of(connection)
    sums.begin(connection, epoch, known[-1].epoch if known else b"")
    kept = epochs.prune(known, PREVIOUS_EPOCHS)
    connection.execute("DELETE FROM epochs")
    connection.executemany(
        "INSERT INTO epochs (epoch, start_seq, welcomed) VALUES (?, ?, ?)",
        [(one.epoch, one.start_seq, _mark_of(one)) for one in (*kept, Opening(epoch, start, welcomed=False))],
    )
    return epoch


def openings_of(connection: sqlite3.Connection) -> list[Opening]:
    """Every opening on record, oldest first."""
    found = connection.execute("SELECT epoch, start_seq, welcomed FROM epochs ORDER BY ordinal")
    return [
        Opening(bytes(epoch), int(start), welcomed=mark == schema.WELCOMED, told=mark != schema.UNTOLD)
        for epoch, start, mark in found
    ]


def _mark_of(opening: Opening) -> int:
    if opening.welcomed:
        return schema.WELCOMED
    return schema.TOLD if opening.told else schema.UNTOLD


def _report_losses(connection: sqlite3.Connection, salvage: Salvage | None, known: int) -> None:
    """Rows that had been committed and are gone are reported; and no unknown job may be taken for one never begun."""
    start = store.next_seq(connection)
    if salvage is not None:
        store.append(connection, [store.draft(_salvage_event(salvage))])
    if known >= start:
        _log.error("rows of the outbox have vanished", low=start, high=known)
        schema.renew_journal_id(connection)
        store.append(connection, [store.draft(GapReport(start, known, "rows vanished from the outbox file"))])


def _salvage_event(salvage: Salvage) -> Event:
    data = {
        "file": salvage.set_aside.name,
        "reason": salvage.reason,
        "messages_saved": salvage.messages,
        "messages_lost": salvage.lost,
        "jobs_saved": salvage.jobs,
    }
    return Event("outbox.salvaged", time.time_ns() // 1_000_000, json.dumps(data).encode())
