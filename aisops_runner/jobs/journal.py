"""The journal: what this Runner accepted, started and finished. Every function runs inside a unit of work.

Result and DONE are written in one transaction, STARTED before any call leaves: after a crash the journal therefore
says of every job whether its effect cannot, may or must have happened.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from aisops_protocol.codec import decode_runner_body, encode_runner_body
from aisops_protocol.errors import ProtocolError
from aisops_protocol.limits import HELD_JOBS
from aisops_protocol.messages import (
    EffectClass,
    HeldJob,
    Job,
    JobAccept,
    JobPhase,
    JobResult,
    ResultStatus,
)
from aisops_protocol.records import record
from aisops_runner.jobs import results
from aisops_runner.jobs.stages import Held, Holding
from aisops_runner.outbox import schema, store
from aisops_runner.outbox.bulk import Bulk
from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.sums import job_sum, result_sum, state_sum
from aisops_runner.outbox.transaction import Transaction

RESEND_S = 24 * 3600
SLICE_ROWS = 500
_ACCEPTED, _STARTED, _DONE = int(JobPhase.ACCEPTED), int(JobPhase.STARTED), int(JobPhase.DONE)


_PLAIN = json.dumps(["", "", [], 0])
_ACCEPT = Bulk(
    "INSERT INTO jobs (job_id, lease_id, attempt, phase, capability, input, effect_key, effect_class, timeout_ms, "
    "context, sum, state_sum)",
    12,
    "ON CONFLICT (job_id) DO NOTHING",
)
_MARK = Bulk(
    "UPDATE jobs SET phase = new.column1, calls = new.column2, state_sum = new.column4 FROM (",
    4,
    f") AS new WHERE jobs.job_id = new.column3 AND jobs.phase < {_DONE}",
)
_FINISH = Bulk(
    "UPDATE jobs SET phase = new.column1, input = x'', result = new.column2, output = new.column3, "
    "result_seq = new.column4, calls = new.column5, done_age_s = new.column6, sum = new.column8, "
    "state_sum = new.column9 FROM (",
    9,
    ") AS new WHERE jobs.job_id = new.column7",
)


class Entry(NamedTuple):
    """A job to be taken: its row of the journal, and the JobAccept that goes with it."""

    job: Job
    row: tuple[object, ...]
    draft: Draft


@record
class Kept:
    """The result of a finished job, ready to be stored.

    Attributes:
        result: The message.
        payload: The same, encoded, for the journal.
        output: The output when it is too large to stand inside the message.
        drafts: What goes into the lane: chunks of such an output, then the result.
    """

    result: JobResult
    payload: bytes
    output: bytes
    drafts: tuple[Draft, ...]


def keep(result: JobResult, output: bytes) -> Kept:
    """Encode a result for the lane and the journal.

    Raises:
        ProtocolError: It breaks a limit of the contract.
    """
    drafts = tuple(store.draft(piece) for piece in results.in_pieces(result, output))
    return Kept(result, drafts[-1].payload, output, drafts)


def entry(job: Job, *, started: bool) -> Entry:
    """What the journal and the lane get when a job is taken."""
    plain = not (job.execution_id or job.step_id or job.trace_context or job.priority)
    context = _PLAIN if plain else json.dumps([job.execution_id, job.step_id, job.trace_context, job.priority])
    phase = _STARTED if started else _ACCEPTED
    body = (job.capability, job.input, job.effect_key, int(job.effect_class), job.timeout_ms, context)
    return Entry(
        job,
        (
            job.job_id,
            job.lease_id,
            job.attempt,
            phase,
            *body,
            job_sum(job.job_id, *body),
            state_sum(job.job_id, phase, 0),
        ),
        store.draft(JobAccept(job.job_id, job.lease_id, job.attempt)),
    )


def accept(work: Transaction, entries: Sequence[Entry]) -> frozenset[str]:
    """Take jobs into the journal, each with its JobAccept.

    A later attempt of a job that ended UNCERTAIN (a person tries again) or CANCELLED (its lease was taken back) is new.

    Returns:
        The ids of those that were done before: their results go instead.
    """
    connection = work.connection
    for one in entries:
        if one.job.attempt > 1:
            _make_way(connection, one.job)
    before = _last_ordinal(connection)
    fresh = _ACCEPT.run(connection, [one.row for one in entries])
    known: frozenset[str] = frozenset()
    if fresh < len(entries):
        known = frozenset(one.job.job_id for one in entries if _older(connection, one.job.job_id, before))
    for one in entries:
        if one.job.job_id in known:
            resend(work, one.job.job_id, one.job.lease_id, one.job.attempt)
        else:
            work.append(one.draft)
    return known


def _last_ordinal(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    return int(row[0]) if row else 0


def _older(connection: sqlite3.Connection, job_id: str, ordinal: int) -> bool:
    """Whether the journal knew the job before this ordinal was passed."""
    row = connection.execute("SELECT 1 FROM jobs WHERE job_id = ? AND ordinal <= ?", (job_id, ordinal)).fetchone()
    return row is not None


def _make_way(connection: sqlite3.Connection, job: Job) -> None:
    """Let a later attempt of a finished job run where that is right.

    After an outcome nobody knew, the later attempt is a person's decision. After a cancellation it means that only the
    lease was taken back: the job runs if nothing of it can have happened, and is of unknown outcome if it may have.
    """
    row = connection.execute(
        "SELECT result, sum FROM jobs WHERE job_id = ? AND phase = ? AND attempt < ?", (job.job_id, _DONE, job.attempt)
    ).fetchone()
    body = _intact(job.job_id, *row) if row is not None else None
    if body is None:
        return
    if body.status is ResultStatus.CANCELLED and body.error is not None and body.error.ambiguous:
        payload = encode_runner_body(replace(body, status=ResultStatus.UNCERTAIN))
        connection.execute(
            "UPDATE jobs SET result = ?, sum = ? WHERE job_id = ?",
            (payload, result_sum(job.job_id, payload), job.job_id),
        )
    elif body.status in {ResultStatus.UNCERTAIN, ResultStatus.CANCELLED}:
        connection.execute("DELETE FROM jobs WHERE job_id = ?", (job.job_id,))


def _intact(job_id: str, payload: object, summed: object) -> JobResult | None:
    """What is kept of a finished job; None when there is nothing, or the disk spoiled it."""
    try:
        if isinstance(payload, bytes) and summed == result_sum(job_id, payload):
            body = decode_runner_body(payload)
            return body if isinstance(body, JobResult) and body.job_id == job_id else None
    except ProtocolError:
        pass
    return None


def adopt(work: Transaction, job_id: str, lease_id: bytes, attempt: int) -> None:
    """Put a held job under its newest lease, and say so."""
    work.connection.execute("UPDATE jobs SET lease_id = ?, attempt = ? WHERE job_id = ?", (lease_id, attempt, job_id))
    work.append(store.draft(JobAccept(job_id, lease_id, attempt)))


def mark(work: Transaction, phase: JobPhase, jobs: Sequence[tuple[str, int]]) -> None:
    """Write how far open jobs have got: their ids, and the calls made."""
    reached = int(phase)
    _MARK.run(work.connection, [(reached, calls, job_id, state_sum(job_id, reached, calls)) for job_id, calls in jobs])


def finish(work: Transaction, ended: Sequence[Kept]) -> None:
    """Write results into the lane and into the journal, and the jobs as DONE."""
    age_s = int(schema.get_meta(work.connection, schema.RAN_S) or b"0")
    rows: list[tuple[object, ...]] = []
    for kept in ended:
        seq = work.append(*kept.drafts)
        result = kept.result
        job_id, calls = result.job_id, result.execution.calls
        sums = result_sum(job_id, kept.payload), state_sum(job_id, _DONE, calls)
        rows.append((_DONE, kept.payload, kept.output, seq, calls, age_s, job_id, *sums))
    _FINISH.run(work.connection, rows)


def resend(work: Transaction, job_id: str, lease_id: bytes, attempt: int) -> bool:
    """Put the kept result of a finished job into the lane again, under a new lease; False when there is none."""
    row = work.connection.execute(
        "SELECT result, output, sum FROM jobs WHERE job_id = ? AND phase = ?", (job_id, _DONE)
    ).fetchone()
    drafts = _kept_drafts(row, job_id, lease_id, attempt) if row is not None else ()
    if not drafts:
        return False
    seq = work.append(*drafts)
    work.connection.execute(
        "UPDATE jobs SET lease_id = ?, attempt = ?, result_seq = ? WHERE job_id = ?", (lease_id, attempt, seq, job_id)
    )
    return True


def _kept_drafts(row: Sequence[Any], job_id: str, lease_id: bytes, attempt: int) -> tuple[Draft, ...]:
    """The kept result under its new lease; nothing when there is none, or the disk spoiled it."""
    body = _intact(job_id, row[0], row[2])
    try:
        return keep(replace(body, lease_id=lease_id, attempt=attempt), row[1] or b"").drafts if body is not None else ()
    except ProtocolError:
        return ()


def resend_since(work: Transaction, after_ordinal: int) -> int:
    """Put the results of the last day into the lane again, a slice at a time: Core went back to a backup.

    Core keeps one result for each (job, lease), so what it still has is not recorded twice.

    Args:
        work: The transaction.
        after_ordinal: Where the last slice ended; 0 at first.

    Returns:
        Where this slice ended; 0 when nothing was left.
    """
    age_s = int(schema.get_meta(work.connection, schema.RAN_S) or b"0")
    found = work.connection.execute(
        "SELECT ordinal, job_id, lease_id, attempt FROM jobs WHERE phase = ? AND ordinal > ? AND done_age_s >= ? "
        "ORDER BY ordinal LIMIT ?",
        (_DONE, after_ordinal, age_s - RESEND_S, SLICE_ROWS),
    ).fetchall()
    for _, job_id, lease_id, attempt in found:
        resend(work, job_id, lease_id, attempt)
    return int(found[-1][0]) if found else 0


def resend_lost(work: Transaction, low: int, high: int) -> None:
    """Put results into the lane again that stood on its rows `low` to `high`, which were damaged or have vanished."""
    found = work.connection.execute(
        "SELECT job_id, lease_id, attempt FROM jobs WHERE phase = ? AND result_seq BETWEEN ? AND ?", (_DONE, low, high)
    ).fetchall()
    for job_id, lease_id, attempt in found:
        resend(work, job_id, lease_id, attempt)


def weed(work: Transaction, acked_seq: int) -> int:
    """Set aside rows that a damaged disk has changed: one might keep every Hello from being made, or run another job.

    Core may not conclude that a job set aside never started, so the journal gets a new id.

    Returns:
        How many were set aside.
    """
    connection = work.connection
    found = connection.execute(
        "SELECT ordinal, CAST(job_id AS BLOB), lease_id, attempt, phase, CAST(capability AS BLOB), input, "
        "CAST(effect_key AS BLOB), effect_class, timeout_ms, calls, CAST(context AS BLOB), sum, state_sum FROM jobs "
        "WHERE phase <> ? OR result_seq > ?",
        (_DONE, acked_seq),
    )
    bad = [(int(row[0]),) for row in found if not _sound(row[1:])]
    if bad:
        connection.executemany(
            "INSERT INTO bad SELECT NULL, 'damaged job', CAST(job_id AS BLOB), 0 FROM jobs WHERE ordinal = ?",
            bad,
        )
        connection.executemany("DELETE FROM jobs WHERE ordinal = ?", bad)
        schema.renew_journal_id(connection)
    return len(bad)


def _sound(row: Sequence[Any]) -> bool:
    *columns, summed, state = row
    job_id, lease_id, attempt, phase, capability, input_, effect_key, effect_class, timeout_ms, calls, context = columns
    try:
        name, body = job_id.decode(), (capability.decode(), input_, effect_key.decode(), effect_class, timeout_ms)
        job = _held((name, lease_id, attempt, phase, *body, calls, context.decode())).job
        encode_runner_body(JobAccept(job.job_id, job.lease_id, job.attempt))
        if state != state_sum(name, phase, calls):
            return False
        # What a finished job was is not kept; its result is checked when it is asked for.
        if phase != _DONE and summed != job_sum(name, *body, context.decode()):
            return False
    except (AttributeError, ProtocolError, TypeError, ValueError, struct.error):
        return False
    return job.timeout_ms > 0 and bool(job.capability and job.effect_key)


def is_done(connection: sqlite3.Connection, job_id: str) -> bool:
    """True when the journal knows the job as finished."""
    found = connection.execute("SELECT 1 FROM jobs WHERE job_id = ? AND phase = ?", (job_id, _DONE)).fetchone()
    return found is not None


def unfinished(connection: sqlite3.Connection) -> list[Held]:
    """The open jobs, oldest first, for a start after a stop or a crash."""
    found = connection.execute(
        "SELECT job_id, lease_id, attempt, phase, capability, input, effect_key, effect_class, timeout_ms, calls, "
        "context FROM jobs WHERE phase < 3 ORDER BY ordinal"
    )
    return [_held(row) for row in found]


def held(connection: sqlite3.Connection, acked_seq: int) -> Holding:
    """What a Hello names: open jobs, and finished ones whose result Core has not acknowledged.

    When the list is full, the results that Core will get first are left out, and counted.
    """
    named = "SELECT job_id, lease_id, attempt, phase FROM jobs WHERE"
    found = connection.execute(f"{named} phase < 3 ORDER BY ordinal LIMIT ?", (HELD_JOBS,)).fetchall()
    done = f"{named} phase = 3 AND result_seq > ? ORDER BY result_seq DESC LIMIT ?"
    found += connection.execute(done, (acked_seq, HELD_JOBS - len(found))).fetchall()
    omitted = 0
    if len(found) == HELD_JOBS:
        every = "SELECT (SELECT COUNT(*) FROM jobs WHERE phase < 3) + COUNT(*) FROM jobs WHERE phase = 3 AND "
        omitted = connection.execute(f"{every} result_seq > ?", (acked_seq,)).fetchone()[0] - HELD_JOBS
    jobs = (HeldJob(job_id, bytes(lease), attempt, JobPhase(phase)) for job_id, lease, attempt, phase in found)
    return Holding(tuple(jobs), omitted)


def _held(row: Sequence[object]) -> Held:
    job_id, lease_id, attempt, phase, capability, input_, effect_key, effect_class, timeout_ms, calls, context = row
    execution_id, step_id, trace, priority = json.loads(str(context))
    job = Job(
        job_id=str(job_id),
        lease_id=_octets(lease_id),
        attempt=_number(attempt),
        capability=str(capability),
        input=_octets(input_),
        input_sha256=b"",
        effect_key=str(effect_key),
        effect_class=EffectClass(_number(effect_class)),
        timeout_ms=_number(timeout_ms),
        priority=int(priority),
        execution_id=str(execution_id),
        step_id=str(step_id),
        trace_context=tuple((str(key), str(value)) for key, value in trace),
    )
    return Held(job, JobPhase(_number(phase)), _number(calls))


def _octets(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
