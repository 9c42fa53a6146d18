"""Jobs in the world of `world`: Core's job machine, the Runner's execution machine and a provider at the two ends.

The machines, the rules of leases and of a Runner's return, the sessions and the codec are the product's; journal,
tables and provider are the smallest honest models. Every job must end once, have its
effect when it says so, and never have it twice when it must not, whatever is lost, repeated, reordered, killed or set
back. Only a disk set back within one opening of its queue is beyond that: nothing then tells Core.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aisops_core.dispatch import job as jobs
from aisops_core.dispatch import lease
from aisops_core.dispatch.job import ACTIVE, JobRecord, JobState
from aisops_core.dispatch.lease import LeaseTerms, Ruling
from aisops_protocol import codec
from aisops_protocol import messages as m
from aisops_protocol.resume import forgotten, watermarks
from aisops_protocol.session import Delivered
from aisops_runner.adapters.calls import CallError, Outcome
from aisops_runner.jobs import commands as c
from aisops_runner.jobs.execution import Executions
from aisops_runner.jobs.stages import Held
from tests.unit.core.dispatch.test_job import a_job
from tests.unit.protocol.world import FAULTS, WORK, Outbox, Row, World

TERMS = LeaseTerms()
OFFERED = frozenset({"x.do"})
SLOTS = 2
JOB_WORK = (*WORK, "submit", "dispatch", "disk", "disk", "call_ends", "warm")
JOB_FAULTS = (*(name for name in FAULTS if name != "job"), "expire", "cold", "call_fails", "cancel")
JOB_OPERATIONS = JOB_WORK * 4 + JOB_FAULTS
INPUT_HASH = hashlib.sha256(b"{}").digest()
SETTLING = 400
OUTCOMES = (
    Outcome(ok=True, output=b"{}"),
    Outcome(ok=False, error=CallError("lost", "no answer", ambiguous=True)),
    Outcome(ok=False, error=CallError("later", "not now", retryable=True)),
)


@dataclass
class Entry:
    """One job in the journal."""

    job: m.Job
    phase: m.JobPhase
    calls: int = 0
    result: m.JobResult | None = None
    result_seq: int = 0


@dataclass
class JobOutbox(Outbox):
    """The queue file with the journal in it, written together and set back together."""

    bodies: dict[str, m.RunnerBody] = field(default_factory=dict)
    journal: dict[str, Entry] = field(default_factory=dict)

    def give_up(self, after: int) -> set[str]:
        newest = [row for row in self.rows if row.first > after][-3:]
        return set() if any(row.text in self.bodies for row in newest) else super().give_up(after)


class JobWorld(World):
    """Broken by `do`, mended by `settle`, judged by `broken_promises`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.box = JobOutbox()
        self.outbox: Outbox = self.box
        self.outbox.open(self.token())
        self.table: dict[str, JobRecord] = {}
        self.ends: dict[str, JobState] = {}
        self.changed_ends: list[str] = []
        self.sessions: dict[bytes, int] = {}
        self.session = 0
        self.redeliver: list[str] = []
        self.effects: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.happened: dict[str, tuple[bytes, int]] = {}  # job → opening and number of images at its last effect
        self.images = 0
        self.unknowable: set[str] = set()
        self.warm = True
        self.boot()

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

    # --- the Runner: machine, journal, provider -----------------------------------------------------------------------

    def boot(self) -> None:
        """The Runner starts: what was not on the disk is gone, and its calls are cut off."""
        self.machine = Executions(SLOTS, draw=lambda: 0.5, ready=lambda _: self.warm)
        self.pending: list[c.Command] = []
        self.calls: dict[str, m.Job] = {}
        self.warming: list[str] = []
        self.take_up()

    def take_up(self) -> None:
        """What the journal holds goes on."""
        held = [Held(one.job, one.phase, one.calls) for one in self.box.journal.values() if one.phase < m.JobPhase.DONE]
        self.obey(self.machine.restore(held, self.now))

    def restart(self) -> None:
        super().restart()
        assert isinstance(self.outbox, JobOutbox)
        self.box = self.outbox
        self.boot()

    def take_image(self) -> None:
        super().take_image()
        self.images += 1

    def rollback(self) -> None:
        """The disk is set back. What was done since the image and before another opening, nobody can know."""
        if self.image is not None:
            openings = {one.epoch for one in self.image.epochs}
            self.unknowable |= {
                job_id
                for job_id, (opening, images) in self.happened.items()
                if images == self.images and opening in openings
            }
        super().rollback()

    def obey(self, commands: Iterable[c.Command]) -> None:
        for command in commands:
            if isinstance(command, c.Invoke):
                self.calls[command.job.job_id] = command.job
                self.effect(command.job)
            elif isinstance(command, c.Warm):
                self.warming.append(command.job_id)
            elif isinstance(command, c.Stop):
                if command.kill and self.calls.pop(command.job_id, None):
                    self.obey(self.machine.ended(command.job_id, None, self.now))
            else:
                self.pending.append(command)

    def effect(self, job: m.Job) -> None:
        """The provider does it; an idempotent one recognises the key."""
        self.happened[job.job_id] = (self.box.epochs[-1].epoch, self.images)
        if job.effect_class is m.EffectClass.IDEMPOTENT:
            if job.effect_key in self.keys:
                return
            self.keys.add(job.effect_key)
        self.effects[job.job_id] += 1

    def end_call(self, outcome: Outcome) -> None:
        if self.calls:
            name = self.rng.choice(sorted(self.calls))
            job = self.calls.pop(name)
            if outcome.error is not None and not outcome.error.ambiguous:
                self.effects[name] -= 1  # a clean refusal: nothing was done
                self.keys.discard(job.effect_key)
            self.obey(self.machine.ended(name, outcome, self.now))

    def get_warm(self) -> None:
        self.warm = True
        waiting, self.warming = self.warming, []
        for job_id in waiting:
            self.obey(self.machine.warmed(job_id))

    def disk(self) -> None:
        """One commit of what has gathered, then its report."""
        batch, self.pending = self.pending, []
        stored = [(command, self.write(command)) for command in batch]
        for command, fresh in stored:
            match command:
                case c.Accept(job=job):
                    self.obey(self.machine.stored(job.job_id, self.now, fresh=fresh))
                case c.Start(job_id=job_id):
                    self.obey(self.machine.stored(job_id, self.now))
                case c.Finish(job_id=job_id):
                    self.obey(self.machine.finished(job_id, self.now))
        self.obey(self.machine.tick(self.now))

    def write(self, command: c.Command) -> bool:
        match command:
            case c.Accept(job=job, started=started):
                if job.job_id in self.box.journal:
                    self.resend(job.job_id, job.lease_id, job.attempt)
                    return False
                self.box.journal[job.job_id] = Entry(job, m.JobPhase.STARTED if started else m.JobPhase.ACCEPTED)
                self.put(m.JobAccept(job.job_id, job.lease_id, job.attempt))
            case c.Start() | c.StepBack():
                entry = self.box.journal[command.job_id]
                entry.phase = m.JobPhase.STARTED if isinstance(command, c.Start) else m.JobPhase.ACCEPTED
                entry.calls = command.calls
            case c.Finish(job_id=job_id, lease_id=lease_id, attempt=attempt, ended=ended):
                entry = self.box.journal[job_id]
                entry.phase = m.JobPhase.DONE
                entry.result = m.JobResult(job_id, lease_id, attempt, ended.status)
                entry.result_seq = self.put(entry.result)
            case c.Adopt(job_id=job_id, lease_id=lease_id, attempt=attempt):
                entry = self.box.journal[job_id]
                entry.job = replace(entry.job, lease_id=lease_id, attempt=attempt)
                self.put(m.JobAccept(job_id, lease_id, attempt))
            case c.Resend(job_id=job_id, lease_id=lease_id, attempt=attempt):
                self.resend(job_id, lease_id, attempt)
            case c.Reject(job=job, reason=reason):
                if not self.resend(job.job_id, job.lease_id, job.attempt):
                    self.put(m.JobReject(job.job_id, job.lease_id, job.attempt, reason))
            case c.SayCancel(job_id=job_id, lease_id=lease_id, phase=phase):
                self.put(m.CancelState(job_id, lease_id, phase))
        return True

    def resend(self, job_id: str, lease_id: bytes, attempt: int) -> bool:
        entry = self.box.journal.get(job_id)
        if entry is None or entry.result is None:
            return False
        entry.result_seq = self.put(replace(entry.result, lease_id=lease_id, attempt=attempt))
        return True

    def put(self, body: m.RunnerBody) -> int:
        self.append(1)
        self.box.bodies[f"text-{self.appended}"] = body
        return self.box.next_seq - 1

    def envelope(self, row: Row) -> m.RunnerEnvelope:
        envelope = super().envelope(row)
        if row.text is None:
            return envelope
        name = int(row.text.removeprefix("text-")).to_bytes(16)
        body = self.box.bodies.get(row.text)
        if body is None:
            return replace(envelope, message_id=name)
        return m.RunnerEnvelope(body, row.last, name, sealed=codec.encode_runner_body(body))

    def hello(self) -> m.Hello:
        hello = super().hello()
        acked = hello.oldest_unacked_seq - 1
        held = [
            m.HeldJob(one.job.job_id, one.job.lease_id, one.job.attempt, one.phase)
            for one in self.box.journal.values()
            if one.phase < m.JobPhase.DONE or one.result_seq > acked
        ]
        return replace(hello, held_jobs=tuple(held))

    def connect(self) -> None:
        self.disk()  # a Hello names what has been received only once it is stored
        super().connect()

    def welcomed(self, welcome: m.Welcome) -> None:
        for ruling in welcome.job_verdicts:
            entry = self.box.journal.get(ruling.job_id)
            if entry is None:
                continue
            match ruling.verdict:
                case m.Verdict.CANCEL:
                    cancel = m.JobCancel(ruling.job_id, entry.job.lease_id)
                    self.obey(self.machine.cancel(cancel, self.now))
                case m.Verdict.KEEP:
                    self.obey(self.machine.confirm(ruling.job_id, self.now))

    def job_arrived(self, job: m.Job) -> None:
        self.obey(self.machine.received(job, OFFERED, self.now))

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
        again = [self.table[name] for name in self.redeliver]
        self.redeliver = []
        for job in self.table.values():
            if job.state is JobState.QUEUED and job.not_before_unix_ms <= self.now_ms:
                jobs.lease(job, self.grant(self.core.hello.journal_id), self.now_ms)
                again.append(job)
        for job in again:
            if job.state in ACTIVE and job.lease_id is not None:
                self.core.send(self.message(job, job.lease_id))
        self.flush()

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
            if job.state is JobState.SUCCEEDED and times < 1:
                found.append(f"{name} succeeded without an effect")
        found += [f"{name} ended twice" for name in self.changed_ends]
        return found
