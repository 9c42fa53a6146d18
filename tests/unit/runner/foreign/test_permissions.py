"""What a plugin says it needs, against what the operator allows."""

from __future__ import annotations

import pytest

from aisops_runner.adapters.foreign.document import Permissions
from aisops_runner.adapters.foreign.permissions import PermissionPolicy, excess

ASKED = Permissions.model_validate({
    "network": {"outbound": ["https", "hooks.slack.com", {"host": "db.corp", "ports": [5432, 5433]}]},
    "filesystem": {"read": ["/app/workspace"], "write": ["/tmp/out"]},
})  # fmt: skip


def test_without_a_policy_anything_may_be_asked() -> None:
    assert not excess(ASKED, PermissionPolicy())


def test_what_is_beyond_the_policy_is_named() -> None:
    text = excess(ASKED, PermissionPolicy(outbound=("https", "*.slack.com", "db.corp:5432"), read=(), write=("/tmp",)))
    assert text == "exceed this Runner's policy ([plugin_permissions]): db.corp:5432,5433, read /app/workspace"


@pytest.mark.parametrize(
    ("allowed", "fits"),
    [
        (("https", "hooks.slack.com", "db.corp"), True),
        (("HTTPS", "*.slack.com", "db.corp:5432", "db.corp:5433"), True),
        (("https", "*.hooks.slack.com", "db.corp"), False),
        (("https", "*.slack.com.evil", "db.corp"), False),
        ((), False),
    ],
)
def test_hosts(allowed: tuple[str, ...], fits: bool) -> None:
    assert (excess(ASKED, PermissionPolicy(outbound=allowed)) == "") is fits


@pytest.mark.parametrize(
    ("path", "fits"), [("/tmp", True), ("/tmp/a/b", True), ("/tmpx", False), ("/tmp/../etc", False), ("tmp", False)]
)
def test_files(path: str, fits: bool) -> None:
    asked = Permissions.model_validate({"filesystem": {"write": [path]}})
    assert (excess(asked, PermissionPolicy(write=("/tmp",))) == "") is fits
