"""How much room is kept for a full disk."""

from __future__ import annotations

import pytest

from aisops_runner.outbox.ballast import MIB, ballast_bytes


@pytest.mark.parametrize(("disk", "kept"), [(6 * MIB, 4 * MIB), (512 * MIB, 8 * MIB), (2**40, 16 * MIB)])
def test_the_reserve_grows_with_the_disk_within_limits(disk: int, kept: int) -> None:
    assert ballast_bytes(disk) == kept
