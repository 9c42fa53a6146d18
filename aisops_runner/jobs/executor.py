"""Runs the jobs: joins the execution machine with the journal, the outbox and the plugin host.

One loop stores what the machine wants stored, as many commands as have gathered in one commit; the only task per job is
the call itself. It holds no rule.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Container, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol

import structlog

from aisops_protocol.messages import HeldJob, Job, JobCancel
from aisops_runner.adapters.calls import Call, CallError, JobLog, Outcome
from aisops_runner.backoff import full_jitter_s
from aisops_runner.clock import Clock
from aisops_runner.errors import StorageFailed
from aisops_runner.jobs import journal, recorder
from aisops_runner.jobs.commands import Accept, Command, Finish, Invoke, Resend, Start, Stop, Stored, Warm
from aisops_runner.jobs.execution import Executions
from aisops_runner.jobs.stages import Intake, Stage
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.queue import Pressure
from aisops_runner.outbox.rows import Draft

LOG_LINES_WAITING = 10_000
RETAIN_EVERY_S = 60.0
CUT_OFF_S = 5.0
STORE_RETRY_S = 5.0  # a full disk may have room again at any moment, and Core waits for what is held

_INTAKE = {
    Pressure.NORMAL: Intake.OPEN,
    Pressure.NO_NEW_JOBS: Intake.NO_NEW_JOBS,
    Pressure.NO_STARTS: Intake.NO_STARTS,
}

_log = structlog.get_logger("aisops_runner.jobs")


class Host(Protocol):
    """What runs calls: `adapters.host.PluginHost` in the product."""

    def invoke(self, call: Call) -> Coroutine[Any, Any, Outcome]:
        """Run one call; raises nothing but CancelledError."""
        ...

    def cancel(self, job_id: str) -> None:
        """Ask a running call to stop."""
        ...

    def ready(self, capability: str) -> bool:
        """Whether a call would leave at once."""
        ...

    def prepare(self, capability: str) -> Coroutine[Any, Any, None]:
        """Get ready for calls; raises nothing but CancelledError."""
        ...


class Executor:
    """The jobs of one Runner.

    Args:
        outbox: Where results and the journal live.
        host: Runs the calls.
        offered: Knows the names of the capabilities on offer now.
        tenant_id: Given to every call.
        runner_id: Given to every call.
        slots: Calls at the same time.
        clock: Time.
        draw: Random number in [0, 1), for back-off.
    """

    def __init__(
        self,
        outbox: Outbox,
        host: Host,
        *,
        offered: Container[str],
        tenant_id: str,
        runner_id: str,
        slots: int,
        clock: Clock,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._host = host
        self._offered = offered
        self._tenant_id = tenant_id
        self._runner_id = runner_id
        self._clock = clock
        self._draw = draw
        self._machine = Executions(slots, draw, host.ready)
        outbox.on_loss(journal.resend_lost)
        self._waiting: list[Stored] = []
        self._logs: list[Draft] = []
        self._logs_lost = 0
        self._storing = False
        self._wake = asyncio.Event()
        self._quiet = asyncio.Condition()
        self._calls: dict[str, asyncio.Task[Outcome]] = {}
        self._warming: set[asyncio.Task[None]] = set()

    # --- from Core ----------------------------------------------------------------------------------------------------

    def deliver(self, job: Job) -> None:
        """A job arrived; returns at once."""
        self._machine.intake = _INTAKE[self._outbox.pressure()]
        self._apply(self._machine.received(job, self._offered, self._clock.monotonic()))

    def cancel(self, cancel: JobCancel) -> None:
        """Core wants a job stopped; returns at once."""
        self._apply(self._machine.cancel(cancel, self._clock.monotonic()))

    def resend(self, job_id: str, lease_id: bytes, attempt: int) -> None:
        """Core wants the kept result of a finished job again."""
        self._apply([Resend(job_id, lease_id, attempt)])

    async def resend_all(self) -> None:
        """Core went back to a backup, or the lane was damaged: send the results of the last day again.

        Raises:
            StorageFailed: The journal cannot be read or the outbox written.
        """
        ended_at = 0
        while True:
            ended_at = await self._outbox.transact(partial(journal.resend_since, after_ordinal=ended_at))
            if not ended_at:
                return

    # --- from the sidecars --------------------------------------------------------------------------------------------

    def log(self, line: JobLog) -> None:
        """A log line, to be stored with the next commit; lines beyond a bound are counted, not kept."""
        if len(self._logs) >= LOG_LINES_WAITING:
            self._logs_lost += 1
            return
        made = recorder.log_draft(line)
        if made is not None:
            self._logs.append(made)
            self._wake.set()

    # --- questions ----------------------------------------------------------------------------------------------------

    async def held_jobs(self) -> tuple[HeldJob, ...]:
        """What a Hello names, read from the journal.

        Raises:
            StorageFailed: The journal cannot be read.
        """
        acked = self._outbox.acked_seq
        return await self._outbox.database.read(lambda connection: journal.held(connection, acked))

    def leases(self) -> tuple[bytes, ...]:
        """Leases to renew."""
        return self._machine.leases()

    @property
    def free_slots(self) -> int:
        """Jobs that could be taken and begun at once."""
        return self._machine.free_slots

    @property
    def draining(self) -> bool:
        """True once no new job is taken."""
        return self._machine.draining

    def unfinished(self) -> tuple[str, ...]:
        """Ids of the jobs held."""
        return self._machine.unfinished()

    def status(self) -> dict[str, int]:
        """Jobs by stage, for the status document."""
        return {
            "running": self._machine.count(Stage.RUNNING),
            "held": len(self._machine.unfinished()),
            "paused": self._machine.count(Stage.PAUSED),
            "free_slots": self.free_slots,
            "log_lines_lost": self._logs_lost,
        }

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what the journal holds; call once, before `run`.

        Raises:
            StorageFailed: The journal cannot be read, or results that a damaged file has lost cannot be stored again.
        """
        acked = self._outbox.acked_seq
        if spoiled := await self._outbox.transact(lambda work: journal.weed(work, acked)):
            _log.error("damaged rows of the journal were set aside", jobs=spoiled)
        if self._outbox.salvaged:
            await self.resend_all()
        held = await self._outbox.database.read(journal.unfinished)
        if held:
            _log.info("jobs of the last run are taken up", jobs=len(held))
        self._apply(self._machine.restore(held, self._clock.monotonic()))

    async def run(self) -> None:
        """Store and start until cancelled."""
        retained_at = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            self._machine.intake = _INTAKE[self._outbox.pressure()]
            self._apply(self._machine.tick(now))
            if self._waiting or self._logs:
                await self._store()
            elif now - retained_at >= RETAIN_EVERY_S:
                await self._retain(int(now - retained_at))
                retained_at = now
            else:
                await self._rest(retained_at + RETAIN_EVERY_S)

    async def settle(self) -> None:
        """Wait until everything received so far is on the disk (or known as refused)."""
        async with self._quiet:
            await self._quiet.wait_for(lambda: not self._waiting and not self._storing)

    async def drain(self, timeout_s: float) -> tuple[str, ...]:
        """Take no new job, let the held ones end, and cut off what has not ended in time.

        Args:
            timeout_s: Seconds the held jobs are given.

        Returns:
            Ids of the jobs the journal keeps for the next start.
        """
        self._machine.drain()
        try:
            async with asyncio.timeout(timeout_s), self._quiet:
                await self._quiet.wait_for(lambda: not self._machine.unfinished() and not self._storing)
        except TimeoutError:
            _log.warning("jobs are cut off", jobs=len(self._machine.unfinished()))
        left = self._machine.unfinished()
        self._apply(self._machine.shut())
        under_way = [*self._calls.values(), *self._warming]
        for task in self._warming:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=CUT_OFF_S)
        await self.settle()
        return left

    async def _rest(self, until: float) -> None:
        deadline = self._machine.next_deadline()
        limit = until if deadline is None else min(deadline, until)
        self._wake.clear()
        try:
            async with asyncio.timeout(max(limit - self._clock.monotonic(), 0)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _store(self) -> None:
        """One commit for everything that has gathered; tried again until the disk takes it."""
        commands, self._waiting = self._waiting, []
        logs, self._logs = self._logs, []
        self._storing = True
        batch = recorder.prepare(commands, logs, self._clock.unix_ms())
        failures = 0
        while True:
            try:
                done_before = await self._outbox.transact(lambda work: recorder.record(work, batch))
                break
            except StorageFailed as error:
                _log.error("jobs cannot be stored; trying again", error=str(error), commands=len(commands))
                await asyncio.sleep(full_jitter_s(failures, self._draw(), cap_s=STORE_RETRY_S, floor_s=0.1))
                failures += 1
        self._storing = False
        self._report(commands, done_before)
        async with self._quiet:
            self._quiet.notify_all()

    def _report(self, commands: Iterable[Stored], done_before: Collection[str]) -> None:
        now = self._clock.monotonic()
        for command in commands:
            if isinstance(command, Accept):
                job_id = command.job.job_id
                self._apply(self._machine.stored(job_id, now, fresh=job_id not in done_before))
            elif isinstance(command, Start):
                self._apply(self._machine.stored(command.job_id, now))
            elif isinstance(command, Finish):
                self._apply(self._machine.finished(command.job_id, now))

    async def _retain(self, ran_s: int) -> None:
        acked = self._outbox.acked_seq
        try:
            await self._outbox.transact(lambda work: journal.retain(work, acked, ran_s))
        except StorageFailed as error:
            _log.warning("the journal could not be shortened", error=str(error))

    # --- commands -----------------------------------------------------------------------------------------------------

    def _apply(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Invoke):
                self._invoke(command)
            elif isinstance(command, Warm):
                self._warm(command)
            elif isinstance(command, Stop):
                self._stop(command)
            else:
                self._waiting.append(command)
        self._wake.set()

    def _stop(self, command: Stop) -> None:
        if command.kill:
            task = self._calls.get(command.job_id)
            if task is not None:
                task.cancel()
        else:
            self._host.cancel(command.job_id)

    def _warm(self, command: Warm) -> None:
        task = asyncio.create_task(self._host.prepare(command.capability), name=f"warm {command.capability}")
        self._warming.add(task)
        task.add_done_callback(partial(self._warmed, command.job_id))

    def _warmed(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._warming.discard(task)
        self._apply(self._machine.warmed(job_id))

    def _invoke(self, command: Invoke) -> None:
        job = command.job
        call = Call(
            job_id=job.job_id,
            tenant_id=self._tenant_id,
            runner_id=self._runner_id,
            attempt=command.attempt,
            capability=job.capability,
            input=job.input,
            effect_key=job.effect_key or job.job_id,
            timeout_s=command.timeout_s,
            execution_id=job.execution_id,
            step_id=job.step_id,
            traceparent=dict(job.trace_context).get("traceparent", ""),
        )
        task = asyncio.create_task(self._host.invoke(call), name=f"call {job.job_id}")
        self._calls[job.job_id] = task
        task.add_done_callback(partial(self._ended, job.job_id))

    def _ended(self, job_id: str, task: asyncio.Task[Outcome]) -> None:
        """A callback and not the end of a coroutine: a task cancelled before its first step never runs its body."""
        self._calls.pop(job_id, None)
        outcome: Outcome | None = None
        if not task.cancelled():
            error = task.exception()
            outcome = task.result() if error is None else _broken_host(error)
        self._apply(self._machine.ended(job_id, outcome, self._clock.monotonic()))


def _broken_host(error: BaseException) -> Outcome:
    _log.error("the plugin host failed", error=repr(error))
    return Outcome(ok=False, error=CallError("host_failed", "the Runner failed while it made the call", ambiguous=True))
