"""Fills a Core's SQLite database with jobs that have ended, so that the cost of a long history can be measured.

`python -m bench.history DATABASE COUNT`, with that Core stopped. The rows are what a succeeded job leaves: the job
itself with its input and output, and the audit record of its submission, correctly chained.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from pathlib import Path

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.dispatch import store
from aisops_core.dispatch.admission import JobIds
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.matching import Demand
from aisops_core.storage.engine import build_engine
from aisops_protocol.messages import EffectClass
from bench.job import CAPABILITY, DATA

TENANT = "t_default"
AT_ONCE = 10_000
LONG_AGO_MS = 30 * 24 * 3_600_000


class _Past:
    """A clock that stands 30 days back and moves by a millisecond each time it is read."""

    def __init__(self) -> None:
        self._now_ms = time.time_ns() // 1_000_000 - LONG_AGO_MS

    def unix_ms(self) -> int:
        self._now_ms += 1
        return self._now_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000


def ended_job(job_id: str, at_ms: int) -> JobRecord:
    """Return the record of a job that succeeded."""
    return JobRecord(
        tenant_id=TENANT, job_id=job_id, capability=CAPABILITY, state=JobState.SUCCEEDED, attempt=1, priority=0,
        effect_class=EffectClass.IDEMPOTENT, timeout_ms=30_000, labels_json="{}", pinned_runner_id=None,
        route=Demand(CAPABILITY).route, runner_id="bench", lease_id=secrets.token_bytes(16), lease_until_unix_ms=None,
        session_epoch=1, journal_id=bytes(16), not_before_unix_ms=0, queue_expires_unix_ms=at_ms + 86_400_000,
        created_unix_ms=at_ms, leased_unix_ms=at_ms, started_unix_ms=at_ms, finished_unix_ms=at_ms,
        cancel_requested_unix_ms=None, idempotency_key=None, request_digest=hashlib.sha256(DATA).digest(),
        created_by="api:bench", execution_id="", step_id="", input_sha256=hashlib.sha256(DATA).digest(),
        plugin="noop", plugin_version="1.0", sidecar_pid=1, calls=1, exec_started_unix_ms=at_ms, duration_ms=1,
        output=DATA, input=DATA,
    )  # fmt: skip


def _submitted(record: JobRecord) -> AuditEntry:
    return AuditEntry(TENANT, "api:bench", "job.submit", record.job_id, {"capability": CAPABILITY})


def fill(database: Path, count: int) -> None:
    """Add `count` ended jobs to the database of a Core that has been started once and is stopped."""
    clock = _Past()
    ids = JobIds(clock, secrets.token_bytes)
    engine = build_engine(f"sqlite:///{database}", writer=True)
    try:
        for start in range(0, count, AT_ONCE):
            records = [ended_job(ids.mint(), clock.unix_ms()) for _ in range(min(AT_ONCE, count - start))]
            audits = [_submitted(record) for record in records]
            with engine.begin() as connection:
                store.insert_whole(connection, records)
                append(connection, audits, clock.unix_ms())
    finally:
        engine.dispose()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
