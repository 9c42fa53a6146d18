"""Which proxy leads to Core."""

from __future__ import annotations

import pytest

from aisops_runner.uplink.proxy import proxy_for

PROXY = "http://user:p%40ss@proxy.example:3128"


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("core.example.com", "", False),
        ("core.example.com", "*", True),
        ("core.example.com", "core.example.com", True),
        ("core.example.com", "CORE.example.com.", True),
        ("core.example.com.", "example.com", True),
        ("core.example.com", ".example.com", True),
        ("core.example.com", "*.example.com", True),
        ("badexample.com", "example.com", False),
        ("example.com", ".example.com", True),
        ("core.example.com", "other.org, example.com ", True),
        ("core.example.com", "example.com:443", True),
        ("core.example.com", "example.com:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:444", False),
        ("10.1.2.3", ".3", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]:443", True),
        ("fd00::1", "fd00::1", True),
        ("core.example.com", "10.0.0.0/8,,not/a/network", False),
        ("core.example.com", ".", False),
    ],
)
def test_no_proxy_is_understood_as_elsewhere(host: str, no_proxy: str, *, direct: bool):
    assert proxy_for(host, 443, PROXY, no_proxy) == ("" if direct else PROXY)


def test_without_a_proxy_the_way_is_direct():
    assert proxy_for("core.example.com", 443, "", "") == ""
