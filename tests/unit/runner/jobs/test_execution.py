"""The life of one job, told as a dialogue with the machine."""

from __future__ import annotations

import pytest

from aisops_protocol.messages import (
    CancelMode,
    CancelPhase,
    EffectClass,
    Job,
    JobCancel,
    JobPhase,
    RejectReason,
    ResultStatus,
)
from aisops_runner.adapters.calls import CallError, Outcome
from aisops_runner.jobs.commands import (
    Accept,
    Adopt,
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
from aisops_runner.jobs.execution import Executions
from aisops_runner.jobs.stages import Held, Intake, Stage

OFFERED = frozenset({"x.do"})
OK = Outcome(ok=True, output=b"{}")


def job(job_id: str = "j1", lease: bytes = b"a" * 16, effect=EffectClass.AT_MOST_ONCE, **fields) -> Job:
    given = {"timeout_ms": 10_000, "input_sha256": b"", "attempt": 1, **fields}
    return Job(
        job_id=job_id, lease_id=lease, capability="x.do", input=b"{}", effect_key=job_id, effect_class=effect, **given
    )


def machine(slots: int = 1) -> Executions:
    return Executions(slots, draw=lambda: 0.5)


def failed(**fields) -> Outcome:
    return Outcome(ok=False, error=CallError("busy", "later", **fields))


def running(slots: int = 1, **fields) -> Executions:
    made = machine(slots)
    made.received(job(**fields), OFFERED, 0.0)
    assert isinstance(made.stored("j1", 0.0)[0], Invoke)
    return made


def only_finish(commands) -> Finish:
    (finish,) = [one for one in commands if isinstance(one, Finish)]
    return finish


def test_a_job_with_a_free_slot_is_accepted_and_started_with_one_wait_for_the_disk():
    made, one = machine(), job()

    assert made.received(one, OFFERED, 0.0) == [Accept(one, started=True)]
    assert made.stored("j1", 0.1) == [Invoke(one, 1, 10.0)]
    assert only_finish(made.ended("j1", OK, 2.1)).ended.status is ResultStatus.SUCCEEDED
    assert made.finished("j1", 2.2) == []
    assert made.unfinished() == ()


def cold_machine(effect=EffectClass.AT_MOST_ONCE) -> Executions:
    made = Executions(1, draw=lambda: 0.5, ready=lambda _: False)
    made.received(job(effect=effect), OFFERED, 0.0)
    return made


def test_an_at_most_once_job_is_stored_as_started_only_when_its_call_can_leave_at_once():
    made = Executions(1, draw=lambda: 0.5, ready=lambda _: False)

    assert made.received(job(), OFFERED, 0.0) == [Accept(job(), started=False)]
    assert made.stored("j1", 0.0) == [Warm("j1", "x.do")]
    assert made.warmed("j1") == [Start("j1", 0)]
    assert made.stored("j1", 1.0) == [Invoke(job(), 1, 10.0)]


def test_an_idempotent_job_need_not_be_warmed_first():
    one = job(effect=EffectClass.IDEMPOTENT)

    assert Executions(1, lambda: 0.5, lambda _: False).received(one, OFFERED, 0.0) == [Accept(one, started=True)]


def test_a_job_that_is_warming_holds_its_slot():
    made = cold_machine()
    made.stored("j1", 0.0)
    made.received(job("j2"), OFFERED, 0.0)

    assert made.stored("j2", 0.0) == []


def test_a_job_cancelled_while_warming_ends_at_once_and_gives_its_slot_back():
    made = cold_machine()
    made.stored("j1", 0.0)
    made.received(job("j2"), OFFERED, 0.0)
    made.stored("j2", 0.0)

    commands = made.cancel(JobCancel("j1", b"a" * 16), 1.0)

    assert only_finish(commands).ended.status is ResultStatus.CANCELLED
    assert Warm("j2", "x.do") in commands
    assert made.warmed("j1") == []


def test_a_job_that_is_warming_when_the_runner_stops_stays_accepted():
    made = cold_machine()
    made.stored("j1", 0.0)
    made.shut()

    assert made.warmed("j1") == []
    assert made.unfinished() == ()


def test_a_job_whose_start_comes_too_late_ends_while_it_warms():
    made = Executions(1, draw=lambda: 0.5, ready=lambda _: False)
    made.received(job(start_by_ms=1000), OFFERED, 0.0)
    made.stored("j1", 0.0)

    assert only_finish(made.tick(1.5)).ended.status is ResultStatus.TIMED_OUT


def test_a_job_without_a_free_slot_waits_and_is_stored_as_started_before_its_call():
    made = running()
    second = job("j2")

    assert made.received(second, OFFERED, 0.0) == [Accept(second, started=False)]
    assert made.stored("j2", 0.0) == []
    assert made.ended("j1", OK, 1.0)[1:] == [Start("j2", 0)]
    assert made.stored("j2", 1.0) == [Invoke(second, 1, 10.0)]


def test_the_higher_priority_starts_first():
    made = running()
    for name, priority in (("low", -1), ("high", 5)):
        made.received(job(name, priority=priority), OFFERED, 0.0)
        made.stored(name, 0.0)

    assert Start("high", 0) in made.ended("j1", OK, 1.0)


def test_a_repeated_delivery_adopts_the_newest_lease_and_the_result_goes_under_it():
    made = running()

    assert made.received(job(lease=b"b" * 16, attempt=2), OFFERED, 1.0) == [Adopt("j1", b"b" * 16, 2)]
    finish = only_finish(made.ended("j1", OK, 2.0))
    assert (finish.lease_id, finish.attempt) == (b"b" * 16, 2)


def test_a_delivery_while_the_result_is_stored_sends_the_result_again():
    made = running()
    made.ended("j1", OK, 1.0)

    assert made.received(job(lease=b"b" * 16, attempt=2), OFFERED, 1.0) == [Resend("j1", b"b" * 16, 2)]


def test_a_job_the_journal_knows_as_done_is_not_run():
    made = machine()
    made.received(job(), OFFERED, 0.0)

    assert made.stored("j1", 0.0, fresh=False) == []
    assert made.unfinished() == ()
    assert made.free_slots == 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda made, one: made.drain(), RejectReason.DRAINING),
        (lambda made, one: setattr(made, "intake", Intake.NO_NEW_JOBS), RejectReason.STORAGE),
    ],
)
def test_a_job_that_cannot_be_taken_is_rejected_with_the_reason(spoil, reason):
    made, one = machine(), job()
    spoil(made, one)

    (reject,) = made.received(one, OFFERED, 0.0)
    assert (type(reject), reject.reason) == (Reject, reason)


