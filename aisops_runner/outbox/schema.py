"""The Runner's one SQLite file: its tables, its pragmas and its schema version.

`out` is the durable lane, `jobs` the journal, `epochs` the openings of the file, `bad` what was damaged,
`counters` the size of the lane (kept, not counted: a start must not scan a million rows), `meta` everything else.
"""

from __future__ import annotations

import os
import sqlite3

from aisops_protocol.messages import MessageClass
from aisops_runner.errors import DataDirUnusable

SCHEMA_VERSION = 1
JOURNAL_ID_BYTES = 16
RAN_S = "age_s"
"""The name in `meta` of the seconds this Runner has run, by which the journal's rows age."""
SESSION_EPOCH = "session_epoch"
"""The name in `meta` of the epoch of the newest session this file knows of."""
UNTOLD, WELCOMED, TOLD = 0, 1, 2
"""How an opening stands with Core: never named to it, welcomed by it, or named in a Hello that nothing came of yet."""

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",  # see `folding`
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
)

_TABLES = (
    """
    CREATE TABLE out (
        seq     INTEGER PRIMARY KEY AUTOINCREMENT,  -- for a Skip: the last number it stands for
        low     INTEGER NOT NULL,                   -- the first number the row stands for (seq unless a Skip)
        class   INTEGER NOT NULL,                   -- MessageClass
        is_skip INTEGER NOT NULL DEFAULT 0,         -- 1: the payload is a Skip
        level   INTEGER NOT NULL DEFAULT 0,         -- LogLevel of a droppable row
        slot    TEXT,                               -- coalescing key: at most one unsent row for each
        crc     INTEGER NOT NULL,                   -- CRC-32 over low, seq, class and payload
        message_id BLOB NOT NULL,                   -- UUIDv7
        payload BLOB NOT NULL                       -- the body as `codec.encode_runner_body` wrote it
    )
    """,
    f"CREATE INDEX out_droppable ON out (level, seq) WHERE class = {int(MessageClass.DROPPABLE)}",
    "CREATE INDEX out_slot ON out (slot) WHERE slot IS NOT NULL",
    "CREATE TABLE bad (seq INTEGER, reason TEXT NOT NULL, payload BLOB, found_unix_ms INTEGER NOT NULL)",
    "CREATE TABLE epochs (ordinal INTEGER PRIMARY KEY AUTOINCREMENT, epoch BLOB NOT NULL, "
    "start_seq INTEGER NOT NULL, welcomed INTEGER NOT NULL DEFAULT 0)",
    """
    CREATE TABLE counters (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        messages INTEGER NOT NULL, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL, quarantined INTEGER NOT NULL
    )
    """,
    "INSERT INTO counters VALUES (1, 0, 0, 0, 0)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE jobs (
        ordinal      INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id       TEXT NOT NULL UNIQUE,
        lease_id     BLOB NOT NULL,
        attempt      INTEGER NOT NULL,
        phase        INTEGER NOT NULL,              -- JobPhase
        capability   TEXT NOT NULL,
        input        BLOB NOT NULL,                 -- emptied when the job is done
        effect_key   TEXT NOT NULL,
        effect_class INTEGER NOT NULL,
        timeout_ms   INTEGER NOT NULL,
        calls        INTEGER NOT NULL DEFAULT 0,
        context      TEXT NOT NULL DEFAULT '{}',    -- execution_id, step_id, trace
        result       BLOB,                          -- the JobResult body, for delivery again
        output       BLOB,                          -- the output, when too large for the body; until acknowledged
        result_seq   INTEGER NOT NULL DEFAULT 0,    -- where the result stands in the lane
        done_age_s   INTEGER NOT NULL DEFAULT 0,    -- the Runner's own age (seconds it ever ran) when it was done
        sum          INTEGER,                       -- see `sums`; NULL when an older Runner wrote the row
        state_sum    INTEGER
    )
    """,
    "CREATE INDEX jobs_open ON jobs (ordinal) WHERE phase < 3",
    "CREATE INDEX jobs_done ON jobs (result_seq) WHERE phase = 3",
    "CREATE TABLE drops (level INTEGER PRIMARY KEY, messages INTEGER NOT NULL)",
)

_ADDED = (
    "ALTER TABLE jobs ADD COLUMN sum INTEGER",
    "ALTER TABLE jobs ADD COLUMN state_sum INTEGER",
    "CREATE TABLE IF NOT EXISTS drops (level INTEGER PRIMARY KEY, messages INTEGER NOT NULL)",
)
"""What a file of an earlier Runner lacks. Older Runners work on with it, so the version stays what it is."""


def connect(path: str) -> sqlite3.Connection:
    """Open the file with the settings durability rests on.

    Args:
        path: The database file; created when absent.

    Raises:
        sqlite3.Error: The file is damaged or the disk fails.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        for pragma in _PRAGMAS:
            # To the end: a disk that refuses the write-ahead log says so only after the first row. Unheard, there is
            # none that our reader holds open, and a commit that was refused comes back with the next handle.
            connection.execute(pragma).fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create_or_check(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file; check the version of an old one.

    Raises:
        DataDirUnusable: The file was written by a newer Runner.
        sqlite3.Error: The file is damaged or the disk fails.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise DataDirUnusable(
            f"the data directory was written by a newer Runner (schema {version}, this one knows {SCHEMA_VERSION}); "
            "install that version again or use another data directory",
            key="data_dir",
        )
    if version == SCHEMA_VERSION and "state_sum" in columns_of(connection, "jobs"):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _ADDED if version == SCHEMA_VERSION else _TABLES:
            connection.execute(statement)
        if version != SCHEMA_VERSION:
            connection.execute("INSERT INTO meta VALUES ('journal_id', ?)", (os.urandom(JOURNAL_ID_BYTES),))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # a disk that fails at the commit has ended it already
            connection.execute("ROLLBACK")
        raise


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """Names of a table's columns, in order."""
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


def renew_journal_id(connection: sqlite3.Connection) -> None:
    """Draw a new journal id: rows were lost, so Core must not conclude that an unknown job never started here."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'journal_id'", (os.urandom(JOURNAL_ID_BYTES),))


def get_meta(connection: sqlite3.Connection, name: str) -> bytes:
    """One value of `meta`; empty when it was never set."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return bytes(row[0]) if row else b""


def set_meta(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    """Set one value of `meta`."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )
