"""The Runner's half of a world with jobs: the product's execution machine between a journal and a provider.

The journal stands in the queue file, and is stored and set back with it; an idempotent job's provider knows its key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aisops_protocol import codec
from aisops_protocol import messages as m
from aisops_runner.adapters.calls import CallError, Outcome
from aisops_runner.jobs import commands as c
from aisops_runner.jobs.execution import Executions
from aisops_runner.jobs.stages import Held
from tests.unit.protocol.world import Outbox, Row, World

OFFERED = frozenset({"x.do"})
SLOTS = 2
OUTCOMES = (
    Outcome(ok=True, output=b"{}"),
    Outcome(ok=False, error=CallError("lost", "no answer", ambiguous=True)),
    Outcome(ok=False, error=CallError("later", "not now", retryable=True)),
)

STOPPED = Outcome(ok=False, error=CallError("cancelled", "stopped before anything left"))
STOPS_IN_TIME = 0.7


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


class RunnerWorld(World):
    """A world whose Runner takes jobs; Core's half gives them out."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.box = JobOutbox()
        self.outbox: Outbox = self.box
        self.outbox.open(self.token())
        self.effects: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.fresh: set[str] = set()  # jobs whose newest call was not a repetition to the provider
        self.happened: dict[str, tuple[bytes, int]] = {}  # job → opening and number of images at its last effect
        self.images = 0
        self.unknowable: set[str] = set()
        self.warm = True
        self.boot()

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
                self.stop(command)
            else:
                self.pending.append(command)

    def stop(self, command: c.Stop) -> None:
        """A call that is asked to stop may still be in time to do nothing."""
        if command.job_id in self.calls:
            if command.kill:
                del self.calls[command.job_id]
                self.obey(self.machine.ended(command.job_id, None, self.now))
            elif self.rng.random() < STOPS_IN_TIME:
                self.end_call(STOPPED, command.job_id)

    def effect(self, job: m.Job) -> None:
        """The provider does it; an idempotent one recognises the key."""
        self.happened[job.job_id] = (self.box.epochs[-1].epoch, self.images)
        self.fresh.discard(job.job_id)
        if job.effect_class is m.EffectClass.IDEMPOTENT:
            if job.effect_key in self.keys:
                return
            self.keys.add(job.effect_key)
        self.effects[job.job_id] += 1
        self.fresh.add(job.job_id)

    def end_call(self, outcome: Outcome, name: str = "") -> None:
        if self.calls:
            name = name or self.rng.choice(sorted(self.calls))
            job = self.calls.pop(name)
            if outcome.error is not None and not outcome.error.ambiguous and name in self.fresh:
                self.effects[name] -= 1  # a clean refusal: this call did nothing, whatever one before it did
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

    def cancel_arrived(self, cancel: m.JobCancel) -> None:
        self.obey(self.machine.cancel(cancel, self.now))

    def job_arrived(self, job: m.Job) -> None:
        self.obey(self.machine.received(job, OFFERED, self.now))
