"""The memory of calls by Idempotency-Key."""

import pytest

from aisops_plugin_sdk.errors import Conflict
from aisops_plugin_sdk.server.replay import LIFETIME_S, ReplayMemory

KEY = ("t", "acme.send", "k")


def test_a_running_call_is_found():
    memory = ReplayMemory()
    memory.begin(KEY, b"body", "call")
    assert memory.find(KEY, b"body", 0.0) == "call"


def test_another_body_conflicts_while_running_and_after():
    memory = ReplayMemory()
    memory.begin(KEY, b"body", "call")
    with pytest.raises(Conflict):
        memory.find(KEY, b"other", 0.0)
    memory.finish(KEY, size=1, keep=True, now=0.0)
    with pytest.raises(Conflict):
        memory.find(KEY, b"other", 0.0)


def test_keys_of_other_tenants_and_capabilities_are_other_keys():
    memory = ReplayMemory()
    memory.begin(KEY, b"body", "call")
    assert memory.find(("t2", "acme.send", "k"), b"other", 0.0) is None
    assert memory.find(("t", "acme.read", "k"), b"other", 0.0) is None


def test_success_is_kept_for_ten_minutes():
    memory = ReplayMemory()
    memory.begin(KEY, b"body", "call")
    memory.finish(KEY, size=1, keep=True, now=100.0)
    assert memory.find(KEY, b"body", 100.0 + LIFETIME_S - 0.1) == "call"
    assert memory.find(KEY, b"body", 100.0 + LIFETIME_S) is None
    assert len(memory) == 0


def test_failure_is_forgotten():
    memory = ReplayMemory()
    memory.begin(KEY, b"body", "call")
    memory.finish(KEY, size=1, keep=False, now=0.0)
    assert memory.find(KEY, b"body", 0.0) is None


def test_it_is_bounded_in_number_and_bytes_and_the_oldest_go_first():
    memory = ReplayMemory(max_entries=3, max_bytes=100)
    for number in range(5):
        memory.begin(("t", "c", str(number)), b"", number)
        memory.finish(("t", "c", str(number)), size=10, keep=True, now=float(number))
    assert [memory.find(("t", "c", str(number)), b"", 5.0) for number in range(5)] == [None, None, 2, 3, 4]
    memory.begin(KEY, b"", "large")
    memory.finish(KEY, size=95, keep=True, now=6.0)
    assert len(memory) == 1


def test_finishing_an_unknown_call_does_nothing():
    memory = ReplayMemory()
    memory.finish(KEY, size=1, keep=True, now=0.0)
    assert len(memory) == 0
