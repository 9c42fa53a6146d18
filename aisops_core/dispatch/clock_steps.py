"""What becomes of stored deadlines when the wall clock is set: nothing has grown older, or younger, by it.

Deadlines are kept in wall-clock time, because they outlive the process. After a step forward everything gets as much
longer. After a step back nothing may last longer than it could if it began now; nothing is cut by the step itself, for
another Core at the same database may have decided by a clock that was right. Rows that are over are not touched.
"""

from __future__ import annotations

from sqlalchemy import Connection, literal_column, update

from aisops_core.dispatch.job import LONGEST_PAUSE_MS
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.storage.schema import jobs

_C = jobs.c
_QUEUED = _C.state == literal_column("'queued'")
_HELD = _C.lease_until_unix_ms.is_not(None)


def begin_anew(connection: Connection, now_ms: int, terms: LeaseTerms) -> None:
    """A process begins: every lease and every hold has its full term again, however long Core was away."""
    _lease_anew(connection, now_ms, terms)
    full = _C.timeout_ms + (now_ms + terms.patience_ms)
    connection.execute(update(jobs).where(_HELD).values(hold_until_unix_ms=full))


def step(connection: Connection, now_ms: int, by_ms: int, terms: LeaseTerms) -> None:
    """The clock was set by so much (milliseconds) and shows `now_ms`."""
    _lease_anew(connection, now_ms, terms)
    if by_ms > 0:
        _forward(connection, by_ms)
    else:
        _back(connection, now_ms, terms)


def _lease_anew(connection: Connection, now_ms: int, terms: LeaseTerms) -> None:
    connection.execute(update(jobs).where(_HELD).values(lease_until_unix_ms=terms.until(now_ms)))


def _forward(connection: Connection, by_ms: int) -> None:
    held = update(jobs).where(_HELD)
    connection.execute(held.values(hold_until_unix_ms=_C.hold_until_unix_ms + by_ms))
    waiting = update(jobs).where(_QUEUED)
    connection.execute(waiting.values(queue_expires_unix_ms=_C.queue_expires_unix_ms + by_ms))


def _back(connection: Connection, now_ms: int, terms: LeaseTerms) -> None:
    full = _C.timeout_ms + (now_ms + terms.patience_ms)
    connection.execute(update(jobs).where(_HELD, _C.hold_until_unix_ms > full).values(hold_until_unix_ms=full))
    waits = _C.queue_expires_unix_ms - _C.created_unix_ms
    waiting = update(jobs).where(_QUEUED, _C.created_unix_ms > now_ms)
    connection.execute(waiting.values(queue_expires_unix_ms=waits + now_ms))
    latest = now_ms + LONGEST_PAUSE_MS
    paused = update(jobs).where(_QUEUED, _C.not_before_unix_ms > latest)
    connection.execute(paused.values(not_before_unix_ms=latest))
