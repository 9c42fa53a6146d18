"""End-to-end tests share one stage per module and run in one worker."""

from __future__ import annotations

import pytest

from tests.support.stage import stage

__all__ = ["stage"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and keep it on one worker: two stages at once would only slow each other."""
    for item in items:
        if "/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("stage"))