def test_an_unknown_capability_and_a_changed_input_are_rejected():
    (unknown,) = machine().received(job(), frozenset(), 0.0)
    (changed,) = machine().received(job(input_sha256=b"0" * 32), OFFERED, 0.0)

    assert unknown.reason is RejectReason.UNKNOWN_CAPABILITY
    assert changed.reason is RejectReason.SCHEMA


def test_beyond_the_queue_a_job_is_rejected_as_busy():
    made = machine()
    answers = [made.received(job(f"j{n}"), OFFERED, 0.0)[0] for n in range(60)]

    rejected = [one for one in answers if isinstance(one, Reject)]
    assert {one.reason for one in rejected} == {RejectReason.BUSY}
    assert len(answers) - len(rejected) == 2 * 1 + 32


def test_a_retryable_failure_steps_back_in_the_journal_and_is_called_again():
    made = running(effect=EffectClass.AT_MOST_ONCE)

    assert made.ended("j1", failed(retryable=True, retry_after_s=2.0), 1.0) == [StepBack("j1", 1)]
    assert made.next_deadline() == 3.0
    assert made.tick(3.0) == [Start("j1", 1)]
    assert made.stored("j1", 3.0) == [Invoke(job(), 1, 7.0)]


def test_time_is_counted_from_the_first_call_and_a_late_call_is_cut_off():
    made = running()

    assert made.next_deadline() == 10.0
    assert made.tick(10.0) == [Stop("j1", kill=True)]
    finish = only_finish(made.ended("j1", None, 10.0))
    assert finish.ended.status is ResultStatus.UNCERTAIN
    assert finish.ended.error.code == "timeout"


