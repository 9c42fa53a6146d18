"""Outbox and journal of the small runner: one SQLite file, written through, read without care for speed."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aisops_protocol.codec import encode_runner_body
from aisops_protocol.limits import HELD_JOBS
from aisops_protocol.messages import EffectClass, EpochStart, Job, JobPhase, RunnerBody, RunnerEnvelope
from tests.support.small_runner.faults import Fault

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB);
CREATE TABLE IF NOT EXISTS epochs (start INTEGER, epoch BLOB);
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY, name BLOB, body BLOB);
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, lease BLOB, attempt INTEGER, phase INTEGER, capability TEXT, input BLOB, effect_key TEXT,
    effect INTEGER, timeout_ms INTEGER, result BLOB, output BLOB, result_seq INTEGER);
"""


@dataclass(slots=True)
class Known:
    """A job in the journal."""

    job_id: str
    lease: bytes
    attempt: int
    phase: JobPhase
    capability: str
    input: bytes
    effect_key: str
    effect: EffectClass
    timeout_ms: int
    result: bytes = b""
    output: bytes = b""
    result_seq: int = 0


class Store:
    """The file. Every method commits before it returns, but inside `together`."""

    def __init__(self, folder: Path, fault: Fault) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fault = fault
        self._rows = sqlite3.connect(folder / "small.db", isolation_level=None)
        self._rows.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {TABLES}")
        if fault is Fault.OUTBOX_LOST:
            self._rows.execute("DELETE FROM outbox")
        if fault is Fault.NUMBERS_RESTART:
            self._rows.execute("DELETE FROM outbox")
            self._set("next", 1)
        self.journal_id = self._once("journal", secrets.token_bytes(16))
        self.next_seq = int(self._once("next", 1))
        self._open_epoch()

    def _open_epoch(self) -> None:
        listed = self._rows.execute("SELECT epoch, start FROM epochs ORDER BY rowid").fetchall()
        if self._fault is Fault.EPOCH_REUSED and listed:
            self.previous, (self.epoch, self.start) = (), listed[-1]
            return
        self.previous = tuple(EpochStart(epoch, start) for epoch, start in listed[-16:])
        if self._fault is Fault.NUMBERS_RESTART:
            self.previous = ()
        self.epoch, self.start = secrets.token_bytes(16), self.next_seq
        self._rows.execute("INSERT INTO epochs (start, epoch) VALUES (?, ?)", (self.start, self.epoch))

    def _once(self, name: str, value: bytes | int) -> bytes | int:
        self._rows.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        return self._rows.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]

    def _set(self, name: str, value: bytes | int) -> None:
        self._rows.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for everything that is written in the block."""
        if self._rows.in_transaction:
            yield
            return
        self._rows.execute("BEGIN IMMEDIATE")
        with self._rows:
            yield

    # --- the lane -----------------------------------------------------------------------------------------------------

    def put(self, *bodies: RunnerBody, job: Known | None = None) -> None:
        """Number and store messages; in the same transaction, what the journal says of a job."""
        with self.together():
            for body in bodies:
                row = (self.next_seq, secrets.token_bytes(16), encode_runner_body(body))
                self._rows.execute("INSERT INTO outbox VALUES (?, ?, ?)", row)
                self.next_seq += 1
            self._set("next", self.next_seq)
            if job is not None:
                if job.phase is JobPhase.DONE:
                    job.result_seq = self.next_seq - 1
                self._keep(job)

    def take(self, after: int, most: int) -> list[RunnerEnvelope]:
        """Messages above a number."""
        query = "SELECT seq, name, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._rows.execute(query, (after, most)).fetchall()
        if self._fault is Fault.RENAMED:
            rows = [(seq, secrets.token_bytes(16), body) for seq, _, body in rows]
        return [RunnerEnvelope(None, seq, name, sealed=body) for seq, name, body in rows]

    def acked(self, seq: int) -> None:
        """Delete up to a number."""
        if self._fault is not Fault.ACKS_IGNORED:
            self._rows.execute("DELETE FROM outbox WHERE seq <= ?", (seq,))

    def oldest(self) -> int:
        """Lowest number stored, or the next one."""
        return self._rows.execute("SELECT MIN(seq) FROM outbox").fetchone()[0] or self.next_seq

    # --- the journal --------------------------------------------------------------------------------------------------

    def keep(self, job: Known) -> None:
        """Write a job down."""
        self._keep(job)

    def _keep(self, job: Known) -> None:
        marks = ", ".join("?" * 12)
        row = (job.job_id, job.lease, job.attempt, int(job.phase), job.capability, job.input, job.effect_key,
               int(job.effect), job.timeout_ms, job.result, job.output, job.result_seq)  # fmt: skip
        self._rows.execute(f"INSERT OR REPLACE INTO jobs VALUES ({marks})", row)

    def job(self, job_id: str) -> Known | None:
        """A job, by its id."""
        found = self._known("job_id = ?", (job_id,))
        return found[0] if found else None

    def unfinished(self) -> list[Known]:
        """Jobs that have not ended."""
        return self._known("phase != ?", (int(JobPhase.DONE),))

    def ended(self) -> list[Known]:
        """Jobs that have."""
        return self._known("phase = ?", (int(JobPhase.DONE),))

    def held(self) -> tuple[list[Known], int]:
        """What a Hello names: not ended, or the result still in the outbox; and how many it has no room for."""
        waiting = [job for job in self.ended() if job.result_seq >= self.oldest()]
        every = [*self.unfinished(), *sorted(waiting, key=lambda job: -job.result_seq)]
        if self._fault is Fault.LISTED_BY_AGE:
            every.reverse()
        named, rest = every[:HELD_JOBS], every[HELD_JOBS:]
        match self._fault:
            case Fault.LEFT_OUT_FORGOTTEN:
                self._rows.executemany("DELETE FROM jobs WHERE job_id = ?", [(job.job_id,) for job in rest])
            case Fault.LEFT_OUT_OVERCOUNTED:
                return named, len(self._known("TRUE", ())) - len(named)
            case Fault.LEFT_OUT_UNCOUNTED:
                return named, 0
        return named, len(rest)

    def _known(self, where: str, values: tuple[object, ...]) -> list[Known]:
        rows = self._rows.execute(f"SELECT * FROM jobs WHERE {where} ORDER BY rowid", values).fetchall()
        return [Known(*row[:3], JobPhase(row[3]), *row[4:7], EffectClass(row[7]), *row[8:]) for row in rows]

    # --- what a Welcome said ------------------------------------------------------------------------------------------

    def core_epoch(self) -> bytes:
        """Of the last Welcome; empty before one."""
        return bytes(self._once("core", b""))

    def session_epoch(self) -> int:
        """Of the last Welcome; 0 before one."""
        return int(self._once("session", 0))

    def welcomed(self, core_epoch: bytes, session_epoch: int) -> None:
        """Note both, before anything is said in the session."""
        self._set("core", core_epoch)
        if self._fault is not Fault.SESSION_LATE:
            self._set("session", session_epoch)

    def parted(self, session_epoch: int) -> None:
        """A stream is over; a wrong runner notes only now which session it had."""
        if self._fault is Fault.SESSION_LATE:
            self._set("session", session_epoch)


def taken(job: Job) -> Known:
    """A job as the journal first has it."""
    return Known(
        job.job_id, job.lease_id, job.attempt, JobPhase.ACCEPTED, job.capability, job.input, job.effect_key,
        job.effect_class, job.timeout_ms,
    )  # fmt: skip
