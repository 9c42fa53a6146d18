"""The timers of jobs: one counts for each, in order, and dead ones do not pile up."""

from aisops_protocol.messages import EffectClass, Job
from aisops_runner.jobs import timers
from aisops_runner.jobs.stages import Execution, Stage
from aisops_runner.jobs.timers import Timers


def execution(name: str) -> Execution:
    job = Job(name, b"l" * 16, 1, "x.do", b"{}", b"", name, EffectClass.IDEMPOTENT, 1000)
    return Execution(job, job.lease_id, 1, Stage.RUNNING)


def test_the_newest_timer_of_a_job_counts() -> None:
    one, two = execution("one"), execution("two")
    held = Timers({"one": one, "two": two})
    held.set(one, 5.0)
    held.set(two, 3.0)
    held.set(one, 1.0)
    assert held.next() == 1.0
    assert [found.job.job_id for found in held.due(3.0)] == ["one", "two"]
    assert (held.next(), held.due(9.0)) == (None, [])


def test_a_job_that_is_gone_has_no_timer() -> None:
    live = {"one": execution("one")}
    held = Timers(live)
    held.set(live["one"], 1.0)
    del live["one"]
    assert held.next() is None


def test_dead_timers_do_not_pile_up() -> None:
    live: dict[str, Execution] = {}
    held = Timers(live)
    for number in range(10 * timers.SPARE):
        live.clear()
        live["j"] = execution("j")
        held.set(live["j"], 30.0 + number)
    assert len(held) <= timers.SPARE + 3
    assert held.next() == 30.0 + 10 * timers.SPARE - 1
