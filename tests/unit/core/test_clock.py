"""Core's wall clock only runs; what the machine's was set to is taken over when Core looks."""

from __future__ import annotations

import pytest

from aisops_core import clock as module
from aisops_core.clock import SystemClock


class Machine:
    """The two clocks of a machine, nanoseconds."""

    def __init__(self) -> None:
        self.wall, self.running = 1_800_000_000 * 10**9, 77 * 10**9

    def time_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.running

    def pass_time(self, seconds: int) -> None:
        self.wall += seconds * 10**9
        self.running += seconds * 10**9


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_a_clock_that_is_set_counts_from_the_next_look_on(machine: Machine, by_s: int) -> None:
    clock = SystemClock()
    machine.pass_time(5)
    assert (clock.unix_ms(), clock.look()) == (1_800_000_005_000, 0)
    machine.wall += by_s * 10**9
    assert clock.unix_ms() == 1_800_000_005_000
    assert clock.look() == by_s * 1000
    assert (clock.unix_ms(), clock.look()) == (1_800_000_005_000 + by_s * 1000, 0)


def test_a_clock_set_back_and_forth_between_two_looks_is_never_seen(machine: Machine) -> None:
    clock = SystemClock()
    machine.wall -= 10**18
    assert clock.unix_ms() == 1_800_000_000_000
    machine.wall += 10**18
    machine.pass_time(1)
    assert (clock.look(), clock.unix_ms()) == (0, 1_800_000_001_000)
