"""Worlds whose handling of jobs is broken on purpose, one design fault each."""

from __future__ import annotations

from dataclasses import replace

from aisops_core.dispatch import job as jobs
from aisops_core.dispatch.job import JobRecord
from aisops_protocol import messages as m
from aisops_runner.jobs import commands as c
from tests.unit.protocol.job_world import JobWorld
from tests.unit.protocol.mutants import AcksBeforeCommit, ForgetsTheWatermark, HasNoEpochs, MarksOnlyTheCurrentEpoch


class JobsAckedBeforeCommit(AcksBeforeCommit, JobWorld):
    """Core acknowledges what it has only received."""


class JobsWithoutEpochs(HasNoEpochs, JobWorld):
    """One watermark for the Runner, whatever its queue file went through."""


class JobsWithoutShares(MarksOnlyTheCurrentEpoch, JobWorld):
    """Core does not credit earlier epochs with the rows it got of them."""


class JobsWithoutWatermark(ForgetsTheWatermark, JobWorld):
    """Rows and watermark in two transactions."""


class HasNoJournal(JobWorld):
    """A restarted Runner remembers nothing of its jobs, and Core is not told that."""

    def boot(self) -> None:
        self.box.journal.clear()
        super().boot()


class RunsAgainWhateverItWas(JobWorld):
    """After a crash in the middle of a call the job is simply run again."""

    def take_up(self) -> None:
        for entry in self.box.journal.values():
            if entry.phase is m.JobPhase.STARTED:
                entry.phase = m.JobPhase.ACCEPTED
        super().take_up()


class CallsBeforeStored(JobWorld):
    """The call leaves before STARTED is on the disk."""

    def write(self, command: c.Command) -> bool:
        fresh = super().write(command)
        if isinstance(command, c.Accept | c.Start):
            name = command.job.job_id if isinstance(command, c.Accept) else command.job_id
            if self.box.journal[name].phase is m.JobPhase.STARTED:
                self.box.journal[name].phase = m.JobPhase.ACCEPTED
        return fresh


class BelievesACopiedJournal(JobWorld):
    """Jobs a journal calls untouched are run at once, and Core takes every journal for the newest."""

    def take_up(self) -> None:
        super().take_up()
        for job_id in list(self.box.journal):
            self.obey(self.machine.confirm(job_id, self.now))

    def is_current(self, job: JobRecord, lost_session: int) -> bool:
        return True


class HasNoLeases(JobWorld):
    """A result counts whoever sends it under whatever lease, and replaces the one before."""

    def ingest(self, body: m.RunnerBody | None) -> None:
        job = self.table.get(body.job_id) if isinstance(body, m.JobResult) else None
        if job is None or self.holds(job, body.lease_id):  # type: ignore[union-attr]
            super().ingest(body)
            return
        job.state = jobs.RESULT_STATES[body.status]  # type: ignore[union-attr]
        self.look(job)


class HasAKeyPerAttempt(JobWorld):
    """The provider is given another key with each attempt."""

    def effect_key(self, job: JobRecord) -> str:
        return f"{job.job_id}/{job.attempt}"


class CancelsUnderAnyLease(JobWorld):
    """A cancellation meant for an earlier lease of a job stops it under its newest one."""

    def cancel_arrived(self, cancel: m.JobCancel) -> None:
        live = self.machine._live.get(cancel.job_id)
        super().cancel_arrived(cancel if live is None else replace(cancel, lease_id=live.lease_id))


class NeverGivesOutAgain(JobWorld):
    """Fire and forget: what a return finds undelivered is left as it is."""

    def reconcile(self, hello: m.Hello, lost_session: int) -> tuple[m.JobVerdict, ...]:
        return ()


class StoresResultAndDoneApart(JobWorld):
    """DONE reaches the disk, the result row may not."""

    def write(self, command: c.Command) -> bool:
        if isinstance(command, c.Finish) and self.rng.random() < 0.3:
            self.box.journal[command.job_id].phase = m.JobPhase.DONE
            return True
        return super().write(command)


MUTANTS = (
    JobsAckedBeforeCommit,
    JobsWithoutEpochs,
    JobsWithoutShares,
    JobsWithoutWatermark,
    HasNoJournal,
    RunsAgainWhateverItWas,
    CallsBeforeStored,
    BelievesACopiedJournal,
    HasNoLeases,
    HasAKeyPerAttempt,
    CancelsUnderAnyLease,
    NeverGivesOutAgain,
    StoresResultAndDoneApart,
)