def test_a_job_that_must_start_soon_does_not_start_late():
    made = running()
    made.received(job("j2", start_by_ms=500), OFFERED, 0.0)
    made.stored("j2", 0.0)

    finish = only_finish(made.tick(0.5))
    assert (finish.job_id, finish.ended.status, finish.calls) == ("j2", ResultStatus.TIMED_OUT, 0)


def test_a_cancel_before_the_job_is_remembered_and_the_job_never_called():
    made = machine()

    assert made.cancel(JobCancel("j1", b"a" * 16), 0.0) == [SayCancel("j1", b"a" * 16, CancelPhase.REMEMBERED)]
    assert made.received(job(), OFFERED, 599.0) == [Accept(job(), started=False)]
    finish = only_finish(made.stored("j1", 599.0))
    assert (finish.ended.status, finish.calls) == (ResultStatus.CANCELLED, 0)


def test_a_cancel_is_forgotten_after_ten_minutes():
    made = machine()
    made.cancel(JobCancel("j1", b"a" * 16), 0.0)

    assert made.received(job(), OFFERED, 600.0) == [Accept(job(), started=True)]


def test_a_waiting_job_is_cancelled_without_a_call():
    made = running()
    made.received(job("j2"), OFFERED, 0.0)
    made.stored("j2", 0.0)
    commands = made.cancel(JobCancel("j2", b"a" * 16), 1.0)

    assert only_finish(commands).ended.status is ResultStatus.CANCELLED
    assert commands[-1].phase is CancelPhase.STOPPED


def test_a_cancel_while_the_job_is_being_stored_wins_before_the_call():
    made = machine()
    made.received(job(), OFFERED, 0.0)
    made.cancel(JobCancel("j1", b"a" * 16), 0.0)

    finish = only_finish(made.stored("j1", 0.0))
    assert (finish.ended.status, finish.calls) == (ResultStatus.CANCELLED, 0)


def test_a_running_call_is_asked_to_stop_and_cut_off_after_the_grace():
    made = running()

    said, stop = made.cancel(JobCancel("j1", b"a" * 16, grace_ms=3000), 1.0)
    assert (said.phase, stop) == (CancelPhase.REQUESTED, Stop("j1", kill=False))
    assert made.tick(4.0) == [Stop("j1", kill=True)]
    commands = made.ended("j1", None, 4.0)
    assert only_finish(commands).ended.status is ResultStatus.CANCELLED
    assert only_finish(commands).ended.error.ambiguous
    assert commands[-1] == SayCancel("j1", b"a" * 16, CancelPhase.STOPPED)


def test_a_kill_without_grace_cuts_off_at_once():
    made = running()

    assert made.cancel(JobCancel("j1", b"a" * 16, CancelMode.KILL, 0), 1.0)[1] == Stop("j1", kill=True)


def test_a_finished_job_wins_over_its_cancel():
    made = running()
    made.cancel(JobCancel("j1", b"a" * 16), 1.0)
    commands = made.ended("j1", OK, 1.1)

    assert only_finish(commands).ended.status is ResultStatus.SUCCEEDED
    assert commands[-1].phase is CancelPhase.TOO_LATE
    assert made.cancel(JobCancel("j1", b"a" * 16), 1.2)[0].phase is CancelPhase.TOO_LATE


