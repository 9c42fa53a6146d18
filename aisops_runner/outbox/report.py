"""What an operator wants to know of an outbox: how much waits, for how long, what was dropped, what is damaged.

Read-only and cheap whatever the depth: counters are kept, ends are found by key, and only what is rare is counted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from aisops_protocol.messages import JobPhase, LogLevel
from aisops_runner.errors import StorageFailed
from aisops_runner.outbox import highwater, schema, store
from aisops_runner.outbox.database import SUSPECT_NAME
from aisops_runner.outbox.opening import HIGHWATER_NAME, openings_of
from aisops_runner.outbox.queue import Bounds

FILE_NAME = "outbox.db"
BALLAST_NAME = "outbox.ballast"
READ_TIMEOUT_S = 5.0


def read(directory: Path, bounds: Bounds, unix_ms: int) -> dict[str, Any]:
    """The report of an outbox that nobody may have open. Blocking.

    Args:
        directory: The data directory.
        bounds: How much the lane may hold.
        unix_ms: Wall clock, ms.

    Raises:
        StorageFailed: There is no outbox, or it cannot be read.
    """
    path = directory / FILE_NAME
    if not path.exists():
        raise StorageFailed(f"there is no outbox in {directory}; a Runner that has run once leaves one")
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=READ_TIMEOUT_S)) as connection:
            return report(connection, directory, bounds, unix_ms)
    except sqlite3.Error as error:
        raise StorageFailed(f"{path} cannot be read: {error}") from error


def report(connection: sqlite3.Connection, directory: Path, bounds: Bounds, unix_ms: int) -> dict[str, Any]:
    """The report of an open outbox; see `read`.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    stats = store.stats(connection)
    openings = openings_of(connection)
    first = connection.execute("SELECT seq, message_id FROM out ORDER BY seq LIMIT 1").fetchone()
    return {
        "messages": stats.messages,
        "bytes": stats.bytes,
        "max_bytes": bounds.max_bytes,
        "full_percent": round(100 * stats.bytes / bounds.max_bytes, 1),
        "pressure": bounds.pressure(stats.bytes).value,
        "oldest_age_s": None if first is None else _age_s(bytes(first[1]), unix_ms),
        "oldest_seq": store.oldest(connection),
        "next_seq": store.next_seq(connection),
        "dropped": {"total": stats.dropped, **_drops(connection)},
        "quarantined": stats.quarantined,
        "quarantined_rows_kept": _count(connection, "SELECT COUNT(*) FROM bad"),
        "epoch": openings[-1].epoch.hex() if openings else None,
        "epochs": len(openings),
        "journal": {
            "accepted": _phase(connection, JobPhase.ACCEPTED),
            "started": _phase(connection, JobPhase.STARTED),
            "unacknowledged_results": _count(
                connection, "SELECT COUNT(*) FROM jobs WHERE phase = 3 AND result_seq >= ?", store.oldest(connection)
            ),
        },
        "journal_id": schema.get_meta(connection, "journal_id").hex(),
        "files": _files(directory),
    }


def _drops(connection: sqlite3.Connection) -> dict[str, int]:
    found = dict(connection.execute("SELECT level, messages FROM drops"))
    return {
        level.name.lower(): int(found.get(int(level), 0)) for level in LogLevel if level is not LogLevel.UNSPECIFIED
    }


def _phase(connection: sqlite3.Connection, phase: JobPhase) -> int:
    return _count(connection, "SELECT COUNT(*) FROM jobs WHERE phase < 3 AND phase = ?", int(phase))


def _count(connection: sqlite3.Connection, query: str, *values: object) -> int:
    return int(connection.execute(query, values).fetchone()[0])


def _age_s(identity: bytes, unix_ms: int) -> float:
    """How long ago a UUIDv7 was drawn; 0 when the clock was set back meanwhile."""
    return round(max(0, unix_ms - int.from_bytes(identity[:6], "big")) / 1000, 1)


def _files(directory: Path) -> dict[str, Any]:
    path = directory / FILE_NAME
    return {
        "outbox_bytes": _size(path),
        "log_bytes": _size(path.with_name(f"{FILE_NAME}-wal")),
        "ballast_bytes": _size(directory / BALLAST_NAME),
        "highwater_seq": highwater.load(directory / HIGHWATER_NAME),
        "suspect": (directory / SUSPECT_NAME).exists(),
        "set_aside": sorted(
            one.name for one in directory.glob(f"{FILE_NAME}.corrupt-*") if not one.name.endswith(("-wal", "-shm"))
        ),
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
