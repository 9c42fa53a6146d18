"""The limits of time that one job has, told as a dialogue with the machine."""

from __future__ import annotations

from aisops_protocol.messages import JobCancel, ResultStatus
from aisops_runner.jobs.commands import Invoke, Stop
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
