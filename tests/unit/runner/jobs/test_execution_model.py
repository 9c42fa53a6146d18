"""Whatever happens in whatever order: no effect twice for at-most-once jobs, one terminal result for every job.

The model plays the disk (a journal that keeps exactly what was committed), the provider (an effect per call that did
not fail cleanly) and fate (crashes that lose the machine and every command not yet committed).
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aisops_protocol.messages import EffectClass, Job, JobCancel, JobPhase
from aisops_runner.adapters.calls import CallError, Outcome
from aisops_runner.jobs import execution
from aisops_runner.jobs.commands import Accept, Adopt, Finish, Invoke, Start, StepBack, Stop, Warm
from aisops_runner.jobs.execution import Executions
from aisops_runner.jobs.stages import FOLLOWS, Execution, Held

JOBS = 4
OFFERED = frozenset({"x.do"})


class Watched(Execution):
    """A job whose every change of stage is looked up in the table."""

    def __setattr__(self, name: str, value: object) -> None:
        before = getattr(self, "stage", None)
        if name == "stage" and before is not None and before is not value:
            assert value in FOLLOWS[before], f"{before} to {value} is not in the table"
        super().__setattr__(name, value)


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lease = 0
        self.leases: dict[int, int] = {}
        self.journal: dict[str, tuple[JobPhase, Job, int]] = {}
        self.results: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.warm = True
        self.boot()

    def boot(self) -> None:
        execution.Execution = Watched  # type: ignore[misc]
        self.machine = Executions(2, draw=lambda: 0.5, ready=lambda _: self.warm)
        self.pending: list[object] = []
        self.calls: dict[str, Job] = {}
        self.warming: list[str] = []
        open_jobs = [Held(job, phase, calls) for phase, job, calls in self.journal.values() if phase < JobPhase.DONE]
        self.take(self.machine.restore(open_jobs, self.now))

    def take(self, commands) -> None:
        for command in commands:
            if isinstance(command, Invoke):
                name = command.job.job_id
                assert self.journal[name][0] is JobPhase.STARTED, "a call left before STARTED was on the disk"
                assert name not in self.calls, "two calls of one job at once"
                self.calls[name] = command.job
                self.effects[name] += 1
            elif isinstance(command, Warm):
                # The step back from a call before may still be on its way to the disk, when that is slow.
                stepping = any(isinstance(one, StepBack) and one.job_id == command.job_id for one in self.pending)
                phase = self.journal[command.job_id][0]
                assert stepping or phase is JobPhase.ACCEPTED, "marked as started while it only warms"
                self.warming.append(command.job_id)
            elif isinstance(command, Stop):
                if command.kill:
                    self.calls.pop(command.job_id)
                    self.take(self.machine.ended(command.job_id, None, self.now))
            else:
                self.pending.append(command)

    @rule(number=st.integers(0, JOBS - 1))
    def deliver(self, number: int) -> None:
        self.lease += 1
        self.leases[number] = self.lease
        effect = EffectClass.IDEMPOTENT if number % 2 else EffectClass.AT_MOST_ONCE
        job = Job(
            job_id=f"j{number}",
            lease_id=self.lease.to_bytes(16, "big"),
            attempt=self.lease,
            capability="x.do",
            input=b"{}",
            input_sha256=b"",
            effect_key=f"j{number}",
            effect_class=effect,
            timeout_ms=5000,
        )
        self.take(self.machine.received(job, OFFERED, self.now))

    @rule(number=st.integers(0, JOBS - 1), age=st.integers(0, 2))
    def cancel(self, number: int, age: int) -> None:
        lease = max(0, self.leases.get(number, self.lease) - age)
        self.take(self.machine.cancel(JobCancel(f"j{number}", lease.to_bytes(16, "big"), grace_ms=1000), self.now))

    @precondition(lambda self: self.pending)
    @rule()
    def commit(self) -> None:
        batch, self.pending = self.pending, []
        reports = [self.store(command) for command in batch]
        for report in filter(None, reports):
            self.take(report())

    def store(self, command):
        if isinstance(command, Accept):
            name = command.job.job_id
            fresh = name not in self.journal
            if fresh:
                self.journal[name] = (JobPhase.STARTED if command.started else JobPhase.ACCEPTED, command.job, 0)
            return lambda: self.machine.stored(name, self.now, fresh=fresh)
        if isinstance(command, (Start, StepBack)):
            phase = JobPhase.STARTED if isinstance(command, Start) else JobPhase.ACCEPTED
            self.journal[command.job_id] = (phase, self.journal[command.job_id][1], command.calls)
            return (lambda: self.machine.stored(command.job_id, self.now)) if isinstance(command, Start) else None
        if isinstance(command, Finish):
            self.journal[command.job_id] = (JobPhase.DONE, self.journal[command.job_id][1], command.calls)
            self.results[command.job_id] += 1
            return lambda: self.machine.finished(command.job_id, self.now)
        if isinstance(command, Adopt):
            assert command.job_id in self.journal
        return None

    @precondition(lambda self: self.calls)
    @rule(
        which=st.integers(0, 9),
        outcome=st.sampled_from(
            [
                Outcome(ok=True),
                Outcome(ok=False, error=CallError("clean", "refused")),
                Outcome(ok=False, error=CallError("clean_retry", "later", retryable=True)),
                Outcome(ok=False, error=CallError("lost", "no answer", ambiguous=True)),
            ]
        ),
    )
    def call_ends(self, which: int, outcome: Outcome) -> None:
        name = sorted(self.calls)[which % len(self.calls)]
        del self.calls[name]
        if outcome.error is not None and not outcome.error.ambiguous:
            self.effects[name] -= 1
        self.take(self.machine.ended(name, outcome, self.now))

    @rule(warm=st.booleans())
    def sidecars_change(self, warm: bool) -> None:
        self.warm = warm

    @precondition(lambda self: self.warming)
    @rule()
    def one_is_warm(self) -> None:
        self.take(self.machine.warmed(self.warming.pop(0)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.machine.tick(self.now))

    @rule(number=st.integers(0, JOBS - 1))
    def core_says_it_is_ours(self, number: int) -> None:
        self.take(self.machine.confirm(f"j{number}", self.now))

    @rule()
    def crash(self) -> None:
        self.boot()

    @invariant()
    def no_effect_twice_for_at_most_once(self) -> None:
        for name, count in self.effects.items():
            if int(name[1:]) % 2 == 0:
                assert count <= 1, f"{name} had {count} effects"

    @invariant()
    def one_result_each(self) -> None:
        assert all(count == 1 for count in self.results.values())

    def teardown(self) -> None:
        for number in range(JOBS):
            self.core_says_it_is_ours(number)
        for _ in range(60):
            if self.pending:
                self.commit()
            while self.warming:
                self.one_is_warm()
            for name in list(self.calls):
                del self.calls[name]
                self.take(self.machine.ended(name, Outcome(ok=True), self.now))
            self.time_passes(1.0)
        assert self.machine.unfinished() == ()
        execution.Execution = Execution  # type: ignore[misc]
        assert set(self.results) == set(self.journal), "an accepted job has no result"
        self.no_effect_twice_for_at_most_once()
        self.one_result_each()


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
