"""The limits of time that one job has, and of how many are held, told as a dialogue with the machine."""

from __future__ import annotations

from aisops_protocol.limits import HELD_JOBS, LEASES
from aisops_protocol.messages import JobCancel, RejectReason, ResultStatus
from aisops_runner.jobs.commands import Invoke, Reject, Stop
from aisops_runner.jobs.execution import Executions
from tests.unit.runner.jobs.test_execution import OFFERED, OK, job, only_finish, running


def test_a_job_that_started_in_time_is_not_cut_off_by_the_limit_for_its_start():
    made = running()
    made.received(job("j2", start_by_ms=500), OFFERED, 0.0)
    made.stored("j2", 0.0)
    made.ended("j1", OK, 0.2)
    made.finished("j1", 0.2)
    assert isinstance(made.stored("j2", 0.2)[0], Invoke)

    assert made.tick(0.5) == []
    assert made.tick(10.2) == [Stop("j2", kill=True)]


def test_the_grace_of_a_cancel_does_not_outlast_the_jobs_timeout():
    made = running()
    made.cancel(JobCancel("j1", b"a" * 16, grace_ms=60_000), 9.0)

    assert made.tick(10.0) == [Stop("j1", kill=True)]
    assert only_finish(made.ended("j1", None, 10.0)).ended.status is ResultStatus.CANCELLED


def test_no_more_jobs_are_held_than_a_hello_names_and_a_heartbeat_renews():
    made = Executions(slots=8192, draw=lambda: 0.5)
    for number in range(HELD_JOBS):
        made.received(job(f"j{number}"), OFFERED, 0.0)

    assert len(made.unfinished()) == HELD_JOBS
    (refused,) = made.received(job("one-more"), OFFERED, 0.0)
    assert isinstance(refused, Reject)
    assert refused.reason is RejectReason.BUSY
    made.cancel(JobCancel("j7", b"a" * 16), 0.0)
    made.received(job("j7", lease=b"n" * 16), OFFERED, 0.0)
    assert len(made.leases()) == LEASES
    assert made.leases()[0] == b"n" * 16, "what begins anew is not left out"
