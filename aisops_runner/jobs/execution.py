"""The life of every job at the Runner, as one pure machine: what happened goes in, commands come out.

    received ─ Accept ─▶ STORING ─▶ WAITING ─ Start ─▶ STARTING ─ Invoke ─▶ RUNNING ─ Finish ─▶ FINISHING ─▶ gone
                              (slot free: straight to STARTING)        ▲        │
                                       at most once and not ready:     └─ PAUSED (before another call)
                                       WAITING ─ Warm ─▶ WARMING ─ Start ─▶ STARTING

An at-most-once job is stored as STARTED only when its call can leave at once: whatever dies while its sidecar starts,
the job is known not to have been called.

What the journal holds at start may be a copy of another machine's disk, or an old one put back: an at-most-once job
that it says was never called is UNCONFIRMED until Core, which heard the other machine, says that it is still ours.

Promises: a call leaves only after STARTED is on the disk; every accepted job ends in exactly one Finish; an
at-most-once job that may have had its effect is never called again. Time is passed in as monotonic seconds.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Container, Iterable

from aisops_protocol.limits import HELD_JOBS, LEASES
from aisops_protocol.messages import CancelMode, CancelPhase, Job, JobCancel, JobPhase, RejectReason
from aisops_runner.adapters.calls import Outcome
from aisops_runner.jobs import retry
from aisops_runner.jobs.commands import (
    Accept,
    Adopt,
    Command,
    Finish,
    Invoke,
    Reject,
    Resend,
    SayCancel,
    Start,
    StepBack,
    Stop,
    Warm,
)
from aisops_runner.jobs.retry import Again, Ended, StopReason
from aisops_runner.jobs.stages import IN_SLOT, Execution, Held, Intake, Stage
from aisops_runner.jobs.timers import Timers

REMEMBER_CANCEL_S = 600.0
REMEMBERED_CANCELS = 10_000
QUEUE_PER_SLOT = 2
QUEUE_EXTRA = 32
MOST_HELD = min(HELD_JOBS, LEASES)
"""However many slots there are: a Hello can name every open job, and a Heartbeat renew every lease."""


class Executions:
    """All jobs this Runner holds and has not finished.

    Args:
        slots: Calls at the same time.
        draw: Returns a random number in [0, 1), for the back-off between calls.
        ready: Whether a call of this capability would leave at once.
    """

    def __init__(self, slots: int, draw: Callable[[], float], ready: Callable[[str], bool] = lambda _: True) -> None:
        self._slots = slots
        self._capability_ready = ready
        self._draw = draw
        self._live: dict[str, Execution] = {}
        self._ready: list[tuple[int, int, str]] = []
        self._timers = Timers(self._live)
        self._early: dict[tuple[str, bytes], float] = {}
        self._busy = 0
        self._order = 0
        self._draining = False
        self._stopped = False
        self.intake = Intake.OPEN

    # --- what Core says -----------------------------------------------------------------------------------------------

    def received(self, job: Job, offered: Container[str], now: float) -> list[Command]:
        """A job arrived.

        Args:
            job: The job, under its newest lease.
            offered: Names of the capabilities this Runner has.
            now: Monotonic seconds.
        """
        held = self._live.get(job.job_id)
        if held is not None and held.stop is StopReason.CANCEL and job.lease_id != held.lease_id:
            held.again = job, offered
            return []
        if held is not None:
            return [*self._adopt(held, job), *self.confirm(job.job_id, now)]
        refusal = self._refusal(job, offered)
        if refusal is not None:
            return [Reject(job, *refusal)]
        execution = Execution(job, job.lease_id, job.attempt, Stage.STORING)
        self._live[job.job_id] = execution
        if self._early.pop((job.job_id, job.lease_id), 0.0) > now:
            execution.stop = StopReason.CANCEL
        started = execution.stop is None and self._may_start() and not self._ready and not self._is_cold(job)
        if started:
            self._enter_slot(execution, Stage.STARTING)
        if job.start_by_ms:
            execution.start_by = now + job.start_by_ms / 1000
        return [Accept(job, started=started)]

    def cancel(self, cancel: JobCancel, now: float) -> list[Command]:
        """Core wants a job stopped under one lease; it may not have arrived yet, or go on under a newer lease."""
        execution = self._live.get(cancel.job_id)
        if execution is None:
            self._remember(cancel, now)
            return [SayCancel(cancel.job_id, cancel.lease_id, CancelPhase.REMEMBERED)]
        if execution.again is not None and cancel.lease_id == execution.again[0].lease_id:
            self._remember(cancel, now)
            return [SayCancel(cancel.job_id, cancel.lease_id, CancelPhase.REMEMBERED)]
        if cancel.lease_id != execution.lease_id:
            return []
        if execution.stage is Stage.FINISHING:
            return [SayCancel(cancel.job_id, cancel.lease_id, CancelPhase.TOO_LATE)]
        if execution.stage in {Stage.UNCONFIRMED, Stage.WAITING, Stage.WARMING, Stage.PAUSED}:
            execution.stop = StopReason.CANCEL
            said = SayCancel(cancel.job_id, cancel.lease_id, CancelPhase.STOPPED)
            return [*self._finish(execution, retry.cancelled_before_call(), None, now), said]
        said = SayCancel(cancel.job_id, cancel.lease_id, CancelPhase.REQUESTED)
        execution.stop = execution.stop or StopReason.CANCEL
        if execution.stage is not Stage.RUNNING:
            return [said]
        kill = cancel.mode is CancelMode.KILL and cancel.grace_ms == 0
        execution.killed = execution.killed or kill
        limit = now + cancel.grace_ms / 1000
        self._timers.set(execution, limit if execution.deadline is None else min(limit, execution.deadline))
        return [said, Stop(cancel.job_id, kill=kill)]

    def confirm(self, job_id: str, now: float) -> list[Command]:
        """Core knows this job as ours: what the journal held back may begin."""
        execution = self._live.get(job_id)
        if execution is None or execution.stage is not Stage.UNCONFIRMED:
            return []
        self._queue(execution)
        return self._fill_slots(now)

    # --- what the disk says -------------------------------------------------------------------------------------------

    def stored(self, job_id: str, now: float, *, fresh: bool = True) -> list[Command]:
        """An Accept or a Start is on the disk.

        Args:
            job_id: Whose.
            now: Monotonic seconds.
            fresh: False when the journal knew the job as done: it is not run again.
        """
        execution = self._live.get(job_id)
        if execution is None or execution.stage not in {Stage.STORING, Stage.STARTING}:
            return []
        if not fresh:
            return self._let_go(execution, now)
        if execution.stop is StopReason.CANCEL:
            return self._finish(execution, retry.cancelled_before_call(), None, now)
        if execution.stage is Stage.STORING:
            self._queue(execution)
            return self._fill_slots(now)
        if self._stopped:
            self._forget(execution)
            return [StepBack(job_id, execution.calls)]
        return self._invoke(execution, now)

    def warmed(self, job_id: str) -> list[Command]:
        """The capability is ready, or will not soon be; the call then says why."""
        execution = self._live.get(job_id)
        if execution is None or execution.stage is not Stage.WARMING:
            return []
        if self._stopped:
            self._forget(execution)
            return []
        execution.stage = Stage.STARTING
        return [Start(job_id, execution.calls)]

    def finished(self, job_id: str, now: float) -> list[Command]:
        """A result is on the disk; the job leaves memory."""
        execution = self._live.get(job_id)
        if execution is None or execution.stage is not Stage.FINISHING:
            return self._fill_slots(now)
        return self._let_go(execution, now)

    def restore(self, held: Iterable[Held], now: float) -> list[Command]:
        """Take up what the journal held when the Runner started."""
        commands: list[Command] = []
        for one in held:
            execution = Execution(one.job, one.job.lease_id, one.job.attempt, Stage.UNCONFIRMED, calls=one.calls)
            self._live[one.job.job_id] = execution
            if retry.is_idempotent(one.job.effect_class):
                self._queue(execution)
            elif one.phase is JobPhase.STARTED:
                commands += self._finish(execution, retry.interrupted(), None, now)
        return commands + self._fill_slots(now)

    # --- what the calls and the clock say -----------------------------------------------------------------------------

    def ended(self, job_id: str, outcome: Outcome | None, now: float) -> list[Command]:
        """A call is over; None when it was cut off."""
        execution = self._live.get(job_id)
        if execution is None or execution.stage is not Stage.RUNNING:
            return []
        if outcome is None and execution.stop is None:
            return self._interrupted(execution, now)
        deadline = now if execution.deadline is None else execution.deadline
        verdict = retry.judge(
            outcome,
            effect=execution.job.effect_class,
            calls=execution.calls,
            remaining_s=deadline - now,
            stop=execution.stop,
            draw=self._draw(),
        )
        if isinstance(verdict, Again):
            return self._pause(execution, verdict.delay_s, now)
        commands = self._finish(execution, verdict, outcome, now)
        if execution.stop is StopReason.CANCEL:
            phase = CancelPhase.TOO_LATE if outcome is not None and outcome.ok else CancelPhase.STOPPED
            commands.append(SayCancel(job_id, execution.lease_id, phase))
        return commands

    def tick(self, now: float) -> list[Command]:
        """Do what time demands; call it when `next_deadline` has come."""
        commands: list[Command] = []
        for execution in self._timers.due(now):
            if execution.wake_at is None:  # else an earlier one of these has set it anew
                commands += self._timer_fired(execution, now)
        return commands + self._fill_slots(now)

    def next_deadline(self) -> float | None:
        """When `tick` is wanted next, in monotonic seconds; None when nothing waits for time."""
        return self._timers.next()

    # --- the end ------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no new job; those accepted go on."""
        self._draining = True

    def shut(self) -> list[Command]:
        """Start nothing more and cut off what runs; the journal keeps what may run again for the next start."""
        self._draining = self._stopped = True
        running = [one for one in self._live.values() if one.stage is Stage.RUNNING]
        return [Stop(one.job.job_id, kill=True) for one in running]

    # --- questions ----------------------------------------------------------------------------------------------------

    def leases(self) -> tuple[bytes, ...]:
        """The leases to renew: of every job held, and of every one that begins anew."""
        coming = tuple(one.again[0].lease_id for one in self._live.values() if one.again is not None)
        return (coming + tuple(one.lease_id for one in self._live.values()))[:LEASES]

    def unfinished(self) -> tuple[str, ...]:
        """Ids of the jobs held."""
        return tuple(self._live)

    @property
    def busy(self) -> bool:
        """True while a job is held that can get on without Core."""
        return any(one.stage is not Stage.UNCONFIRMED for one in self._live.values())

    def count(self, stage: Stage) -> int:
        """Jobs at a stage."""
        return sum(1 for one in self._live.values() if one.stage is stage)

    @property
    def free_slots(self) -> int:
        """Jobs that could be taken and begun at once."""
        if self._draining or self.intake is not Intake.OPEN:
            return 0
        return max(0, self._slots - len(self._live))

    @property
    def draining(self) -> bool:
        """True once no new job is taken."""
        return self._draining

    # --- rules --------------------------------------------------------------------------------------------------------

    def _refusal(self, job: Job, offered: Container[str]) -> tuple[RejectReason, str] | None:
        if self._draining:
            return RejectReason.DRAINING, "the Runner is stopping"
        if self.intake is not Intake.OPEN:
            return RejectReason.STORAGE, "the Runner's outbox is nearly full"
        if len(self._live) >= min(self._slots * QUEUE_PER_SLOT + QUEUE_EXTRA, MOST_HELD):
            return RejectReason.BUSY, "every slot is taken and the queue is full"
        if job.capability not in offered:
            return RejectReason.UNKNOWN_CAPABILITY, f"no plugin of this Runner offers {job.capability}"
        if job.input_sha256 and hashlib.sha256(job.input).digest() != job.input_sha256:
            return RejectReason.SCHEMA, "the input does not match its SHA-256"
        return None

    def _adopt(self, execution: Execution, job: Job) -> list[Command]:
        execution.lease_id, execution.attempt = job.lease_id, job.attempt
        if execution.stage is Stage.FINISHING:
            return [Resend(job.job_id, job.lease_id, job.attempt)]
        return [Adopt(job.job_id, job.lease_id, job.attempt)]

    def _may_start(self) -> bool:
        return self._busy < self._slots and not self._stopped and self.intake is not Intake.NO_STARTS

    def _fill_slots(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while self._ready and self._may_start():
            _, _, job_id = heapq.heappop(self._ready)
            execution = self._live.get(job_id)
            if execution is not None and execution.stage is Stage.WAITING:
                commands.append(self._begin(execution))
        return commands

    def _begin(self, execution: Execution) -> Command:
        if self._is_cold(execution.job):
            self._enter_slot(execution, Stage.WARMING)
            return Warm(execution.job.job_id, execution.job.capability)
        self._enter_slot(execution, Stage.STARTING)
        return Start(execution.job.job_id, execution.calls)

    def _is_cold(self, job: Job) -> bool:
        return not retry.is_idempotent(job.effect_class) and not self._capability_ready(job.capability)

    def _invoke(self, execution: Execution, now: float) -> list[Command]:
        timeout_s = execution.job.timeout_ms / 1000
        if execution.began_at is None or execution.deadline is None:
            execution.began_at, execution.deadline = now, now + timeout_s
        execution.stage = Stage.RUNNING
        execution.calls += 1
        self._timers.set(execution, execution.deadline)
        return [Invoke(execution.job, execution.attempt, max(execution.deadline - now, 0.001))]

    def _interrupted(self, execution: Execution, now: float) -> list[Command]:
        """The Runner stops: an idempotent job stays STARTED for the next start, the other kind ends here."""
        if retry.is_idempotent(execution.job.effect_class):
            self._forget(execution)
            return []
        return self._finish(execution, retry.interrupted(), None, now)

    def _pause(self, execution: Execution, delay_s: float, now: float) -> list[Command]:
        self._leave_slot(execution, Stage.PAUSED)
        self._timers.set(execution, now + delay_s)
        return [StepBack(execution.job.job_id, execution.calls), *self._fill_slots(now)]

    def _finish(self, execution: Execution, ended: Ended, outcome: Outcome | None, now: float) -> list[Command]:
        self._leave_slot(execution, Stage.FINISHING)
        execution.wake_at = None
        lasted_s = 0.0 if execution.began_at is None else now - execution.began_at
        job_id, lease_id = execution.job.job_id, execution.lease_id
        finish = Finish(job_id, lease_id, execution.attempt, ended, outcome, execution.calls, lasted_s)
        return [finish, *self._fill_slots(now)]

    def _timer_fired(self, execution: Execution, now: float) -> list[Command]:
        if execution.stage is Stage.PAUSED:
            self._queue(execution)
            return []
        if execution.stage in {Stage.WAITING, Stage.WARMING}:
            ended = retry.start_expired() if execution.began_at is None else retry.wait_expired()
            return self._finish(execution, ended, None, now)
        if execution.stage is not Stage.RUNNING or execution.killed:
            return []
        execution.stop = execution.stop or StopReason.TIMEOUT
        execution.killed = True
        return [Stop(execution.job.job_id, kill=True)]

    # --- bookkeeping --------------------------------------------------------------------------------------------------

    def _queue(self, execution: Execution) -> None:
        execution.stage = Stage.WAITING
        self._order += 1
        heapq.heappush(self._ready, (-execution.job.priority, self._order, execution.job.job_id))
        limit = execution.start_by if execution.deadline is None else execution.deadline
        if limit is not None:
            self._timers.set(execution, limit)

    def _enter_slot(self, execution: Execution, stage: Stage) -> None:
        execution.stage = stage
        self._busy += 1

    def _leave_slot(self, execution: Execution, stage: Stage) -> None:
        if execution.stage in IN_SLOT:
            self._busy -= 1
        execution.stage = stage

    def _let_go(self, execution: Execution, now: float) -> list[Command]:
        self._forget(execution)
        again = [] if execution.again is None else self.received(*execution.again, now)
        return [*again, *self._fill_slots(now)]

    def _forget(self, execution: Execution) -> None:
        self._leave_slot(execution, Stage.FINISHING)
        self._live.pop(execution.job.job_id, None)

    def _remember(self, cancel: JobCancel, now: float) -> None:
        if len(self._early) >= REMEMBERED_CANCELS:
            self._early = {known: until for known, until in self._early.items() if until > now}
        if len(self._early) < REMEMBERED_CANCELS:
            self._early[cancel.job_id, cancel.lease_id] = now + REMEMBER_CANCEL_S
