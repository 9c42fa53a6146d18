"""The `out` table: append, scan, acknowledge, give way, quarantine. Every function runs inside a unit of work."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aisops_protocol.codec import decode_runner_body, encode_runner_body
from aisops_protocol.messages import GapReport, MessageClass, QueueStats, RunnerBody, Skip
from aisops_runner.outbox import queue
from aisops_runner.outbox.bulk import Bulk
from aisops_runner.outbox.queue import Bounds, Hole
from aisops_runner.outbox.rows import Draft, Row, checksum, classify, cost_bytes, is_patient, message_ids

PAGE_ROWS = 256
_INSERT = Bulk("INSERT INTO out (seq, low, class, is_skip, level, slot, crc, message_id, payload)", 9)
_DROPPABLE = int(MessageClass.DROPPABLE)
_COST = f"(LENGTH(payload) + {cost_bytes(b'')})"


@dataclass(frozen=True, slots=True)
class Page:
    """Rows read back, and the numbers of those that were damaged."""

    rows: list[Row]
    damaged: list[int]


def draft(body: RunnerBody) -> Draft:
    """Encode a message for the lane.

    Raises:
        ProtocolError: The message breaks a limit of the contract.
    """
    message_class, level, slot = classify(body)
    skip = body if isinstance(body, Skip) else None
    return Draft(encode_runner_body(body), message_class, level, slot, skip, is_patient(body))


def next_seq(connection: sqlite3.Connection) -> int:
    """The number the next row will get; numbers are never used twice within a file."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'out'").fetchone()
    return int(row[0]) + 1 if row else 1


def number(drafts: Sequence[Draft], first_seq: int) -> list[tuple[Row, Draft]]:
    """Give messages their numbers and ids, in memory."""
    identities = _identities(len(drafts))
    return [
        (Row(seq, seq, one.payload, identity, one.skip), one)
        for seq, (one, identity) in enumerate(zip(drafts, identities, strict=True), first_seq)
    ]


def insert(connection: sqlite3.Connection, numbered: Sequence[tuple[Row, Draft]]) -> None:
    """Insert numbered messages."""
    if numbered:
        _INSERT.run(connection, [_values(row.seq, row.low, one, row.message_id) for row, one in numbered])
        _count(connection, messages=len(numbered), octets=sum([row.cost for row, _ in numbered]))


