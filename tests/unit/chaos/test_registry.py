"""Every fault of the suite has a row of its own and says what it does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.registry import UnknownFault, all_faults, chosen


def test_every_fault_is_described_and_can_be_run_or_says_with_what_it_comes() -> None:
    for fault in all_faults():
        assert all((fault.title, fault.injects, fault.workload, fault.expected)), fault.id
        assert (fault.run is None) == bool(fault.coming), fault.id
        assert 0 < fault.short <= fault.full, fault.id


def test_faults_are_chosen_by_id_and_come_by_number() -> None:
    assert [fault.id for fault in chosen({"F19", "F2"})] == ["F2", "F19"]
    assert chosen(()) == all_faults()
    with pytest.raises(UnknownFault, match="F99"):
        chosen({"F99"})


def test_the_full_form_may_last_as_much_longer_as_it_has_injections_or_as_long_as_it_says() -> None:
    fault = replace(chosen({"F1"})[0], short=2, full=20, limit_s=10.0)
    assert [fault.limit(runs) for runs in (1, 2, 20)] == [10.0, 10.0, 100.0]
    slow = replace(fault, full_limit_s=500.0)
    assert (slow.limit(2), slow.limit(20, full=True)) == (10.0, 500.0)
