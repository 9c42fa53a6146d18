"""Jobs in the world of `world`: Core's job machine, the Runner's execution machine and a provider at the two ends.

The machines, the rules of leases and of a Runner's return, the sessions and the codec are the product's; journal,
tables and provider are the smallest honest models. Every job must end once, have its effect when it says so, and never
have it twice when it must not, whatever is lost, repeated, reordered, killed or set back. Only a disk set back within
one opening of its queue is beyond that: nothing then tells Core.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from aisops_core.dispatch import job as jobs
from aisops_core.dispatch import lease
from aisops_core.dispatch.job import ACTIVE, JobRecord, JobState
from aisops_core.dispatch.lease import LeaseTerms, Ruling
from aisops_protocol import messages as m
from aisops_protocol.resume import forgotten, watermarks
from aisops_protocol.session import Delivered
from tests.unit.core.dispatch.test_job import a_job
from tests.unit.protocol.job_runner import OUTCOMES, RunnerWorld
from tests.unit.protocol.world import FAULTS, WORK

TERMS = LeaseTerms()
JOB_WORK = (*WORK, "submit", "dispatch", "disk", "disk", "call_ends", "warm")
JOB_FAULTS = (*(name for name in FAULTS if name != "job"), "expire", "cold", "call_fails", "cancel")
JOB_OPERATIONS = JOB_WORK * 4 + JOB_FAULTS
INPUT_HASH = hashlib.sha256(b"{}").digest()
SETTLING = 400


class JobWorld(RunnerWorld):
    """Broken by `do`, mended by `settle`, judged by `broken_promises`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.table: dict[str, JobRecord] = {}
        self.ends: dict[str, JobState] = {}
        self.changed_ends: list[str] = []
        self.sessions: dict[bytes, int] = {}
        self.session = 0
        self.redeliver: list[str] = []
        self.asked: set[str] = set()  # jobs that somebody wanted cancelled

    def do(self, operation: str) -> None:
        own = {
            "submit": self.submit,
            "dispatch": self.dispatch,
            "disk": self.disk,
            "call_ends": lambda: self.end_call(OUTCOMES[0]),
            "call_fails": lambda: self.end_call(self.rng.choice(OUTCOMES[1:])),
            "cancel": self.cancel,
            "expire": self.expire,
            "warm": self.get_warm,
            "cold": lambda: setattr(self, "warm", False),
        }
        if operation in own:
            own[operation]()
        else:
            super().do(operation)

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)

    # --- Core: tables -------------------------------------------------------------------------------------------------

    def submit(self) -> None:
        number = len(self.table)
        effect = m.EffectClass.IDEMPOTENT if number % 2 else m.EffectClass.AT_MOST_ONCE
        name = f"job-{number}"
        self.table[name] = a_job(job_id=name, capability="x.do", effect_class=effect, attempt=1)

    def dispatch(self) -> None:
        """Give out what waits, and again what a return has found undelivered."""
        if self.core is None or not self.is_open or self.core.hello is None:
            return
        for job in self.table.values():
            if job.state is JobState.QUEUED and job.not_before_unix_ms <= self.now_ms:
                jobs.lease(job, self.grant(self.core.hello.journal_id), self.now_ms)
                self.redeliver.append(job.job_id)
        for job in [self.table[name] for name in self.redeliver]:
            if job.state in ACTIVE and job.lease_id is not None:
                self.core.send(self.message(job, job.lease_id))
        self.redeliver = []
        self.flush()

    def deliver_up(self) -> None:
        """What a return has found undelivered goes right after the Welcome."""
        super().deliver_up()
        if self.redeliver:
            self.dispatch()

    def grant(self, journal_id: bytes) -> jobs.Grant:
        return jobs.Grant(
            "runner-1", self.session, journal_id, self.token(), TERMS.until(self.now_ms), TERMS.patience_ms
        )

    def message(self, job: JobRecord, lease_id: bytes) -> m.Job:
        key = self.effect_key(job)
        return m.Job(job.job_id, lease_id, job.attempt, "x.do", b"{}", INPUT_HASH, key, job.effect_class, 30_000)

    def effect_key(self, job: JobRecord) -> str:
        return job.job_id

    def expire(self) -> None:
        """Lease and grace of every job pass without a word."""
        self.now += TERMS.lease_s + TERMS.grace_s + 1
        self.cut()
        for job in self.table.values():
            if job.state in ACTIVE and lease.lapsed(job.lease_until_unix_ms or 0, self.now_ms, TERMS):
                lease.expire(job, self.now_ms)
                self.look(job)

    def cancel(self) -> None:
        if self.table:
            job = self.rng.choice(list(self.table.values()))
            self.asked.add(job.job_id)
            if (
                jobs.request_cancel(job, self.now_ms, TERMS.cancel_ms)
                and job.state in ACTIVE
                and self.core is not None
                and self.is_open
            ):
                self.core.send(m.JobCancel(job.job_id, job.lease_id or b""))
                self.flush()
            self.look(job)

    def welcome(self, hello: m.Hello) -> m.Welcome:
        self.session += 1
        lost = forgotten(hello, self.marks)
        lost_session = max((self.sessions.get(epoch, 0) for epoch in lost), default=0)
        verdicts = self.reconcile(hello, lost_session)
        welcome = super().welcome(hello)
        for epoch, share in watermarks(hello, welcome.ack_watermark.seq).items():
            if epoch == hello.queue_epoch or epoch not in lost:
                self.marks[epoch] = share if epoch == hello.queue_epoch else max(share, self.marks.get(epoch, 0))
                self.sessions[epoch] = self.session
        return replace(welcome, session_epoch=self.session, job_verdicts=verdicts)

    def reconcile(self, hello: m.Hello, lost_session: int) -> tuple[m.JobVerdict, ...]:
        verdicts = []
        held = {entry.job_id: entry for entry in hello.held_jobs}
        missing = [job for job in self.table.values() if job.state in ACTIVE and job.job_id not in held]
        self.redeliver = []
        for entry in held.values():
            job = self.table.get(entry.job_id)
            returned = lease.reconcile_held(
                job,
                entry,
                self.grant(hello.journal_id),
                restored=False,
                now_ms=self.now_ms,
                current=job is None or self.is_current(job, lost_session),
            )
            if returned.verdict is not None:
                verdicts.append(m.JobVerdict(entry.job_id, returned.verdict))
            if returned.ruling is Ruling.REDELIVER:
                self.redeliver.append(entry.job_id)
            self.look(job)
        for job in missing:
            journal_id = hello.journal_id if self.is_current(job, lost_session) else b""
            lease.reconcile_missing(job, journal_id, self.now_ms)
            self.look(job)
        return tuple(verdicts)

    def is_current(self, job: JobRecord, lost_session: int) -> bool:
        return (job.session_epoch or 0) > lost_session

    def store(self, event: Delivered) -> None:
        for item in event.envelopes:
            if item.message_id:
                self.stored.append(f"text-{int.from_bytes(item.message_id)}")
                self.ingest(item.body)
        self.mark(event.upto_seq)

    def ingest(self, body: m.RunnerBody | None) -> None:
        if not isinstance(body, m.JobAccept | m.JobResult | m.JobReject):
            return
        job = self.table.get(body.job_id)
        if job is None or not self.holds(job, body.lease_id):
            if isinstance(body, m.JobAccept) and (job is None or job.lease_id != body.lease_id) and self.core:
                self.core.send(m.JobCancel(body.job_id, body.lease_id))  # it works without a right to
            return  # a late result is kept beside the job and changes nothing
        match body:
            case m.JobAccept():
                jobs.accept(job, self.now_ms)
            case m.JobResult():
                jobs.finish(job, body, self.now_ms)
            case m.JobReject():
                jobs.reject(job, body.reason, body.message, self.now_ms, another_runner=False)
        self.look(job)

    def holds(self, job: JobRecord, lease_id: bytes) -> bool:
        return job.state in ACTIVE and job.lease_id == lease_id

    def look(self, job: JobRecord | None) -> None:
        """An end is for good."""
        if job is None:
            return
        known = self.ends.get(job.job_id)
        if known is not None and known is not job.state:
            self.changed_ends.append(job.job_id)
        if job.terminal:
            self.ends[job.job_id] = job.state

    # --- the verdict --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        self.get_warm()
        self.connect()
        for _ in range(SETTLING):
            if self.core is None or self.core.state.name == "CLOSED":
                self.connect()
            for step in (self.disk, self.deliver_up, self.commit, self.deliver_down, self.dispatch, self.send):
                step()
            self.get_warm()
            self.end_call(OUTCOMES[0])
            self.now += 1.0
            if all(job.terminal for job in self.table.values()) and not self.calls and not self.pending:
                break
        super().settle()

    def broken_promises(self) -> list[str]:
        found = super().broken_promises()
        for name, job in self.table.items():
            times = self.effects[name]
            if name in self.unknowable:
                continue
            if not job.terminal:
                found.append(f"{name} never ended: {job.state.value}")
            if times > 1:
                found.append(f"{name} had {times} effects")
            if job.state is JobState.CANCELLED and name not in self.asked:
                found.append(f"{name} was cancelled by nobody")
            if job.state is JobState.SUCCEEDED and times < 1:
                found.append(f"{name} succeeded without an effect")
        found += [f"{name} ended twice" for name in self.changed_ends]
        return found
