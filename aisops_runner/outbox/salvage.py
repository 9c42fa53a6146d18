"""A damaged outbox file: save what can be read into a new file, set the old one aside, and say what is gone.

Blocking; runs before the database is opened. Reading goes from both ends towards the damage, so that one bad page
costs the rows on it and not the rest of the file. The new file takes the old one's place only when it is complete: a
disk that fails or a kill meanwhile leaves everything to the next start. And a disk that only refuses, because it is
full or answers with errors, is no damage: then the start fails, and the file stays as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from aisops_runner import disk
from aisops_runner.outbox import queue, store
from aisops_runner.outbox.database import SUSPECT_NAME
from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.schema import (
    SESSION_EPOCH,
    columns_of,
    connect,
    create_or_check,
    get_meta,
    renew_journal_id,
    set_meta,
)
from aisops_runner.outbox.sums import SUMMED_EPOCH

CHECKED_BYTES = 64 * 1024 * 1024
_SIDE_FILES = ("-wal", "-shm")
_DRAFT_SUFFIX = ".salvaged"
_REFUSALS = frozenset({3, 5, 6, 7, 8, 10, 13, 14, 15})
"""PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL."""
_UNREADABLE = frozenset({266, 522})
"""IOERR_READ and IOERR_SHORT_READ: a place of the file that cannot be read is lost, however often one tries."""

_log = structlog.get_logger("aisops_runner.outbox")


@dataclass(frozen=True, slots=True)
class Salvage:
    """What became of a damaged file."""

    set_aside: Path
    reason: str
    messages: int
    lost: int
    jobs: int


def open_or_salvage(path: Path, stamp: str) -> Salvage | None:
    """Make sure a sound database file stands at `path`.

    Args:
        path: Where the file is or shall be.
        stamp: Put into the name of a file set aside.

    Returns:
        None when the file was sound or new, else the account of the salvage.

    Raises:
        DataDirUnusable: The file was written by a newer Runner.
        OSError, sqlite3.Error: Not even a new file can be made.
    """
    draft = path.with_name(path.name + _DRAFT_SUFFIX)
    if draft.exists() and not path.exists():  # the last start was cut off between the two renames
        disk.replace(draft, path)
    reason = _defect(path)
    if reason is None:
        return None
    _discard(draft)
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    account = _rebuild(draft, path, aside, reason)
    for suffix in (*_SIDE_FILES, ""):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(aside.with_name(aside.name + suffix))
    disk.replace(draft, path)
    (path.parent / SUSPECT_NAME).unlink(missing_ok=True)
    _log.error("a damaged outbox was set aside", file=str(aside), reason=reason, saved=account.messages)
    return account


def _discard(draft: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _defect(path: Path) -> str | None:
    """Why the file is damaged; None when it is sound.

    Raises:
        DataDirUnusable, sqlite3.Error: Whether it is cannot be told.
    """
    try:
        connection = connect(str(path))
    except sqlite3.DatabaseError as error:
        return _damage(error)
    try:
        create_or_check(connection)
        for table in ("out", "jobs", "epochs", "counters", "meta"):
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608 - our own table names
        suspect = (path.parent / SUSPECT_NAME).exists()
        if suspect or path.stat().st_size <= CHECKED_BYTES:
            # Not quick_check: it passes over damaged indexes, and the first question through one would end the Runner.
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if verdict != "ok":
                return verdict
        (path.parent / SUSPECT_NAME).unlink(missing_ok=True)
        return None
    except sqlite3.DatabaseError as error:
        return _damage(error)
    finally:
        connection.close()


def _damage(error: sqlite3.DatabaseError) -> str:
    """The error as the file's defect.

    Raises:
        sqlite3.DatabaseError: The error itself, when it speaks of the disk or of this moment and not of the content.
    """
    code = int(getattr(error, "sqlite_errorcode", 0))
    if code & 0xFF in _REFUSALS and code not in _UNREADABLE:
        raise error
    return str(error)


def _rebuild(draft: Path, path: Path, aside: Path, reason: str) -> Salvage:
    """Make the new file under the name `draft`."""
    fresh = connect(str(draft))
    try:
        create_or_check(fresh)
        old = sqlite3.connect(str(path), isolation_level=None)
        old.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            fresh.execute("BEGIN IMMEDIATE")
            messages, lost = _save_lane(old, fresh)
            jobs = _save_table(old, fresh, "jobs", "ordinal")
            _save_table(old, fresh, "epochs", "ordinal")
            _save_summed(old, fresh)
            _save_session(old, fresh)
            renew_journal_id(fresh)
            fresh.execute("COMMIT")
        finally:
            old.close()
    finally:
        fresh.close()
    return Salvage(aside, reason, messages, lost, jobs)


def _save_lane(old: sqlite3.Connection, fresh: sqlite3.Connection) -> tuple[int, int]:
    """Copy the sound rows, then close the lane over the numbers between them that are gone."""
    columns = "seq, low, class, is_skip, crc, payload, level, slot, message_id"
    present: list[tuple[int, int]] = []
    for row in sorted(_rows(old, "out", columns, "seq"), key=_first):
        seq, low, message_class, is_skip, _, payload, level, slot, identity = row
        if not store.sound(row):
            continue
        one = Draft(payload, message_class, level, slot or "", store.as_skip(payload) if is_skip else None)
        store.put_back(fresh, seq, one, low=low, identity=identity)
        present.append((low, seq))
    gaps = queue.missing(present, present[0][0], present[-1][1]) if present else []
    store.fill(fresh, gaps, "the outbox file was damaged")
    return len(present), sum(seq - low + 1 for low, seq in gaps)


def _save_table(old: sqlite3.Connection, fresh: sqlite3.Connection, table: str, key: str) -> int:
    there = _columns(old, table)
    columns = [name for name in columns_of(fresh, table) if not there or name in there]
    marks = ", ".join("?" * len(columns))
    names = ", ".join(columns)
    saved = 0
    for row in sorted(_rows(old, table, names, key), key=_first):
        try:
            fresh.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)  # noqa: S608 - our own table names
            saved += 1
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError):
            continue  # a damaged row: impossible or double values
    return saved


def _columns(old: sqlite3.Connection, table: str) -> list[str]:
    """The columns an older Runner's file has; empty when that cannot be read."""
    try:
        return columns_of(old, table)
    except sqlite3.Error:
        return []


