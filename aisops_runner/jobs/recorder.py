"""Many commands of the execution machine, stored in one unit of work: one fsync for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from aisops_protocol.errors import ProtocolError
from aisops_protocol.messages import CancelPhase, CancelState, JobPhase, JobReject
from aisops_runner.adapters.calls import JobLog
from aisops_runner.jobs import journal, results
from aisops_runner.jobs.commands import (
    Accept,
    Adopt,
    Finish,
    Reject,
    Resend,
    SayCancel,
    Start,
    StepBack,
    Stored,
)
from aisops_runner.jobs.journal import Kept
from aisops_runner.outbox import store
from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.transaction import Transaction

_log = structlog.get_logger("aisops_runner.jobs")


@dataclass(frozen=True, slots=True)
class Batch:
    """What is stored together, encoded beforehand so that a unit run twice does the work once.

    Attributes:
        commands: In the order the machine gave them.
        kept: Results of the Finish commands, by job id.
        logs: Log lines.
    """

    commands: Sequence[Stored]
    kept: Mapping[str, Kept] = field(default_factory=dict)
    logs: Sequence[Draft] = ()


def prepare(commands: Sequence[Stored], logs: Sequence[Draft], unix_ms: int) -> Batch:
    """Encode the results among the commands; one the contract refuses is replaced by what can be told."""
    kept: dict[str, Kept] = {}
    for command in commands:
        if isinstance(command, Finish):
            result, output = results.build(command, unix_ms)
            try:
                kept[command.job_id] = journal.keep(result, output)
            except ProtocolError as error:
                _log.warning("a result cannot be sent as it is", job_id=command.job_id, error=error.message)
                kept[command.job_id] = journal.keep(results.fallback(result, error.message), b"")
    return Batch(commands, kept, logs)


def log_draft(line: JobLog) -> Draft | None:
    """Encode a log line; None when the contract refuses it."""
    try:
        return store.draft(results.log_event(line))
    except ProtocolError as error:
        _log.warning("a log line cannot be sent", source=line.source, error=error.message)
        return None


def record(work: Transaction, batch: Batch) -> frozenset[str]:
    """Store everything; returns the ids of accepted jobs that the journal knew as done (they must not run)."""
    done_before: set[str] = set()
    for command in batch.commands:
        if isinstance(command, Accept):
            if not journal.accept(work, command.job, started=command.started):
                done_before.add(command.job.job_id)
        elif isinstance(command, Finish):
            journal.finish(work, batch.kept[command.job_id])
        else:
            _record_other(work, command)
    work.append(*batch.logs)
    return frozenset(done_before)


def _record_other(work: Transaction, command: Adopt | Reject | Start | StepBack | Resend | SayCancel) -> None:
    match command:
        case Start():
            journal.mark(work, command.job_id, JobPhase.STARTED, command.calls)
        case StepBack():
            journal.mark(work, command.job_id, JobPhase.ACCEPTED, command.calls)
        case Adopt():
            journal.adopt(work, command.job_id, command.lease_id, command.attempt)
        case Resend():
            journal.resend(work, command.job_id, command.lease_id, command.attempt)
        case Reject(job=job):
            if not journal.resend(work, job.job_id, job.lease_id, job.attempt):
                rejected = JobReject(job.job_id, job.lease_id, job.attempt, command.reason, command.message)
                work.append(store.draft(rejected))
        case SayCancel():
            phase = command.phase
            if phase is CancelPhase.REMEMBERED and journal.is_done(work.connection, command.job_id):
                phase = CancelPhase.TOO_LATE
            work.append(store.draft(CancelState(command.job_id, command.lease_id, phase)))
