from pathlib import Path

import pytest

from aisops_runner.builtins.egress import EgressPolicy, parse_target
from aisops_runner.builtins.policy_file import load_policy
from aisops_runner.errors import ConfigInvalid


def _policy(tmp_path: Path, text: str) -> EgressPolicy:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return load_policy(path)


def test_no_file_allows_nothing() -> None:
    assert load_policy(None) == EgressPolicy()


def test_a_rule_is_read_whole(tmp_path: Path) -> None:
    policy = _policy(
        tmp_path,
        """
        [[http.allow]]
        host = "CMDB.local."
        schemes = ["http"]
        ports = [8080]
        methods = ["GET", "POST"]
        path_prefix = "/api"
        allow_private = true
        """,
    )
    rule = policy.check("POST", parse_target("http://cmdb.local:8080/api/hosts"))
    assert (rule.allow_private, rule.allow_loopback) == (True, False)


def test_the_defaults_are_the_narrow_ones(tmp_path: Path) -> None:
    (rule,) = _policy(tmp_path, '[[http.allow]]\nhost = "*.corp.example"').rules
    assert rule.schemes == {"https"}
    assert rule.methods == {"GET", "HEAD"}
    assert not rule.allow_private
    assert not rule.allow_loopback


@pytest.mark.parametrize(
    "text",
    [
        "[[http.allow]]", '[[http.allow]]\nhost = ""', '[[http.allow]]\nhost = "a b"',
        '[[http.allow]]\nhost = "http://a"',
        '[[http.allow]]\nhost = "*"', '[[http.allow]]\nhost = "*.com"', '[[http.allow]]\nhost = "a.*"',
        '[[http.allow]]\nhost = "127.1"',
        '[[http.allow]]\nhost = "a"\nport = 1', '[[http.allow]]\nhost = "a"\nports = [0]',
        '[[http.allow]]\nhost = "a"\nports = ["80"]',
        '[[http.allow]]\nhost = "a"\nmethods = ["get"]', '[[http.allow]]\nhost = "a"\nmethods = []',
        '[[http.allow]]\nhost = "a"\nschemes = ["ftp"]', '[[http.allow]]\nhost = "a"\npath_prefix = "api"',
        '[[http.allow]]\nhost = "a"\npath_prefix = "/a/../b"', '[[http.allow]]\nhost = "a"\nallow_private = "yes"',
        "[http]\nallow = 1", "[htttp]", "a =",
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"policy\.toml"):
        _policy(tmp_path, text)