def test_after_a_crash_each_job_goes_on_as_its_phase_and_effect_allow():
    made = machine(slots=8)
    held = [
        Held(job("accepted", effect=EffectClass.IDEMPOTENT), JobPhase.ACCEPTED),
        Held(job("repeatable", effect=EffectClass.IDEMPOTENT), JobPhase.STARTED, calls=1),
        Held(job("unknown"), JobPhase.STARTED, calls=1),
    ]
    commands = made.restore(held, 0.0)

    finish = only_finish(commands)
    assert (finish.job_id, finish.ended.status) == ("unknown", ResultStatus.UNCERTAIN)
    assert finish.ended.error.code == "interrupted"
    assert {one.job_id for one in commands if isinstance(one, Start)} == {"accepted", "repeatable"}


def test_a_cancellation_of_an_earlier_lease_is_not_one_of_the_job_under_its_newest():
    made = running()
    made.received(job(lease=b"b" * 16), OFFERED, 1.0)

    assert made.cancel(JobCancel("j1", b"a" * 16), 1.1) == []
    assert only_finish(made.ended("j1", OK, 1.2)).ended.status is ResultStatus.SUCCEEDED


def test_a_cancellation_that_overtakes_nothing_does_not_meet_the_job_under_a_later_lease():
    made = machine()
    made.cancel(JobCancel("j1", b"a" * 16), 0.0)
    one = job(lease=b"b" * 16)

    assert made.received(one, OFFERED, 1.0) == [Accept(one, started=True)]
    assert isinstance(made.stored("j1", 1.0)[0], Invoke)


def test_a_job_of_an_old_journal_that_must_not_run_twice_waits_for_cores_word():
    made = machine(slots=8)

    assert made.restore([Held(job(), JobPhase.ACCEPTED)], 0.0) == []
    assert (made.unfinished(), made.busy) == (("j1",), False)
    assert made.confirm("j1", 1.0) == [Start("j1", 0)]
    assert made.busy
    assert made.confirm("j1", 1.0) == made.confirm("unheard of", 1.0) == []


def test_a_job_of_an_old_journal_that_core_delivers_again_is_confirmed():
    made = machine(slots=8)
    made.restore([Held(job(), JobPhase.ACCEPTED)], 0.0)

    assert made.received(job(lease=b"b" * 16), OFFERED, 1.0) == [Adopt("j1", b"b" * 16, 1), Start("j1", 0)]


def test_a_job_of_an_old_journal_that_another_machine_has_done_is_not_called():
    made = machine(slots=8)
    made.restore([Held(job(), JobPhase.ACCEPTED)], 0.0)
    commands = made.cancel(JobCancel("j1", b"a" * 16), 1.0)

    assert only_finish(commands).ended.status is ResultStatus.CANCELLED
    assert made.confirm("j1", 1.0) == []


def test_no_start_while_the_disk_is_nearly_full():
    made = machine()
    made.intake = Intake.NO_STARTS

    assert made.restore([Held(job(effect=EffectClass.IDEMPOTENT), JobPhase.ACCEPTED)], 0.0) == []
    made.intake = Intake.OPEN
    assert made.tick(1.0) == [Start("j1", 0)]


def test_a_stop_cuts_off_what_runs_and_keeps_what_may_run_again():
    made = machine(slots=3)
    for name, effect in (("once", EffectClass.AT_MOST_ONCE), ("again", EffectClass.IDEMPOTENT)):
        made.received(job(name, effect=effect), OFFERED, 0.0)
        made.stored(name, 0.0)
    made.received(job("late"), OFFERED, 0.0)

    assert set(made.shut()) == {Stop("once", kill=True), Stop("again", kill=True)}
    assert only_finish(made.ended("once", None, 1.0)).ended.status is ResultStatus.UNCERTAIN
    assert made.ended("again", None, 1.0) == []
    assert made.stored("late", 1.0) == [StepBack("late", 0)]


def test_leases_are_those_of_every_held_job():
    made = running(slots=2)
    made.received(job("j2", lease=b"b" * 16), OFFERED, 0.0)

    assert made.leases() == (b"a" * 16, b"b" * 16)
    assert made.free_slots == 0
    assert made.count(Stage.RUNNING) == 1
