"""Jobs at rest: the SQL that reads and writes them. Functions run inside a unit of work; rows become `JobRecord`s."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    insert,
    literal_column,
    null,
    select,
    update,
)

from aisops_core.dispatch.job import ACTIVE, TERMINAL, JobRecord, JobState, Note, told_by_columns
from aisops_core.dispatch.records import JobFilter, LogLine, Page, TimelineEntry
from aisops_core.errors import InvalidCursor, JobNotFound
from aisops_core.storage.hot import HotLookup, HotQuery, HotStatement, Row
from aisops_core.storage.schema import job_logs, job_notes, jobs, result_chunks
from aisops_protocol.messages import EffectClass, LogLevel

COLUMNS: Final = tuple(JobRecord.__dataclass_fields__)
_ALL: Final = tuple(jobs.c[name] for name in COLUMNS)

_WITHOUT_BODIES: Final = _ALL[:-2]


def _in_order(*names: str) -> tuple[str, ...]:
    """Columns in the order of the table, in which SQLAlchemy sets them: rows then need not be rearranged."""
    return tuple(name for name in COLUMNS if name in names)


_HEAD: Final = _in_order(
    "state",
    "attempt",
    "effect_class",
    "runner_id",
    "lease_id",
    "lease_until_unix_ms",
    "session_epoch",
    "journal_id",
    "not_before_unix_ms",
    "leased_unix_ms",
    "started_unix_ms",
    "cancel_requested_unix_ms",
    "hold_until_unix_ms",
)
_END: Final = ("finished_unix_ms", *COLUMNS[COLUMNS.index("error_code") : COLUMNS.index("input")])
_KEY: Final = ("tenant_id", "job_id")
_STATES: Final = {state.value: state for state in JobState}
_EFFECTS: Final = {int(effect): effect for effect in EffectClass}
_TENANT: Final = "b_tenant_id"
_QUEUED: Final[ColumnElement[Any]] = literal_column("'queued'")


def _update(names: Sequence[str], fixed: Mapping[str, ColumnElement[Any]] = MappingProxyType({})) -> HotStatement:
    statement = (
        update(jobs)
        .where(jobs.c.tenant_id == bindparam("b_tenant_id"), jobs.c.job_id == bindparam("b_job_id"))
        .values({**{name: bindparam(f"b_{name}") for name in names}, **fixed})
    )
    return HotStatement(statement, [f"b_{name}" for name in (*names, *_KEY)])


_INSERT: Final = HotStatement(insert(jobs), COLUMNS)
# What is not there yet when a job is new; every parameter has its price, an empty one most of all.
# (The default of `error_details` would come back from SQLite as text.)
_LATER: Final = frozenset({"started_unix_ms", "cancel_requested_unix_ms", *_END}) - {"error_details"}
_NEW: Final = tuple(name for name in COLUMNS if name not in _LATER)
_INSERT_NEW: Final = HotStatement(insert(jobs), _NEW)
# What a success changes of a job that was active; the lease of one that has ended is over.
_DONE: Final = ("started_unix_ms", "finished_unix_ms", *COLUMNS[COLUMNS.index("plugin") : COLUMNS.index("input")])
_OVER: Final = {
    "state": literal_column(f"'{JobState.SUCCEEDED.value}'"),
    "lease_until_unix_ms": null(),
    "hold_until_unix_ms": null(),
}
_SAVE_DONE: Final = _update(_DONE, _OVER)
_SAVE_HEAD: Final = _update(_HEAD)
_HEAD_AND_END: Final = _in_order(*_HEAD, *_END)
_SAVE_END: Final = _update(_HEAD_AND_END)


def _row_of(*names: str) -> Callable[[JobRecord], Row]:
    """Gets a row of these columns; enums as the plain values they stand for, which a driver need not adapt."""
    plain = {"state": "state._value_", "effect_class": "effect_class._value_"}
    return attrgetter(*[plain.get(name, name) for name in names])


_row_all: Final = _row_of(*COLUMNS)
_row_new: Final = _row_of(*_NEW)
_row_head: Final = _row_of(*_HEAD, *_KEY)
_row_end: Final = _row_of(*_HEAD_AND_END, *_KEY)
_row_done: Final = _row_of(*_DONE, *_KEY)
_WHOLE: Final = _in_order(*_HEAD, *_END, "queue_expires_unix_ms")
_SAVE_WHOLE: Final = _update(_WHOLE)
_row_whole: Final = _row_of(*_WHOLE, *_KEY)

_NOTE_NAMES: Final = tuple(Note.__dataclass_fields__)
_INSERT_NOTE: Final = HotStatement(insert(job_notes), _NOTE_NAMES)
_row_note: Final = attrgetter(*_NOTE_NAMES)
_DROP_CHUNKS: Final = HotStatement(
    delete(result_chunks).where(
        result_chunks.c.tenant_id == bindparam("b_tenant_id"), result_chunks.c.job_id == bindparam("b_job_id")
    ),
    ("b_tenant_id", "b_job_id"),
)


def _lookup(columns: Sequence[ColumnElement[Any]], by: ColumnElement[Any], *, lock: bool) -> HotLookup:
    def build(keys: Sequence[BindParameter[Any]]) -> Select[Any]:
        query = select(*columns).where(jobs.c.tenant_id == bindparam(_TENANT), by.in_(keys))
        return query.with_for_update() if lock else query

    return HotLookup(build, (_TENANT,))


_LOOKUPS: Final = {
    (with_input, lock): _lookup(_ALL if with_input else _WITHOUT_BODIES, jobs.c.job_id, lock=lock)
    for with_input in (False, True)
    for lock in (False, True)
}
_BY_KEY: Final = _lookup(_ALL, jobs.c.idempotency_key, lock=False)
_NEXT: Final = HotQuery(
    select(*_ALL)
    .where(
        jobs.c.tenant_id == bindparam(_TENANT),
        jobs.c.route == bindparam("b_route"),
        jobs.c.state == _QUEUED,
        jobs.c.not_before_unix_ms <= bindparam("b_now_ms"),
        jobs.c.queue_expires_unix_ms > bindparam("b_now_ms"),
    )
    .order_by(jobs.c.priority.desc(), jobs.c.job_id)
    .limit(bindparam("b_limit"))
    .with_for_update(skip_locked=True),
    (_TENANT, "b_route", "b_now_ms", "b_limit"),
)
_LEASED_TO: Final = HotQuery(
    select(*_WITHOUT_BODIES)
    .where(
        jobs.c.tenant_id == bindparam(_TENANT),
        jobs.c.runner_id == bindparam("b_runner_id"),
        jobs.c.lease_until_unix_ms.is_not(None),
    )
    .with_for_update(),
    (_TENANT, "b_runner_id"),
)
_QUEUED_ON: Final = HotQuery(
    select(jobs.c.job_id)
    .where(jobs.c.tenant_id == bindparam(_TENANT), jobs.c.route == bindparam("b_route"), jobs.c.state == _QUEUED)
    .limit(bindparam("b_limit")),
    (_TENANT, "b_route", "b_limit"),
)


def _record(row: Sequence[Any]) -> JobRecord:
    job = JobRecord(*row)
    job.state = _STATES[job.state]
    job.effect_class = _EFFECTS[job.effect_class]
    job.error_retryable, job.error_ambiguous = bool(job.error_retryable), bool(job.error_ambiguous)
    job.truncated = bool(job.truncated)
    return job


def insert_jobs(connection: Connection, records: Sequence[JobRecord]) -> None:
    """Store jobs that wait, or were leased before they were ever stored, in one statement."""
    _INSERT_NEW.many(connection, [_row_new(record) for record in records])


def insert_whole(connection: Connection, records: Sequence[JobRecord]) -> None:
    """Store jobs at any point of their lives."""
    _INSERT.many(connection, [_row_all(record) for record in records])


def save(connection: Connection, records: Iterable[JobRecord]) -> None:
    """Write back what the state machine changed: jobs that ended with their result, others without."""
    heads: list[Row] = []
    ends: list[Row] = []
    done: list[Row] = []
    for record in records:
        if record.state is JobState.SUCCEEDED:
            done.append(_row_done(record))
        elif record.terminal:
            ends.append(_row_end(record))
        else:
            heads.append(_row_head(record))
    _SAVE_HEAD.many(connection, heads)
    _SAVE_END.many(connection, ends)
    _SAVE_DONE.many(connection, done)


def save_whole(connection: Connection, record: JobRecord) -> None:
    """Write back everything that can change, for a job that a person took out of its end."""
    _SAVE_WHOLE.many(connection, [_row_whole(record)])


def add_notes(connection: Connection, notes: Sequence[Note]) -> None:
    """Store timeline entries."""
    _INSERT_NOTE.many(connection, [_row_note(note) for note in notes])


def drop_chunks(connection: Connection, records: Iterable[JobRecord]) -> None:
    """Forget pieces of results that will never be completed."""
    _DROP_CHUNKS.many(connection, [(record.tenant_id, record.job_id) for record in records])


def load(
    connection: Connection,
    tenant_id: str,
    job_ids: Collection[str],
    *,
    with_input: bool = False,
    lock: bool = True,
) -> dict[str, JobRecord]:
    """The jobs of these ids that exist in the tenant; locked for this transaction where the engine locks rows."""
    rows = _LOOKUPS[with_input, lock].rows(connection, list(job_ids), tenant_id)
    return {job.job_id: job for job in map(_record, rows)}


def leased_to(connection: Connection, tenant_id: str, runner_id: str) -> list[JobRecord]:
    """The Runner's active jobs, without bodies, locked."""
    return [_record(row) for row in _LEASED_TO.rows(connection, tenant_id, runner_id)]


