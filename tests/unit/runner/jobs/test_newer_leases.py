"""A cancellation counts for one lease: the job under a newer one begins anew when the old one has ended."""

from __future__ import annotations

import pytest

from aisops_protocol.messages import CancelPhase, JobCancel, ResultStatus
from aisops_runner.jobs.commands import Accept, Invoke, SayCancel, Start, Stop
from tests.unit.runner.jobs.test_execution import OFFERED, OK, job, machine, only_finish, running

OLD, NEW = b"a" * 16, b"b" * 16
AGAIN = job(lease=NEW, attempt=2)


def test_a_job_cancelled_while_it_waited_begins_anew_under_its_newer_lease() -> None:
    made = running()
    made.received(job("j2"), OFFERED, 0.0)
    made.stored("j2", 0.0)
    finish = only_finish(made.cancel(JobCancel("j2", OLD), 1.0))
    assert (finish.lease_id, finish.ended.status) == (OLD, ResultStatus.CANCELLED)
    assert made.received(job("j2", lease=NEW, attempt=2), OFFERED, 1.0) == []
    assert NEW in made.leases()
    assert isinstance(made.finished("j2", 1.1)[0], Accept)
    assert made.leases().count(NEW) == 1


def test_a_job_cancelled_before_it_was_stored_begins_anew_too() -> None:
    made = machine()
    made.received(job(), OFFERED, 0.0)
    made.cancel(JobCancel("j1", OLD), 0.0)
    assert made.received(AGAIN, OFFERED, 0.0) == []
    assert only_finish(made.stored("j1", 0.1)).lease_id == OLD
    [accept] = made.finished("j1", 0.2)
    assert isinstance(accept, Accept)
    assert accept.job == AGAIN
    assert isinstance(made.stored("j1", 0.3)[0], Invoke if accept.started else Start)


def test_a_running_call_is_stopped_and_what_came_of_it_is_told_under_its_own_lease() -> None:
    made = running()
    assert made.cancel(JobCancel("j1", OLD, grace_ms=60_000), 1.0)[-1] == Stop("j1", kill=False)
    assert made.received(AGAIN, OFFERED, 1.0) == []
    finish = only_finish(made.ended("j1", OK, 2.0))
    assert (finish.lease_id, finish.ended.status) == (OLD, ResultStatus.SUCCEEDED)
    assert [command.job for command in made.finished("j1", 2.0) if isinstance(command, Accept)] == [AGAIN]
    assert made.stored("j1", 2.1, fresh=False) == [], "the journal knows it as done: its result goes, nothing runs"


def test_a_job_that_began_anew_can_be_cancelled_before_it_begins() -> None:
    made = running()
    made.cancel(JobCancel("j1", OLD, grace_ms=60_000), 1.0)
    made.received(AGAIN, OFFERED, 1.0)
    assert made.cancel(JobCancel("j1", NEW), 1.5) == [SayCancel("j1", NEW, CancelPhase.REMEMBERED)]
    made.ended("j1", None, 2.0)
    assert isinstance(made.finished("j1", 2.0)[0], Accept)
    finish = only_finish(made.stored("j1", 2.1))
    assert (finish.lease_id, finish.ended.status) == (NEW, ResultStatus.CANCELLED)


@pytest.mark.parametrize("times", [1, 2])
def test_a_newer_lease_that_comes_twice_is_one(times: int) -> None:
    made = running()
    made.cancel(JobCancel("j1", OLD, grace_ms=60_000), 1.0)
    for _ in range(times):
        assert made.received(AGAIN, OFFERED, 1.0) == []
    made.ended("j1", None, 2.0)
    assert len([command for command in made.finished("j1", 2.0) if isinstance(command, Accept)]) == 1
