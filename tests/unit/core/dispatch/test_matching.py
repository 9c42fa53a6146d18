"""Matching: one rule, used to refuse, to explain and to assign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch.matching import Demand, Offer, Refusal, assign, demand_of, explain, refusal

CAPS = st.sampled_from(["a.x", "b.y", "c.z"])
LABEL = st.dictionaries(st.sampled_from(["site", "gpu"]), st.sampled_from(["1", "2"]))
DEMANDS = st.builds(
    lambda c, labels, pin: Demand(c, tuple(sorted(labels.items())), pin),
    CAPS,
    LABEL,
    st.sampled_from([None, None, "r0", "r1"]),
)
OFFERS = st.lists(st.tuples(st.sets(CAPS), LABEL, st.integers(-1, 4), st.booleans()), max_size=5).map(
    lambda rows: [Offer(f"r{n}", caps, labels, free, drain) for n, (caps, labels, free, drain) in enumerate(rows)]
)


@pytest.mark.parametrize(
    ("demand", "offer", "reason"),
    [
        (Demand("a.x"), Offer("r", {"a.x"}, {}, 1), None),
        (Demand("a.x", (), "q"), Offer("r", {"a.x"}, {}, 1), Refusal.PINNED_ELSEWHERE),
        (Demand("a.x", (), "r"), Offer("r", {"a.x"}, {}, 1), None),
        (Demand("a.x"), Offer("r", {"b.y"}, {}, 1), Refusal.NO_CAPABILITY),
        (Demand("a.x", (("k", "v"),)), Offer("r", {"a.x"}, {"k": "w"}, 1), Refusal.LABELS_DIFFER),
        (Demand("a.x", (("k", "v"),)), Offer("r", {"a.x"}, {"k": "v", "l": "m"}, 1), None),
        (Demand("a.x"), Offer("r", {"a.x"}, {}, 1, draining=True), Refusal.DRAINING),
        (Demand("a.x"), Offer("r", {"a.x"}, {}, 0), Refusal.NO_FREE_SLOT),
    ],
)
def test_each_reason_not_to_give_a_job(demand: Demand, offer: Offer, reason: Refusal | None) -> None:
    assert refusal(demand, offer) is reason
    (finding,) = explain(demand, [offer])
    assert (finding.runner_id, finding.refusal) == ("r", reason)
    if reason in {Refusal.PINNED_ELSEWHERE, Refusal.NO_CAPABILITY, Refusal.LABELS_DIFFER}:
        assert finding.detail


@given(st.lists(DEMANDS, max_size=20), OFFERS)
def test_assignment_is_lawful_and_leaves_nothing_undone(demands: list[Demand], offers: list[Offer]) -> None:
    pairs = assign(list(enumerate(demands)), offers)
    by_id = {offer.runner_id: offer for offer in offers}
    assert len({job for job, _ in pairs}) == len(pairs), "no job twice"
    given_to = [runner for _, runner in pairs]
    for job, runner in pairs:
        assert refusal(demands[job], by_id[runner]) is None
    for offer in offers:
        assert given_to.count(offer.runner_id) <= max(0, offer.free_slots)
    left = {runner: offer.free_slots - given_to.count(runner) for runner, offer in by_id.items()}
    for job in set(range(len(demands))) - {job for job, _ in pairs}:
        for offer in offers:
            fits = refusal(demands[job], offer) is None
            assert not (fits and left[offer.runner_id] > 0), "a job waits while a matching Runner has room"


def test_the_runner_with_most_room_is_chosen() -> None:
    offers = [Offer("small", {"a"}, {}, 1), Offer("large", {"a"}, {}, 3)]
    pairs = assign([(n, Demand("a")) for n in range(4)], offers)
    assert [runner for _, runner in pairs].count("large") == 3
    assert pairs[0][1] == "large"


def test_equal_demands_share_a_route_and_others_do_not() -> None:
    assert Demand("a", (("k", "v"),)).route == demand_of("a", '{"k":"v"}', None).route
    routes = {Demand("a").route, Demand("b").route, Demand("a", (("k", "v"),)).route, Demand("a", (), "r").route}
    assert len(routes) == 4
    assert demand_of("a", '{"z":"1","b":"2"}', None).labels == (("b", "2"), ("z", "1"))