def append(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> list[Row]:
    """Number and insert messages; returns them as rows."""
    numbered = number(drafts, next_seq(connection)) if drafts else []
    insert(connection, numbered)
    return [row for row, _ in numbered]


def put_back(connection: sqlite3.Connection, seq: int, one: Draft, *, low: int, identity: bytes = b"") -> None:
    """Insert a row under a number of its own: a Skip in the place of what gave way, a row saved from a damaged file."""
    _INSERT.run(connection, [_values(seq, low, one, identity or _identities(1)[0])])
    _count(connection, messages=1, octets=cost_bytes(one.payload))


def scan(connection: sqlite3.Connection, after_seq: int, max_bytes: int) -> Page:
    """Read the lane from `after_seq` on, at most one page.

    Args:
        connection: Any connection to the file.
        after_seq: Rows above this number are read.
        max_bytes: Stop after so many octets (one row is always read).
    """
    page = Page([], [])
    room = max_bytes
    found = connection.execute(
        "SELECT seq, low, class, is_skip, crc, payload, message_id FROM out WHERE seq > ? ORDER BY seq LIMIT ?",
        (after_seq, PAGE_ROWS),
    )
    for stored in found:
        seq, low, _, is_skip, _, payload, identity = stored
        if not sound(stored):
            page.damaged.append(seq)
            continue
        skip = as_skip(payload) if is_skip else None
        page.rows.append(Row(seq, low, payload, bytes(identity), skip))
        room -= cost_bytes(payload)
        if room <= 0:
            break
    found.close()
    return page


def delete_to(connection: sqlite3.Connection, seq: int) -> None:
    """Delete what Core has committed."""
    messages, octets = connection.execute(
        f"SELECT COUNT(*), COALESCE(SUM({_COST}), 0) FROM out WHERE seq <= ?",  # noqa: S608 - a constant
        (seq,),
    ).fetchone()
    connection.execute("DELETE FROM out WHERE seq <= ?", (seq,))
    _count(connection, messages=-messages, octets=-octets)


def oldest(connection: sqlite3.Connection) -> int:
    """The lowest number still held; the next number when nothing is."""
    row = connection.execute("SELECT low FROM out ORDER BY seq LIMIT 1").fetchone()
    return int(row[0]) if row else next_seq(connection)


def stats(connection: sqlite3.Connection) -> QueueStats:
    """Depth of the lane, kept up to date in every transaction."""
    row = connection.execute("SELECT messages, bytes, dropped, quarantined FROM counters").fetchone()
    return QueueStats(*row)


def find_slot(connection: sqlite3.Connection, slot: str, above_seq: int) -> tuple[int, RunnerBody] | None:
    """The newest row of a coalescing slot that has not been sent, with its number."""
    row = connection.execute(
        "SELECT seq, low, class, is_skip, crc, payload FROM out WHERE slot = ? AND seq > ? ORDER BY seq DESC LIMIT 1",
        (slot, above_seq),
    ).fetchone()
    if row is None or not sound(row):
        return None
    body = decode_runner_body(row[5])
    return (int(row[0]), body) if body is not None else None


def replace_payload(connection: sqlite3.Connection, seq: int, one: Draft) -> None:
    """Put a newer message into an unsent row, under the same number."""
    old = connection.execute("SELECT LENGTH(payload) FROM out WHERE seq = ?", (seq,)).fetchone()[0]
    crc = checksum(seq, seq, one.message_class, 0, one.payload)
    connection.execute("UPDATE out SET payload = ?, crc = ? WHERE seq = ?", (one.payload, crc, seq))
    _count(connection, messages=0, octets=len(one.payload) - old)


def give_way(connection: sqlite3.Connection, bounds: Bounds, held: QueueStats) -> int:
    """Drop droppable rows, lowest level and oldest first, when the lane is too big; Skips take their numbers.

    Args:
        connection: Inside the transaction.
        bounds: How big it may be.
        held: How big it is.

    Returns:
        Messages dropped.
    """
    to_free = bounds.to_free(held.bytes)
    victims: list[tuple[int, int, int]] = []
    levels: Counter[int] = Counter()
    if to_free <= 0:
        return 0
    found = connection.execute(
        f"SELECT seq, {_COST}, level FROM out WHERE class = {_DROPPABLE} ORDER BY level, seq"  # noqa: S608 - constants
    )
    for seq, cost, level in found:
        victims.append((seq, seq, 1))
        levels[level] += 1
        to_free -= cost
        if to_free <= 0:
            break
    found.close()
    for hole in queue.holes(victims):
        _skip_over(connection, hole, MessageClass.DROPPABLE)
    connection.execute("UPDATE counters SET dropped = dropped + ?", (len(victims),))
    connection.executemany(
        "INSERT INTO drops VALUES (?, ?) ON CONFLICT (level) DO UPDATE SET messages = messages + excluded.messages",
        levels.items(),
    )
    return len(victims)


def quarantine(connection: sqlite3.Connection, seqs: Sequence[int], reason: str) -> list[Row]:
    """Move damaged rows aside, close the lane over them, and report them to Core; returns the report rows."""
    for seq in seqs:
        connection.execute(
            "INSERT INTO bad SELECT seq, ?, payload, ? FROM out WHERE seq = ?",
            (reason, time.time_ns() // 1_000_000, seq),
        )
    lost = queue.holes((seq, seq, 1) for seq in seqs)
    for hole in lost:
        _skip_over(connection, hole, MessageClass.NEVER_DROPPED)
    connection.execute("UPDATE counters SET quarantined = quarantined + ?", (len(seqs),))
    return append(connection, [draft(GapReport(hole.low, hole.seq, reason)) for hole in lost])


def fill(connection: sqlite3.Connection, gaps: Sequence[tuple[int, int]], reason: str) -> list[Row]:
    """Close the lane over numbers that are gone from the file, and report them to Core; returns the report rows."""
    for low, seq in gaps:
        one = draft(Skip(low, seq, MessageClass.NEVER_DROPPED, seq - low + 1))
        put_back(connection, seq, one, low=low)
    return append(connection, [draft(GapReport(low, seq, reason)) for low, seq in gaps])


def sound(stored: Sequence[Any]) -> bool:
    """True when a row (seq, low, class, is_skip, crc, payload, …) is as it was written."""
    seq, low, message_class, is_skip, crc, payload = stored[:6]
    return isinstance(payload, bytes) and checksum(low, seq, message_class, is_skip, payload) == crc


def as_skip(payload: bytes) -> Skip | None:
    """The payload as a Skip; None when it is something else.

    Raises:
        ProtocolError: The payload is not a message.
    """
    body = decode_runner_body(payload)
    return body if isinstance(body, Skip) else None


def _identities(count: int) -> list[bytes]:
    return message_ids(time.time_ns() // 1_000_000, os.urandom(10), count)


def _values(seq: int, low: int, one: Draft, identity: bytes) -> tuple[object, ...]:
    is_skip = int(one.skip is not None)
    crc = checksum(low, seq, one.message_class, is_skip, one.payload)
    return (seq, low, int(one.message_class), is_skip, one.level, one.slot or None, crc, identity, one.payload)


def _skip_over(connection: sqlite3.Connection, hole: Hole, message_class: MessageClass) -> None:
    """Replace the rows of a hole by one Skip, joined with a Skip of the same class that ends right before it."""
    low, count = hole.low, hole.count
    before = connection.execute("SELECT payload FROM out WHERE seq = ? AND is_skip = 1", (low - 1,)).fetchone()
    skip = as_skip(before[0]) if before else None
    if skip is not None and skip.message_class is message_class:
        low, count = skip.from_seq, count + skip.count
    messages, octets = connection.execute(
        f"SELECT COUNT(*), COALESCE(SUM({_COST}), 0) FROM out WHERE seq BETWEEN ? AND ?",  # noqa: S608 - a constant
        (low, hole.seq),
    ).fetchone()
    connection.execute("DELETE FROM out WHERE seq BETWEEN ? AND ?", (low, hole.seq))
    _count(connection, messages=-messages, octets=-octets)
    put_back(connection, hole.seq, draft(queue.skip_for(Hole(low, hole.seq, count), message_class)), low=low)


def _count(connection: sqlite3.Connection, *, messages: int, octets: int) -> None:
    connection.execute("UPDATE counters SET messages = messages + ?, bytes = bytes + ?", (messages, octets))