def _save_summed(old: sqlite3.Connection, fresh: sqlite3.Connection) -> None:
    """Keep who made the checksums of the saved rows: made anew they would call every damage sound."""
    try:
        set_meta(fresh, SUMMED_EPOCH, get_meta(old, SUMMED_EPOCH))
    except sqlite3.Error:
        newest = fresh.execute("SELECT epoch FROM epochs ORDER BY ordinal DESC LIMIT 1").fetchone()
        set_meta(fresh, SUMMED_EPOCH, bytes(newest[0]) if newest else b"")


def _save_session(old: sqlite3.Connection, fresh: sqlite3.Connection) -> None:
    """Keep which session was the last; unreadable, Core takes the file for one set back, which is the careful way."""
    try:
        set_meta(fresh, SESSION_EPOCH, b"%d" % int(get_meta(old, SESSION_EPOCH) or b"0"))
    except (sqlite3.Error, ValueError):
        return


def _rows(old: sqlite3.Connection, table: str, columns: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Every readable row once, from the low end and then from the high end towards the damage."""
    seen: set[object] = set()
    for order in ("ASC", "DESC"):
        try:
            found = old.execute(f"SELECT {columns} FROM {table} ORDER BY {key} {order}")  # noqa: S608 - our own names
            for row in found:
                if row[0] in seen:
                    return
                seen.add(row[0])
                yield row
        except (sqlite3.Error, UnicodeError, OverflowError):
            continue


def _first(row: tuple[Any, ...]) -> int:
    return int(row[0])
