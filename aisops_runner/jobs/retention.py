"""What the journal forgets: finished jobs nobody can ask for any more, a slice at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aisops_protocol.codec import decode_runner_body, encode_runner_body
from aisops_protocol.messages import JobResult
from aisops_runner.jobs import results
from aisops_runner.outbox import schema
from aisops_runner.outbox.sums import result_sum
from aisops_runner.outbox.transaction import Transaction

RETAIN_S = 7 * 24 * 3600
RETAIN_JOBS = 100_000
RETAIN_BYTES = 64 * 1024 * 1024
SLIM_ABOVE_BYTES = 1024
SLICE_ROWS = 500
FEWEST_JOBS = 1_000
SHARE_FOR_JOBS, SHARE_FOR_RESULTS = 4, 8
JOB_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of what Core has acknowledged is kept, beside its age.

    Attributes:
        jobs: The newest so many.
        result_bytes: Results whole as far as the newest so many octets go; older ones without their output.
    """

    jobs: int = RETAIN_JOBS
    result_bytes: int = RETAIN_BYTES


def limits_for(max_bytes: int) -> Limits:
    """What an outbox of this size has room for beside the lane."""
    jobs = max(FEWEST_JOBS, min(RETAIN_JOBS, max_bytes // SHARE_FOR_JOBS // JOB_BYTES))
    return Limits(jobs, min(RETAIN_BYTES, max_bytes // SHARE_FOR_RESULTS))


def retain(work: Transaction, acked_seq: int, ran_s: int, limits: Limits = Limits()) -> bool:
    """Forget what nobody can ask for any more, a slice at a time.

    Age is counted in seconds this Runner ran, so that a wrong clock never makes it forget (and run a job twice).

    Args:
        work: The transaction.
        acked_seq: Results up to here are with Core.
        ran_s: Seconds since the last call.
        limits: How much is kept.

    Returns:
        True when a slice was full: there may be more for `forget`.
    """
    connection = work.connection
    age_s = int(schema.get_meta(connection, schema.RAN_S) or b"0") + ran_s
    schema.set_meta(connection, schema.RAN_S, str(age_s).encode())
    full = forget(work, acked_seq, limits)
    connection.execute(
        "UPDATE jobs SET output = x'' WHERE phase = 3 AND result_seq <= ? AND LENGTH(output) > 0", (acked_seq,)
    )
    _slim(connection, _too_much(connection, acked_seq, limits.result_bytes))
    return full


def forget(work: Transaction, acked_seq: int, limits: Limits) -> bool:
    """Forget one slice of the oldest jobs that are too old or too many; True when it was full."""
    connection = work.connection
    age_s = int(schema.get_meta(connection, schema.RAN_S) or b"0")
    gone = connection.execute(
        "DELETE FROM jobs WHERE ordinal IN (SELECT ordinal FROM jobs WHERE phase = 3 AND result_seq <= ? "
        "AND (done_age_s < ? OR ordinal <= (SELECT MAX(ordinal) FROM jobs) - ?) ORDER BY ordinal LIMIT ?)",
        (acked_seq, age_s - RETAIN_S, limits.jobs, SLICE_ROWS),
    )
    return gone.rowcount == SLICE_ROWS


def _too_much(connection: sqlite3.Connection, acked_seq: int, kept_bytes: int) -> Sequence[tuple[int, bytes]]:
    """Acknowledged results beyond the newest so many octets that still carry an output worth dropping."""
    return connection.execute(
        "SELECT ordinal, result FROM (SELECT ordinal, result, result_seq, SUM(LENGTH(result)) OVER "
        "(ORDER BY ordinal DESC) AS total FROM jobs WHERE phase = 3) "
        "WHERE total > ? AND LENGTH(result) > ? AND result_seq <= ? LIMIT ?",
        (kept_bytes, SLIM_ABOVE_BYTES, acked_seq, SLICE_ROWS),
    ).fetchall()


def _slim(connection: sqlite3.Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    for ordinal, payload in rows:
        body = decode_runner_body(payload)
        if isinstance(body, JobResult):
            slim = encode_runner_body(replace(body, output=results.WITHHELD, truncated=True))
            connection.execute(
                "UPDATE jobs SET result = ?, sum = ? WHERE ordinal = ?", (slim, result_sum(body.job_id, slim), ordinal)
            )
