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
from aisops_runner.jobs.journal import Entry, Kept
from aisops_runner.outbox import store
from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.transaction import Transaction

_log = structlog.get_logger("aisops_runner.jobs")


@dataclass(frozen=True, slots=True)
class Batch:
    """What is stored together, encoded beforehand so that a unit run twice does the work once.

    Attributes:
        commands: In the order the machine gave them.
        entries: What the Accept commands store, by job id.
        kept: Results of the Finish commands, by job id.
        logs: Log lines.
    """

    commands: Sequence[Stored]
    entries: Mapping[str, Entry] = field(default_factory=dict)
    kept: Mapping[str, Kept] = field(default_factory=dict)
    logs: Sequence[Draft] = ()


def prepare(commands: Sequence[Stored], logs: Sequence[Draft], unix_ms: int) -> Batch:
    """Encode what is to be stored; a result that the contract refuses is replaced by what can be told."""
    entries: dict[str, Entry] = {}
    kept: dict[str, Kept] = {}
    for command in commands:
        if isinstance(command, Accept):
            entries[command.job.job_id] = journal.entry(command.job, started=command.started)
        elif isinstance(command, Finish):
            result, output = results.build(command, unix_ms)
            try:
                kept[command.job_id] = journal.keep(result, output)
            except ProtocolError as error:
                _log.warning("a result cannot be sent as it is", job_id=command.job_id, error=error.message)
                kept[command.job_id] = journal.keep(results.fallback(result, error.message), b"")
    return Batch(commands, entries, kept, logs)


def log_draft(line: JobLog) -> Draft | None:
    """Encode a log line; None when the contract refuses it."""
    try:
        return store.draft(results.log_event(line))
    except ProtocolError as error:
        _log.warning("a log line cannot be sent", source=line.source, error=error.message)
        return None


def record(work: Transaction, batch: Batch) -> frozenset[str]:
    """Store everything; returns the ids of accepted jobs that the journal knew as done (they must not run)."""
    pile = _Pile(work, batch)
    for command in batch.commands:
        pile.add(command)
    pile.store()
    work.append(*batch.logs)
    return frozenset(pile.done_before)


class _Pile:
    """Commands of the three frequent kinds, stored many at a time; each job has at most one of them in a pile.

    A command of another kind is stored in its place among them, because it may rest on what was stored before.
    """

    def __init__(self, work: Transaction, batch: Batch) -> None:
        self.done_before: set[str] = set()
        self._work = work
        self._batch = batch
        self._clear()

    def add(self, command: Stored) -> None:
        """Take a command."""
        if isinstance(command, Accept):
            self._take(command.job.job_id)
            self._accepted.append(self._batch.entries[command.job.job_id])
        elif isinstance(command, Finish):
            self._take(command.job_id)
            self._ended.append(self._batch.kept[command.job_id])
        elif isinstance(command, Start):
            self._take(command.job_id)
            self._started.append((command.job_id, command.calls))
        else:
            self.store()
            _record_other(self._work, command)

    def store(self) -> None:
        """Store what was taken."""
        if self._accepted:
            self.done_before |= journal.accept(self._work, self._accepted)
        if self._started:
            journal.mark(self._work, JobPhase.STARTED, self._started)
        if self._ended:
            journal.finish(self._work, self._ended)
        self._clear()

    def _take(self, job_id: str) -> None:
        if job_id in self._jobs:
            self.store()
        self._jobs.add(job_id)

    def _clear(self) -> None:
        self._jobs: set[str] = set()
        self._accepted: list[Entry] = []
        self._started: list[tuple[str, int]] = []
        self._ended: list[Kept] = []


def _record_other(work: Transaction, command: Stored) -> None:
    match command:
        case StepBack():
            journal.mark(work, JobPhase.ACCEPTED, [(command.job_id, command.calls)])
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
