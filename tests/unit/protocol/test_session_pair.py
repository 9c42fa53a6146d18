"""Two real sessions over a link that loses, repeats and reorders, with crashes and restored machines around them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisops_protocol.errors import LocalProtocolError
from tests.unit.protocol.mutants import MUTANTS
from tests.unit.protocol.world import OPERATIONS, World, run, schedule


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.lists(st.sampled_from(OPERATIONS), max_size=60))
def test_whatever_happens_every_message_is_stored_once_in_order_and_acknowledged(
    seed: int, operations: list[str]
) -> None:
    assert run(World, seed, operations) == []


def test_so_do_long_random_lives() -> None:
    for seed in range(50):
        assert run(World, seed, ["connect", *schedule(seed, 200)]) == [], f"seed {seed}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda kind: kind.__name__)
def test_the_same_check_catches_a_broken_design(mutant: type[World]) -> None:
    def broken(seed: int) -> bool:
        try:
            return bool(run(mutant, seed, ["connect", *schedule(seed, 120)]))
        except (LocalProtocolError, AssertionError):
            return True

    assert any(broken(seed) for seed in range(150)), "this mutant lives: the promises are not checked"


def test_jobs_reach_the_runner_in_order_and_once_in_a_session() -> None:
    world = World(1)
    world.connect()
    for operation in ["up", "down", *["job"] * 5, "twice_down", *["down"] * 8]:
        world.do(operation)
    assert world.jobs_seen == [f"job-{n}" for n in range(1, 6)]
