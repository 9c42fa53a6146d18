"""The places of one sidecar: slots, the queue before them, and calls that nobody waits for any more."""

from aisops_runner.adapters.calls import Call
from aisops_runner.sidecars.admission import Admission, Place


def call(job_id: str = "j") -> Call:
    return Call(job_id, "t", "r", 1, "x.y", b"{}", job_id, 1.0)


def nobody(_outcomes: object) -> None:
    raise AssertionError("admission tells nobody")


def enter(admission: Admission, job_id: str = "j", until: float = 10.0) -> str:
    refusal = admission.enter(call(job_id), until, nobody)
    return "" if refusal is None else refusal.code


def begin(admission: Admission) -> list[Place]:
    places = admission.next_calls(100)
    for place in places:
        place.give_up = lambda: None
    return places


def test_slots_are_bounded_and_the_queue_is_too() -> None:
    admission = Admission("p", slots=1, queue_limit=1)
    assert [enter(admission), enter(admission), enter(admission)] == ["", "", "plugin_busy"]
    (first,) = begin(admission)
    assert (admission.in_flight, admission.waiting) == (1, 1)
    assert enter(admission) == "plugin_busy"
    refusal = admission.enter(call(), 1.0, nobody)
    assert refusal is not None
    assert (refusal.retryable, refusal.ambiguous) == (True, False)
    admission.leave(first)
    assert len(begin(admission)) == 1
    assert (admission.in_flight, admission.waiting) == (1, 0)


def test_no_more_go_at_once_than_asked_for() -> None:
    admission = Admission("p", slots=9, queue_limit=1)
    for number in range(5):
        enter(admission, str(number))
    assert [place.call.job_id for place in admission.next_calls(3)] == ["0", "1", "2"]
    assert [place.call.job_id for place in admission.next_calls(3)] == ["3", "4"]


def test_waiting_ends_with_the_calls_own_time() -> None:
    admission = Admission("p", slots=1, queue_limit=9)
    enter(admission, "a", until=9.0)
    begin(admission)
    enter(admission, "late", until=1.0)
    enter(admission, "b", until=5.0)
    assert admission.next_deadline() == 1.0
    assert [place.call.job_id for place in admission.turn_away(2.0)] == ["late"]
    assert (admission.next_deadline(), admission.waiting, admission.holds("late")) == (5.0, 1, False)
    assert [place.call.job_id for place in admission.turn_away()] == ["b"]
    assert (admission.next_deadline(), admission.waiting, admission.in_flight) == (None, 0, 1)


def test_a_cut_waiter_gives_its_place_up() -> None:
    admission = Admission("p", slots=1, queue_limit=1)
    enter(admission, "a")
    begin(admission)
    enter(admission, "b")
    assert [place.call.job_id for place in admission.cut("b")] == ["b"]
    assert enter(admission, "c") == ""
    admission.cut("a")
    assert [place.call.job_id for place in begin(admission)] == ["c"]
    assert admission.cut("nobody") == []


def test_it_knows_whose_calls_are_held() -> None:
    admission = Admission("p", slots=2, queue_limit=1)
    enter(admission, "one")
    enter(admission, "one")
    first, second = begin(admission)
    assert (admission.in_flight, admission.busy) == (2, True)
    assert (admission.holds("one"), admission.holds("two")) == (True, False)
    admission.leave(first)
    assert admission.holds("one")
    admission.leave(second)
    assert (admission.holds("one"), admission.busy) == (False, False)
