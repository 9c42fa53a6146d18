"""What is known in memory of live sessions, routes and waiters."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch.admission import JobIds
from aisops_core.dispatch.events import describe
from aisops_core.dispatch.matching import Demand
from aisops_core.dispatch.offering import Offered, Offers
from aisops_core.dispatch.records import SessionRef
from aisops_core.dispatch.sessions import LiveSession, Sessions
from aisops_core.dispatch.switchboard import Routes, Switchboard
from aisops_protocol.messages import Capability, CredentialReply, EffectClass, Heartbeat, JobAccept
from tests.support.raw_runner import build_hello
from tests.unit.core.dispatch.test_job import a_job

SLACK = "slack.send"


class Silent:
    """An outlet nobody listens to."""

    behind = False
    peer = ""

    def send(self, *bodies: Any) -> None: ...

    def close(self, code: str, message: str) -> None: ...


def a_session(epoch: int = 1, slots: int = 4, runner_id: str = "r", offers: tuple[str, ...] = (SLACK,)) -> LiveSession:
    ref = SessionRef("t", runner_id, bytes([epoch]) * 16, epoch)
    offered = Offered(dict.fromkeys(offers, EffectClass.IDEMPOTENT))
    return LiveSession(ref, Silent(), b"i", b"j", offered, {}, slots, heard=0.0)


@given(st.lists(st.tuples(st.sampled_from(["give", "free", "stray", "beat"]), st.integers(0, 9)), max_size=40))
def test_free_slots_stay_within_bounds(steps: list[tuple[str, int]]) -> None:
    session = a_session()
    for step, n in steps:
        lease = bytes([n]) * 16
        if step == "give" and session.free_slots:
            session.give(lease, f"job_{n}", 0.0)
        elif step == "free":
            session.freed([lease])
        elif step == "stray":
            session.freed([b"stray"])
        elif step == "beat":
            session.beat(Heartbeat(0, free_slots=min(n, session.slots)))
        assert 0 <= session.free_slots <= session.slots
        assert session.free_slots <= session.slots - len(session.leases)


def test_a_heartbeat_that_overtakes_results_takes_no_slot_away() -> None:
    session = a_session()
    session.give(b"a", "job_a", 0.0)
    session.beat(Heartbeat(0, free_slots=4))
    assert session.free_slots == 3
    session.beat(Heartbeat(0, free_slots=1))
    assert session.free_slots == 1
    session.freed([b"unknown"])
    assert session.free_slots == 2


def test_each_lease_is_overdue_once() -> None:
    session = a_session()
    session.give(b"a", "job_a", 0.0)
    session.give(b"b", "job_b", 5.0)
    assert session.next_overdue(10) == 10.0
    assert session.overdue(9.9, 10) == []
    assert session.overdue(10.0, 10) == [b"a"]
    assert session.next_overdue(10) == 15.0
    session.accepted([b"b"])
    assert session.next_overdue(10) is None
    assert session.overdue(60.0, 10) == []


def test_only_the_newest_session_of_a_runner_is_found() -> None:
    sessions, old, new = Sessions(), a_session(1), a_session(2)
    assert sessions.install(old) is None
    assert sessions.install(new) is old
    assert sessions.find(old.ref) is None
    assert sessions.remove(old.ref) is None
    assert sessions.find(new.ref) is new is sessions.of("t", "r")
    assert sessions.remove(new.ref) is new
    assert len(sessions) == 0


def test_a_route_is_not_dropped_when_a_job_came_meanwhile() -> None:
    routes, demand = Routes(), Demand("slack.send")
    routes.add("t", demand)
    mark = routes.mark()
    routes.add("t", demand)
    routes.drop([("t", demand.route)], mark)
    assert demand.route in dict(routes.all())["t"]
    routes.drop([("t", demand.route)], routes.mark())
    assert not routes.all()


def test_a_market_needs_a_route_and_a_session_that_fit() -> None:
    async def scene() -> None:
        board = Switchboard()
        board.sessions.install(a_session())
        assert board.markets() == []
        board.queued([a_job(capability="other.send", labels_json="{}", route=Demand("other.send").route)])
        assert board.markets() == []
        board.queued([a_job(labels_json="{}", route=Demand("slack.send").route)])
        (market,) = board.markets()
        assert list(market.routes) == [Demand("slack.send").route]
        assert board.next_due_unix_ms == 90_000
        full = board.sessions.of("t", "r")
        assert full is not None
        full.slots = 0
        assert board.markets() == []

    import asyncio

    asyncio.run(scene())


def test_a_claim_looks_at_few_sessions_and_at_those_first_that_had_nothing_for_longest() -> None:
    sessions, demand = Sessions(), Demand("slack.send")
    for number in range(10):
        sessions.install(a_session(runner_id=f"r{number}"))
    first = sessions.with_room("t", demand, 3)
    assert [session.ref.runner_id for session in first] == ["r0", "r1", "r2"]
    for session in first:
        session.give(session.ref.runner_id.encode(), "job", 0.0)
        sessions.gave(session)
    assert [session.ref.runner_id for session in sessions.with_room("t", demand, 3)] == ["r3", "r4", "r5"]
    assert [session.ref.runner_id for session in sessions.awaiting()] == ["r0", "r1", "r2"]
    first[0].accepted([b"r0"])
    assert [session.ref.runner_id for session in sessions.awaiting()] == ["r1", "r2"]
    (pinned,) = sessions.with_room("t", Demand("slack.send", (), "r9"), 3)
    assert pinned.ref.runner_id == "r9"
    assert sessions.with_room("t", Demand("slack.send", (), "r10"), 3) == []
    assert sessions.with_room("elsewhere", demand, 3) == []


def test_what_a_session_no_longer_offers_it_is_not_asked_for() -> None:
    sessions, one, other = Sessions(), a_session(runner_id="one"), a_session(runner_id="other")
    sessions.install(one)
    sessions.install(other)
    sessions.withdraw(one, "slack.send")
    assert sessions.with_room("t", Demand("slack.send"), 9) == [other]
    sessions.remove(other.ref)
    assert sessions.with_room("t", Demand("slack.send"), 9) == []
    sessions.remove(one.ref)
    assert len(sessions) == 0


def test_only_room_that_was_not_there_before_is_news() -> None:
    session = a_session(slots=2)
    assert not session.beat(Heartbeat(0, free_slots=2))
    assert not session.beat(Heartbeat(0, free_slots=0))
    assert session.beat(Heartbeat(0, free_slots=1))
    assert not session.beat(Heartbeat(0, free_slots=2, draining=True))
    assert session.beat(Heartbeat(0, free_slots=2))


def test_job_ids_sort_by_time_even_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    class Clock:
        ms = 1_800_000_000_000

        def unix_ms(self) -> int:
            return self.ms

        def monotonic(self) -> float:
            return 0.0

    clock = Clock()
    ids = JobIds(clock, lambda n: b"\xff" * n)
    minted = [ids.mint() for _ in range(5)]
    clock.ms -= 1_000
    minted.append(ids.mint())
    clock.ms += 5_000
    minted.append(ids.mint())
    assert minted == sorted(set(minted))
    assert {len(job_id) for job_id in minted} == {30}


def test_events_of_a_runner() -> None:
    assert describe(JobAccept("j", b"", 1), 5) is None
    described = describe(CredentialReply("o", accepted=True), 5)
    assert described == (5, "credential_reply", '{"offer_id":"o","accepted":true,"message":""}')


def test_runners_that_offer_the_same_share_one_set() -> None:
    offers = Offers()
    hello = build_hello(Capability("slack.send", "slack", "1.0", EffectClass.IDEMPOTENT))
    other = build_hello(Capability("email.send", "email", "1.0"))
    kept = offers.of(hello)
    assert offers.of(hello) is kept
    assert offers.of(other) == {"email.send": EffectClass.AT_MOST_ONCE}
    assert kept.without("slack.send") == {}
    assert kept == {"slack.send": EffectClass.IDEMPOTENT}


def test_work_goes_round_among_runners_that_offer_different_things_besides() -> None:
    sessions = Sessions()
    kinds = [(SLACK,), (SLACK,), (SLACK, "email.send"), (SLACK, "teams.send"), ("email.send",)]
    for n, offers in enumerate(kinds):
        sessions.install(a_session(slots=100, runner_id=f"r{n}", offers=offers))
    given_to = []
    for _ in range(12):
        [session] = sessions.with_room("t", Demand(SLACK), 1)
        sessions.gave(session)
        given_to.append(session.ref.runner_id)
    assert given_to == ["r0", "r1", "r2", "r3"] * 3
    withdrawing = sessions.of("t", "r2")
    assert withdrawing is not None
    sessions.withdraw(withdrawing, SLACK)
    assert [s.ref.runner_id for s in sessions.with_room("t", Demand(SLACK), 9)] == ["r0", "r1", "r3"]
    assert len(sessions.with_room("t", Demand("email.send"), 9)) == 2
