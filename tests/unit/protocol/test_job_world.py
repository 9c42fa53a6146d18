"""Jobs between two real machines over a bad link, with crashes, lapsed leases and disks set back around them."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisops_core.dispatch.job import JobState
from tests.unit.protocol.job_mutants import MUTANTS
from tests.unit.protocol.job_world import JOB_OPERATIONS, JobWorld
from tests.unit.protocol.world import World, run


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.lists(st.sampled_from(JOB_OPERATIONS), max_size=80))
def test_whatever_happens_every_job_ends_once_and_has_its_effect_as_promised(seed: int, operations: list[str]) -> None:
    assert run(JobWorld, seed, operations) == []


def lives(kind: type[World], seeds: range) -> list[str]:
    for seed in seeds:
        operations = ["connect", *random.Random(seed).choices(JOB_OPERATIONS, k=200)]
        try:
            if found := run(kind, seed, operations):
                return found
        except (AssertionError, KeyError, ValueError) as error:
            return [repr(error)]
    return []


def test_so_do_long_random_lives() -> None:
    assert lives(JobWorld, range(60)) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda kind: kind.__name__)
def test_the_same_check_catches_a_broken_design(mutant: type[World]) -> None:
    assert lives(mutant, range(1000)), "this mutant lives: the promises are not checked"


def test_the_world_is_not_idle() -> None:
    """Most jobs succeed, and some end in every other way that they may."""
    ends: set[JobState] = set()
    succeeded = total = 0
    for seed in range(40):
        world = JobWorld(seed)
        for operation in ["connect", *random.Random(seed).choices(JOB_OPERATIONS, k=200)]:
            world.do(operation)
        world.settle()
        ends |= {job.state for job in world.table.values()}
        total += len(world.table)
        succeeded += sum(job.state is JobState.SUCCEEDED for job in world.table.values())
    assert ends >= {JobState.SUCCEEDED, JobState.UNCERTAIN, JobState.CANCELLED}
    assert succeeded > total / 2
