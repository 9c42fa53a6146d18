"""Every fault of the suite has a row of its own and says what it does."""

from __future__ import annotations

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
