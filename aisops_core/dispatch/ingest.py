"""Takes in a batch of a Runner's durable messages: rows and watermark in one fenced transaction.

The jobs a batch names are read once, every message is applied to them by the state machine, and what changed is written
back in a few statements however long the batch is. Messages at or below the watermark were taken in before and are
skipped, so delivering twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from aisops_core.dispatch import chunks, fence, store
from aisops_core.dispatch import job as machine
from aisops_core.dispatch.events import describe
from aisops_core.dispatch.job import ACTIVE, JobRecord, JobState, Note
from aisops_core.dispatch.matching import PASSING, Offer, demand_of, refusal
from aisops_core.dispatch.records import SessionRef
from aisops_core.errors import Fenced
from aisops_core.runners.store import INSERT_EVENT, labels_of, offered
from aisops_core.storage.hot import HotQuery, HotStatement, Row
from aisops_core.storage.schema import capabilities, job_logs, late_results, watermarks
from aisops_protocol.messages import (
    CancelState,
    JobAccept,
    JobReject,
    JobResult,
    LogEvent,
    RejectReason,
    ResultChunk,
    RunnerEnvelope,
)
from aisops_protocol.resume import Share

_LOG_NAMES: Final = ("tenant_id", "job_id", "runner_id", "time_unix_ms", "level", "text", "source")
_INSERT_LOG: Final = HotStatement(insert(job_logs), _LOG_NAMES)
_LATE_NAMES: Final = tuple(late_results.c.keys())
_INSERT_LATE: Final = HotStatement(insert(late_results), _LATE_NAMES)
_LANE: Final = ("b_tenant_id", "b_runner_id", "b_queue_epoch")
_OF_LANE: Final = (
    (watermarks.c.tenant_id == bindparam("b_tenant_id"))
    & (watermarks.c.runner_id == bindparam("b_runner_id"))
    & (watermarks.c.queue_epoch == bindparam("b_queue_epoch"))
)
_WATERMARK: Final = HotQuery(select(watermarks.c.seq).where(_OF_LANE), _LANE)
_ADVANCE: Final = HotStatement(update(watermarks).where(_OF_LANE).values(seq=bindparam("b_seq")), ("b_seq", *_LANE))


@dataclass(slots=True)
class Ingested:
    """What follows from a batch once it is committed.

    Attributes:
        ended: Jobs that have their result now.
        requeued: Jobs that wait again.
        accepted: Leases the Runner has journaled.
        freed: Leases that no longer take a slot.
        stale: (job id, lease id) the Runner works on without a right to.
        withdrawn: Capabilities the Runner says it does not have.
    """

    ended: list[JobRecord] = field(default_factory=list)
    requeued: list[JobRecord] = field(default_factory=list)
    accepted: list[bytes] = field(default_factory=list)
    freed: list[bytes] = field(default_factory=list)
    stale: list[tuple[str, bytes]] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)


def ingest(
    connection: Connection,
    ref: SessionRef,
    queue_epoch: bytes,
    envelopes: Sequence[RunnerEnvelope],
    *,
    upto_seq: int,
    now_ms: int,
    backlog: Sequence[Share] = (),
) -> Ingested:
    """Apply a batch and move the watermark to `upto_seq`.

    Args:
        connection: Inside the transaction.
        ref: Whose messages these are.
        queue_epoch: The opening of the Runner's outbox that the session is about.
        envelopes: In order.
        upto_seq: The last number among them.
        now_ms: Wall clock, ms.
        backlog: Earlier openings with rows to come: they are credited with theirs, so that a Runner set back to one of
            them is not asked for these again.

    Raises:
        Fenced: A newer session has taken over, or the session was opened for another queue epoch.
    """
    fence.hold(connection, ref)
    lane = (ref.tenant_id, ref.runner_id, queue_epoch)
    watermark = _WATERMARK.first(connection, *lane)
    if watermark is None:
        raise Fenced(ref.runner_id)
    (known,) = watermark
    batch = _Batch(connection, ref, now_ms)
    batch.apply([envelope.body for envelope in envelopes if envelope.seq > known])
    if upto_seq > known:
        _ADVANCE.many(connection, [(upto_seq, *lane)])
    for one in backlog:
        share, earlier = min(upto_seq, one.last), (ref.tenant_id, ref.runner_id, one.epoch)
        mark = _WATERMARK.first(connection, *earlier)
        if mark is not None and share > mark[0]:
            _ADVANCE.many(connection, [(share, *earlier)])
    return batch.outcome


class _Batch:
    """One batch on its way in. Collects rows and writes them at the end."""

    def __init__(self, connection: Connection, ref: SessionRef, now_ms: int) -> None:
        self.outcome = Ingested()
        self._connection, self._ref, self._now_ms = connection, ref, now_ms
        self._jobs: dict[str, JobRecord] = {}
        self._changed: dict[str, JobRecord] = {}
        self._notes: list[Note] = []
        self._logs: list[Row] = []
        self._events: list[Row] = []
        self._late: dict[tuple[str, bytes], Row] = {}
        self._outputs: dict[bytes, chunks.Assembled] = {}
        self._steps: dict[type, Callable[[Any], None]] = {
            JobAccept: self._accept,
            JobResult: self._result,
            JobReject: self._reject,
            LogEvent: self._log,
            CancelState: self._cancel_state,
        }

    def apply(self, bodies: Sequence[object]) -> None:
        """Apply everything in order, then write."""
        named = {body.job_id for body in bodies if isinstance(body, _OF_JOBS) and body.job_id}
        self._jobs = store.load(self._connection, self._ref.tenant_id, named)
        self._take_chunks([body for body in bodies if isinstance(body, ResultChunk)])
        self._assemble([body for body in bodies if isinstance(body, JobResult) and not body.output])
        for body in bodies:
            step = self._steps.get(type(body))
            if step is not None:
                step(body)
            elif not isinstance(body, ResultChunk):
                self._event(body)
        self._write()

    def _holds(self, job: JobRecord | None, lease_id: bytes) -> bool:
        return (
            job is not None
            and job.state in ACTIVE
            and job.lease_id == lease_id
            and job.runner_id == self._ref.runner_id
        )

    def _take_chunks(self, pieces: Sequence[ResultChunk]) -> None:
        wanted = [piece for piece in pieces if self._holds(self._jobs.get(piece.job_id), piece.lease_id)]
        chunks.keep(self._connection, self._ref.tenant_id, wanted)

    def _assemble(self, results: Sequence[JobResult]) -> None:
        held = [result.lease_id for result in results if self._holds(self._jobs.get(result.job_id), result.lease_id)]
        job_ids = {result.job_id for result in results}
        if held:
            self._outputs = chunks.assemble(self._connection, self._ref.tenant_id, job_ids, held)

    def _accept(self, body: JobAccept) -> None:
        job = self._jobs.get(body.job_id)
        if job is not None and self._holds(job, body.lease_id):
            machine.accept(job, self._now_ms)
            self._changed[job.job_id] = job
            self.outcome.accepted.append(body.lease_id)
        elif job is None or job.lease_id != body.lease_id:
            self.outcome.stale.append((body.job_id, body.lease_id))

    def _result(self, body: JobResult) -> None:
        job = self._jobs.get(body.job_id)
        self.outcome.freed.append(body.lease_id)
        if job is None or not self._holds(job, body.lease_id):
            self._late_result(job, body)
            return
        machine.finish(job, body, self._now_ms)
        assembled = self._outputs.get(body.lease_id)
        if assembled is not None:
            job.output, job.truncated = assembled.output, assembled.output is None or body.truncated
        self._changed[job.job_id] = job
        self.outcome.ended.append(job)

    def _late_result(self, job: JobRecord | None, body: JobResult) -> None:
        """Keep a result that no longer counts, once; the one that counted, told again, is nothing new."""
        if job is not None and job.terminal and job.lease_id == body.lease_id:
            return
        error = body.error
        self._late[body.job_id, body.lease_id] = (
            self._ref.tenant_id,
            body.job_id,
            body.lease_id,
            self._ref.runner_id,
            body.attempt,
            int(body.status),
            None if error is None else error.code,
            "" if error is None else _clean(error.message),
            body.output or None,
            self._now_ms,
        )

    def _reject(self, body: JobReject) -> None:
        job = self._jobs.get(body.job_id)
        if job is None or not self._holds(job, body.lease_id):
            return
        if body.reason is RejectReason.UNKNOWN_CAPABILITY:
            self._withdraw(job.capability)
        another = body.reason is RejectReason.UNKNOWN_CAPABILITY and self._another_runner(job)
        self._notes += machine.reject(job, body.reason, _clean(body.message), self._now_ms, another_runner=another)
        self._changed[job.job_id] = job
        self.outcome.freed.append(body.lease_id)
        (self.outcome.requeued if job.state is JobState.QUEUED else self.outcome.ended).append(job)

    def _withdraw(self, capability: str) -> None:
        if capability in self.outcome.withdrawn:
            return
        self.outcome.withdrawn.append(capability)
        self._connection.execute(
            delete(capabilities).where(
                capabilities.c.tenant_id == self._ref.tenant_id,
                capabilities.c.runner_id == self._ref.runner_id,
                capabilities.c.name == capability,
            )
        )

    def _another_runner(self, job: JobRecord) -> bool:
        """True when some Runner, connected or not, could be given the job at another moment."""
        demand = demand_of(job.capability, job.labels_json, job.pinned_runner_id)
        for record in offered(self._connection, job.tenant_id, capability=job.capability):
            labels = labels_of(self._connection, job.tenant_id, record.runner_id)
            reason = refusal(demand, Offer(record.runner_id, (record.name,), labels))
            if reason in PASSING:
                return True
        return False

    def _log(self, body: LogEvent) -> None:
        job_id = body.job_id if body.job_id in self._jobs else ""
        ref = self._ref
        words = (_clean(body.text), _clean(body.source))
        self._logs.append((ref.tenant_id, job_id, ref.runner_id, body.time_unix_ms, int(body.level), *words))

    def _cancel_state(self, body: CancelState) -> None:
        job = self._jobs.get(body.job_id)
        if job is not None:
            kind = f"cancel_{body.phase.name.lower()}"
            self._notes.append(Note(job.tenant_id, job.job_id, self._now_ms, kind, job.attempt, self._ref.runner_id))

    def _event(self, body: object) -> None:
        described = describe(body, self._now_ms)
        if described is not None:
            at, kind, data = described
            self._events.append((self._ref.tenant_id, self._ref.runner_id, at, _clean(kind), _clean(data)))

    def _write(self) -> None:
        connection = self._connection
        self._write_late()
        for job in self._changed.values():
            job.error_message = _clean(job.error_message)
        store.save(connection, self._changed.values())
        store.drop_chunks(connection, [job for job in self._changed.values() if job.lease_id in self._outputs])
        store.add_notes(connection, self._notes)
        _INSERT_LOG.many(connection, self._logs)
        INSERT_EVENT.many(connection, self._events)

    def _write_late(self) -> None:
        known = _known_late(self._connection, self._ref.tenant_id, {job_id for job_id, _ in self._late})
        fresh = {key: row for key, row in self._late.items() if key not in known}
        _INSERT_LATE.many(self._connection, list(fresh.values()))
        for (job_id, _), row in fresh.items():
            if job_id in self._jobs:
                status = machine.RESULT_STATES[row[_LATE_NAMES.index("status")]].value
                attempt = row[_LATE_NAMES.index("attempt")]
                at = (self._ref.tenant_id, job_id, self._now_ms)
                self._notes.append(Note(*at, "late_result", attempt, self._ref.runner_id, status))


_OF_JOBS: Final = (JobAccept, JobReject, JobResult, ResultChunk, LogEvent, CancelState)


def _known_late(connection: Connection, tenant_id: str, job_ids: Iterable[str]) -> set[tuple[str, bytes]]:
    wanted = list(job_ids)
    if not wanted:
        return set()
    c = late_results.c
    query = select(c.job_id, c.lease_id).where(c.tenant_id == tenant_id, c.job_id.in_(wanted))
    return {(job_id, bytes(lease_id)) for job_id, lease_id in connection.execute(query)}


def _clean(text: str) -> str:
    """Without NUL, which PostgreSQL cannot store: one such line must not hold up everything behind it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text
