"""Checksums of the journal's rows, so that a flipped bit is no other job, no other phase and no other result.

A row has two: `sum` covers what the job is while it is open, and its result once it is done; `state_sum` covers how far
it has got. An older Runner writes rows without them: whenever one has had the file in between, they are made anew.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from aisops_runner.outbox import schema

SUMMED_EPOCH = "sums_epoch"
"""Names in `meta` the newest opening by a Runner that keeps checksums."""
_DONE = 3
_NUMBERS = struct.Struct(">qq")


def job_sum(job_id: str, *body: Any) -> int:
    """Checksum over what an open job is.

    Args:
        job_id: Whose.
        body: Capability, input, effect key, effect class, timeout (ms) and context, as the columns have them.
    """
    capability, input_, effect_key, effect, timeout_ms, context = body
    words = f"{job_id}\0{capability}\0{effect_key}\0{context}".encode("utf-8", "surrogatepass")
    return zlib.crc32(input_, zlib.crc32(words, zlib.crc32(_NUMBERS.pack(effect, timeout_ms))))


def result_sum(job_id: str, result: bytes) -> int:
    """Checksum over the kept result of a job that is done."""
    return zlib.crc32(result, zlib.crc32(job_id.encode("utf-8", "surrogatepass")))


def state_sum(job_id: str, phase: int, calls: int) -> int:
    """Checksum over how far a job has got."""
    return zlib.crc32(job_id.encode("utf-8", "surrogatepass"), zlib.crc32(_NUMBERS.pack(phase, calls)))


def begin(connection: sqlite3.Connection, epoch: bytes, before: bytes) -> None:
    """Make the checksums anew when the opening before was an older Runner's, and note that this one keeps them.

    Args:
        connection: Inside the transaction of the opening.
        epoch: The opening that begins.
        before: The one before; empty when there was none.
    """
    if schema.get_meta(connection, SUMMED_EPOCH) != before or not before:
        _renew(connection)
    schema.set_meta(connection, SUMMED_EPOCH, epoch)


def _renew(connection: sqlite3.Connection) -> None:
    columns = "ordinal, job_id, phase, calls, result, capability, input, effect_key, effect_class, timeout_ms, context"
    made = []
    for row in connection.execute(f"SELECT {columns} FROM jobs"):  # noqa: S608 - our own names
        try:
            made.append((*_of(row), row[0]))
        except (AttributeError, TypeError, struct.error):
            continue  # impossible: `jobs.journal.weed` sets it aside
    connection.executemany("UPDATE jobs SET sum = ?, state_sum = ? WHERE ordinal = ?", made)


def _of(row: Sequence[Any]) -> tuple[int, int]:
    _, job_id, phase, calls, result, *body = row
    state = state_sum(job_id, phase, calls)
    if phase == _DONE:
        return result_sum(job_id, result or b""), state
    return job_sum(job_id, *body), state
