"""When a plugin that could not describe itself is asked again."""

from __future__ import annotations

import pytest

from aisops_runner.sidecars import asking


@pytest.mark.parametrize(
    ("code", "passes"),
    [("describe_timeout", True), ("describe_failed", True), ("import_failed", False), ("manifest_invalid", False)],
)
def test_only_what_may_pass_by_itself_is_asked_again(code: str, passes: bool) -> None:
    assert asking.may_pass(code) is passes


def test_pauses_grow_to_five_minutes() -> None:
    assert [asking.pause_s(times) for times in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]


def test_each_time_there_is_more_patience_but_not_without_end() -> None:
    assert [asking.patience_s(10, times) for times in range(5)] == [20, 40, 80, 120, 120]
    assert asking.patience_s(120, 0) == 120