def queued_on(connection: Connection, tenant_id: str, route: bytes, now_ms: int, limit: int) -> list[JobRecord]:
    """The next queued jobs of a route with their inputs, highest priority and then oldest first, locked."""
    return [_record(row) for row in _NEXT.rows(connection, tenant_id, route, now_ms, limit)]


def more_queued_on(connection: Connection, tenant_id: str, route: bytes, than: int) -> bool:
    """True while more jobs than that wait on this route, those whose time has not come included."""
    return len(_QUEUED_ON.rows(connection, tenant_id, route, than + 1)) > than


def get(connection: Connection, tenant_id: str, job_id: str, *, lock: bool = False) -> JobRecord:
    """One job, whole; locked for this transaction when asked.

    Raises:
        JobNotFound: This tenant has no such job.
    """
    for row in _LOOKUPS[True, lock].rows(connection, (job_id,), tenant_id):
        return _record(row)
    raise JobNotFound(job_id)


def get_many(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[JobRecord | Exception]:
    """Many (tenant id, job id) at once, whole, in order; JobNotFound in the place of those that do not exist."""
    by_tenant: dict[str, set[str]] = {}
    for tenant_id, job_id in wanted:
        by_tenant.setdefault(tenant_id, set()).add(job_id)
    found: dict[tuple[str, str], JobRecord] = {}
    for tenant_id, job_ids in by_tenant.items():
        rows = _LOOKUPS[True, False].rows(connection, list(job_ids), tenant_id)
        found.update({(tenant_id, job.job_id): job for job in map(_record, rows)})
    return [found.get((tenant_id, job_id)) or JobNotFound(job_id) for tenant_id, job_id in wanted]


def by_idempotency_key(connection: Connection, tenant_id: str, keys: Collection[str]) -> dict[str, JobRecord]:
    """Jobs made under these idempotency keys, whole, by key."""
    rows = _BY_KEY.rows(connection, list(keys), tenant_id)
    return {str(job.idempotency_key): job for job in map(_record, rows)}


def list_jobs(
    connection: Connection, tenant_id: str, wanted: JobFilter, cursor: str | None, limit: int
) -> Page[JobRecord]:
    """One page of jobs, newest first, without inputs and outputs.

    Raises:
        InvalidCursor: The cursor was not given out here.
    """
    query = (
        select(*_WITHOUT_BODIES).where(jobs.c.tenant_id == tenant_id).order_by(jobs.c.job_id.desc()).limit(limit + 1)
    )
    for condition in _conditions(wanted):
        query = query.where(condition)
    if cursor is not None:
        query = query.where(jobs.c.job_id < _decode_cursor(cursor))
    found = [_record(row) for row in connection.execute(query)]
    more = _encode_cursor(found[limit - 1].job_id) if len(found) > limit else None
    return Page(tuple(found[:limit]), more)


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        # The second condition of each pair lets the engine prove that a partial index applies.
        conditions.append(jobs.c.state == literal_column(f"'{wanted.state.value}'"))
        if wanted.state in ACTIVE:
            conditions.append(jobs.c.lease_until_unix_ms.is_not(None))
        elif wanted.state in TERMINAL and wanted.state is not JobState.SUCCEEDED:
            conditions.append(jobs.c.error_code.is_not(None))
    if wanted.capability is not None:
        conditions.append(jobs.c.capability == wanted.capability)
    if wanted.runner_id is not None:
        conditions.append(jobs.c.runner_id == wanted.runner_id)
    return conditions


def list_logs(connection: Connection, tenant_id: str, job_id: str, cursor: str | None, limit: int) -> Page[LogLine]:
    """One page of a job's log lines, oldest first.

    Raises:
        JobNotFound: This tenant has no such job.
        InvalidCursor: The cursor was not given out here.
    """
    _must_exist(connection, tenant_id, job_id)
    c = job_logs.c
    query: Select[Any] = (
        select(c.id, c.time_unix_ms, c.level, c.text, c.source, c.runner_id)
        .where(c.tenant_id == tenant_id, c.job_id == job_id)
        .order_by(c.id)
        .limit(limit + 1)
    )
    if cursor is not None:
        query = query.where(c.id > _decode_number(cursor))
    rows = connection.execute(query).all()
    lines = [LogLine(at, LogLevel(level), *words) for _, at, level, *words in rows[:limit]]
    return Page(tuple(lines), _encode_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None)


def timeline(connection: Connection, tenant_id: str, job_id: str) -> tuple[TimelineEntry, ...]:
    """Everything that happened to a job, oldest first.

    Raises:
        JobNotFound: This tenant has no such job.
    """
    job = get(connection, tenant_id, job_id)
    query = (
        select(*(job_notes.c[name] for name in _NOTE_NAMES))
        .where(job_notes.c.tenant_id == tenant_id, job_notes.c.job_id == job_id)
        .order_by(job_notes.c.id)
    )
    stored = [Note(*row) for row in connection.execute(query)]
    entries = sorted([*stored, *told_by_columns(job)], key=_moment)
    return tuple(TimelineEntry(e.at_unix_ms, e.kind, e.attempt, e.runner_id, e.message) for e in entries)


def _moment(note: Note) -> tuple[int, int]:
    """Order of entries of the same millisecond: beginnings first, endings last."""
    ranks = {"queued": 0, "leased": 1, "running": 2, "late_result": 9}
    return note.at_unix_ms, 8 if note.kind in TERMINAL else ranks.get(note.kind, 5)


def _must_exist(connection: Connection, tenant_id: str, job_id: str) -> None:
    query = select(jobs.c.job_id).where(jobs.c.tenant_id == tenant_id, jobs.c.job_id == job_id)
    if connection.execute(query).first() is None:
        raise JobNotFound(job_id)


def _encode_cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def _decode_cursor(cursor: str) -> str:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        raise InvalidCursor from None
    if re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", position) is None:
        raise InvalidCursor
    return position


def _decode_number(cursor: str) -> int:
    position = _decode_cursor(cursor)
    if not (position.isascii() and position.isdigit() and len(position) <= 18):
        raise InvalidCursor
    return int(position)
