"""Runs the jobs: joins the execution machine with the disk (`storing`) and with the plugin host (`calls`).

One loop stores what the machine wants stored, as many commands as have gathered in one commit; calls begin and end in
groups, so that a job costs no task of its own. It holds no rule.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Container, Iterable, Sequence

import structlog

from aisops_protocol.messages import Job, JobCancel
from aisops_runner.adapters.calls import JobLog, Outcome
from aisops_runner.bell import Bell
from aisops_runner.clock import Clock
from aisops_runner.jobs.calls import Calls, Host
from aisops_runner.jobs.commands import Accept, Command, Finish, Invoke, Resend, Start, Stop, Stored, Warm
from aisops_runner.jobs.execution import Executions
from aisops_runner.jobs.stages import Holding, Intake, Stage
from aisops_runner.jobs.storing import Storing
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.queue import Pressure

RETAIN_EVERY_S = 60.0
STORE_S = 5.0
"""How long a stop waits for a disk that refuses what the jobs have left to store."""

_INTAKE = {
    Pressure.NORMAL: Intake.OPEN,
    Pressure.NO_NEW_JOBS: Intake.NO_NEW_JOBS,
    Pressure.NO_STARTS: Intake.NO_STARTS,
}

_log = structlog.get_logger("aisops_runner.jobs")


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
        self._offered = offered
        self._clock = clock
        self._machine = Executions(slots, draw, host.ready)
        self._storing = Storing(outbox, clock=clock, draw=draw)
        self._calls = Calls(
            host, tenant_id=tenant_id, runner_id=runner_id, on_ended=self._ended, on_warmed=self._warmed
        )
        self._wake = Bell()
        self._quiet = asyncio.Condition()

    # --- from Core ----------------------------------------------------------------------------------------------------

    def deliver(self, jobs: Iterable[Job]) -> None:
        """Jobs arrived; returns at once."""
        self._machine.intake = _INTAKE[self._outbox.pressure()]
        now = self._clock.monotonic()
        found: list[Command] = []
        for job in jobs:
            found += self._machine.received(job, self._offered, now)
        self._apply(found)

    def cancel(self, cancel: JobCancel) -> None:
        """Core wants a job stopped; returns at once."""
        self._apply(self._machine.cancel(cancel, self._clock.monotonic()))

    def confirm(self, job_id: str) -> None:
        """Core knows a held job as ours; returns at once."""
        self._apply(self._machine.confirm(job_id, self._clock.monotonic()))

    def resend(self, job_id: str, lease_id: bytes, attempt: int) -> None:
        """Core wants the kept result of a finished job again."""
        self._apply([Resend(job_id, lease_id, attempt)])

    async def resend_all(self) -> None:
        """Core went back to a backup, or the lane was damaged: send the results of the last day again.

        Raises:
            StorageFailed: The journal cannot be read or the outbox written.
        """
        await self._storing.resend_all()

    # --- from the sidecars --------------------------------------------------------------------------------------------

    def log(self, line: JobLog) -> None:
        """A log line, to be stored with the next commit; lines beyond a bound are counted, not kept."""
        if self._storing.log(line):
            self._wake.ring()

    # --- questions ----------------------------------------------------------------------------------------------------

    async def held_jobs(self) -> Holding:
        """What a Hello names, read from the journal.

        Raises:
            StorageFailed: The journal cannot be read.
        """
        return await self._storing.held_jobs()

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
            "log_lines_lost": self._storing.log_lines_lost,
        }

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what the journal holds; call once, before `run`.

        Raises:
            StorageFailed: The journal cannot be read, or results that a damaged file has lost cannot be stored again.
        """
        held = await self._storing.restore()
        self._apply(self._machine.restore(held, self._clock.monotonic()))

    async def run(self) -> None:
        """Store and start until cancelled."""
        retained_at, more = self._clock.monotonic(), False
        while True:
            now = self._clock.monotonic()
            self._machine.intake = _INTAKE[self._outbox.pressure()]
            self._apply(self._machine.tick(now))
            if now - retained_at >= RETAIN_EVERY_S:  # first, or a Runner that is never idle would keep everything
                more = await self._storing.retain(int(now - retained_at))
                retained_at = now
            elif more:
                more = await self._storing.forget()
            if self._storing.waiting:
                await self._store()
            elif not more:
                await self._rest(retained_at + RETAIN_EVERY_S)

    async def settle(self) -> None:
        """Wait until everything received so far is on the disk, for as long as the disk refuses it."""
        async with self._quiet:
            await self._quiet.wait_for(lambda: self._storing.settled)

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
                await self._quiet.wait_for(lambda: not self._machine.busy and not self._storing.committing)
        except TimeoutError:
            _log.warning("jobs are cut off", jobs=len(self._machine.unfinished()))
        left = self._machine.unfinished()
        self._apply(self._machine.shut())
        await self._calls.finish()
        try:
            async with asyncio.timeout(STORE_S):
                await self.settle()
        except TimeoutError:
            self._storing.say_unstored()
        return left

    async def _rest(self, until: float) -> None:
        deadline = self._machine.next_deadline()
        limit = until if deadline is None else min(deadline, until)
        self._wake.silence()
        await self._wake.wait(limit - self._clock.monotonic())

    async def _store(self) -> None:
        commands, done_before = await self._storing.commit()
        self._report(commands, done_before)
        async with self._quiet:
            self._quiet.notify_all()

    def _report(self, commands: Iterable[Stored], done_before: Collection[str]) -> None:
        now = self._clock.monotonic()
        found: list[Command] = []
        for command in commands:
            if isinstance(command, Accept):
                job_id = command.job.job_id
                found += self._machine.stored(job_id, now, fresh=job_id not in done_before)
            elif isinstance(command, Start):
                found += self._machine.stored(command.job_id, now)
            elif isinstance(command, Finish):
                found += self._machine.finished(command.job_id, now)
        self._apply(found)

    # --- commands -----------------------------------------------------------------------------------------------------

    def _apply(self, commands: Iterable[Command]) -> None:
        """Carry commands out: what is to be stored wakes the loop, and so does, in its time, what waits for time."""
        invoked: list[Invoke] = []
        for command in commands:
            if isinstance(command, Invoke):
                invoked.append(command)
            elif isinstance(command, Warm):
                self._calls.warm(command)
            elif isinstance(command, Stop):
                self._calls.stop(command)
            else:
                self._storing.add(command)
        if invoked:
            self._calls.invoke(invoked)
        if self._storing.waiting:
            self._wake.ring()
        elif (deadline := self._machine.next_deadline()) is not None:
            self._wake.ring_within(deadline - self._clock.monotonic())

    def _warmed(self, job_id: str) -> None:
        self._apply(self._machine.warmed(job_id))

    def _ended(self, outcomes: Sequence[tuple[str, Outcome | None]]) -> None:
        now = self._clock.monotonic()
        found: list[Command] = []
        for job_id, outcome in outcomes:
            found += self._machine.ended(job_id, outcome, now)
        self._apply(found)
